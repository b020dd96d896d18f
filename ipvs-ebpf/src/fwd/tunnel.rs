//! IP in IP (RFC 2003): the packet travels inside another one to the real server, which unpacks it.

use ipvs_common::{
    Conn, DropReason, Hop, Iface, SettingsFlags,
    hdr::{Eth, Ipv4},
};
use network_types::ip::Ipv4Hdr;

use super::{Tunnel, age_and_measure, depart, must_leave};
use crate::{
    egress,
    exit::{Exit, Verdict},
    frame::Frame,
    parse::{L3, Packet},
    rewrite::{l3, l4},
    tables::Tables,
};

/// Bytes of the outer header.
pub const OVERHEAD: u32 = size_of::<Ipv4>() as u32;
const OUTER: u16 = OVERHEAD as u16;
/// What every IPv4 link carries at least (RFC 791).
const LEAST_MTU: u16 = 68;
const IPIP: u8 = 4;
const DONT_FRAGMENT: u16 = 0x4000;

#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    conn: &Conn,
    tunnel: Tunnel,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    let discovery = discovers(t);
    let limit = admit(hop)?;
    // Without discovery the outer packet is fragmented instead.
    age_and_measure(f, iface, p, conn, if discovery { limit } else { 0 })?;
    let outer_len = p.len.saturating_add(OUTER);
    if !egress::keeps_partial(iface, hop, outer_len) {
        l4::complete(f, t, p)?;
    }
    wrap(f, p, tunnel, discovery && p.df)?;
    depart(f, t, iface, hop, outer_len)
}

/// Whether too long packets are refused (`pmtu_disc`).
#[inline(always)]
pub(super) fn discovers<T: Tables>(t: &T) -> bool {
    t.settings()
        .is_none_or(|s| s.flags & SettingsFlags::PMTU_DISC != 0)
}

/// What the way takes, less the outer header.
#[inline(always)]
pub(super) fn admit(hop: &Hop) -> Result<u16, Exit> {
    let limit = hop.mtu.saturating_sub(OUTER);
    if hop.mtu != 0 && limit < LEAST_MTU {
        return Err(DropReason::TooBig.into());
    }
    Ok(limit)
}

/// Puts the packet into another one, whose IP length is returned.
#[inline(always)]
pub(super) fn wrap<F: Frame>(f: &mut F, p: &Packet, tunnel: Tunnel, df: bool) -> Result<u16, Exit> {
    let outer = header(p, tunnel, df);
    let eth = *f.at::<Eth>(0)?;
    f.grow_head(usize::from(OUTER))?;
    *f.at::<Eth>(0)? = eth;
    f.at::<Ipv4>(L3)?.0 = outer;
    Ok(p.len.saturating_add(OUTER))
}

#[inline(always)]
fn header(p: &Packet, tunnel: Tunnel, df: bool) -> Ipv4Hdr {
    let frags = if df { DONT_FRAGMENT } else { 0 };
    let mut ip = Ipv4Hdr {
        vihl: 0x45,
        tos: outer_tos(p.tos),
        tot_len: p.len.saturating_add(OUTER).to_be_bytes(),
        id: [0; 2],
        frags: frags.to_be_bytes(),
        ttl: p.ttl.wrapping_sub(1),
        proto: IPIP,
        check: [0; 2],
        src_addr: tunnel.src,
        dst_addr: tunnel.dst,
    };
    ip.check = l3::header_check(&ip);
    ip
}

/// The inner service class, but "congestion experienced" becomes "capable" outside (RFC 3168, 9.1.1, full functionality).
#[inline(always)]
const fn outer_tos(inner: u8) -> u8 {
    const CE: u8 = 3;
    const ECT0: u8 = 2;
    if inner & CE == CE {
        (inner & !CE) | ECT0
    } else {
        inner
    }
}
