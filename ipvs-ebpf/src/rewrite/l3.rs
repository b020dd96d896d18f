//! IPv4 header fields.

use ipvs_common::hdr::Ipv4;

use super::csum;
use crate::{exit::Exit, frame::Frame, parse::L3};

/// Takes one from the time to live.
#[inline(always)]
pub fn decrement_ttl<F: Frame>(f: &mut F) -> Result<(), Exit> {
    let ip = &mut f.at::<Ipv4>(L3)?.0;
    ip.check = csum::patch(
        ip.check,
        csum::word([ip.ttl, 0]),
        csum::word([ip.ttl.wrapping_sub(1), 0]),
    );
    ip.ttl = ip.ttl.wrapping_sub(1);
    Ok(())
}

#[inline(always)]
pub fn set_dst<F: Frame>(f: &mut F, to: [u8; 4]) -> Result<(), Exit> {
    let ip = &mut f.at::<Ipv4>(L3)?.0;
    ip.check = csum::patch(ip.check, csum::addr(ip.dst_addr), csum::addr(to));
    ip.dst_addr = to;
    Ok(())
}

#[inline(always)]
pub fn set_src<F: Frame>(f: &mut F, to: [u8; 4]) -> Result<(), Exit> {
    let ip = &mut f.at::<Ipv4>(L3)?.0;
    ip.check = csum::patch(ip.check, csum::addr(ip.src_addr), csum::addr(to));
    ip.src_addr = to;
    Ok(())
}

/// Checksum of a header whose checksum field is zero.
#[must_use]
#[inline(always)]
pub fn header_check(ip: &network_types::ip::Ipv4Hdr) -> [u8; 2] {
    let s = csum::word([ip.vihl, ip.tos])
        + csum::word(ip.tot_len)
        + csum::word(ip.id)
        + csum::word(ip.frags)
        + csum::word([ip.ttl, ip.proto])
        + csum::addr(ip.src_addr)
        + csum::addr(ip.dst_addr);
    (!csum::fold(s)).to_be_bytes()
}
