//! TCP resets that the director sends to clients in the name of a real server that is gone, made in the place of the segment
//! they answer (RFC 9293, 3.5.2, and 3.10.7.1 for their numbers).

use ipvs_common::{
    DropReason, Hop,
    hdr::{Eth, Ipv4, TCP_CHECK},
};
use network_types::ip::Ipv4Hdr;

use crate::{
    frame::Frame,
    parse::{L3, Packet, flag},
    rewrite::{csum, l3},
};

/// A TCP header without options, as bytes.
type Header = [u8; LEN];
const LEN: usize = 20;
const L4: usize = L3 + size_of::<Ipv4>();
const TCP: u8 = 6;
/// Where the header's length stands, in words, in the upper half.
const DATA_OFFSET: usize = 12;

/// Turns the segment into the reset that answers it.
#[inline(always)]
pub fn build<F: Frame>(f: &mut F, p: &Packet, hop: &Hop) -> Result<(), DropReason> {
    let segment = *f.at::<Header>(p.l4)?;
    let mut reset = answer(p, &segment);
    f.truncate(L4 + LEN)?;
    let eth = f.at::<Eth>(0)?;
    eth.0.dst_addr = hop.dst_mac;
    eth.0.src_addr = hop.src_mac;
    f.at::<Ipv4>(L3)?.0 = outer(p);
    *f.at::<Header>(L4)? = reset;
    let sum = f.sum(L4, LEN)? + csum::pseudo(p.key.dst, p.key.src, TCP, LEN as u16);
    let [high, low] = (!csum::fold(sum)).to_be_bytes();
    reset[TCP_CHECK] = high;
    reset[TCP_CHECK + 1] = low;
    *f.at::<Header>(L4)? = reset;
    Ok(())
}

/// With an acknowledgement, the reset is where that points; without, it acknowledges all that came.
#[inline(always)]
fn answer(p: &Packet, segment: &Header) -> Header {
    let [sa, sb, da, db, s0, s1, s2, s3, a0, a1, a2, a3, offset, ..] = *segment;
    let mut reset = [0; LEN];
    [reset[0], reset[1], reset[2], reset[3]] = [da, db, sa, sb];
    reset[DATA_OFFSET] = 0x50;
    if p.has(flag::ACK) {
        [reset[4], reset[5], reset[6], reset[7]] = [a0, a1, a2, a3];
        reset[DATA_OFFSET + 1] = flag::RST;
        return reset;
    }
    let data = u32::from(p.l4_len).saturating_sub(u32::from(offset >> 4) * 4);
    let counted = u32::from(p.has(flag::SYN)) + u32::from(p.has(flag::FIN));
    let end = u32::from_be_bytes([s0, s1, s2, s3])
        .wrapping_add(data)
        .wrapping_add(counted);
    [reset[8], reset[9], reset[10], reset[11]] = end.to_be_bytes();
    reset[DATA_OFFSET + 1] = flag::RST | flag::ACK;
    reset
}

#[inline(always)]
fn outer(p: &Packet) -> Ipv4Hdr {
    let mut ip = Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: ((size_of::<Ipv4>() + LEN) as u16).to_be_bytes(),
        id: [0; 2],
        frags: 0x4000u16.to_be_bytes(),
        ttl: 64,
        proto: TCP,
        check: [0; 2],
        src_addr: p.key.dst,
        dst_addr: p.key.src,
    };
    ip.check = l3::header_check(&ip);
    ip
}
