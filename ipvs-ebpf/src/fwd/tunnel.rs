//! IP in the same IP (RFC 2003, RFC 2473): the packet travels inside another one to the real server, which unpacks it. Other tunnels
//! have a stage of their own ([`super::wrapped`]).

use ipvs_common::{Address, Conn, DropReason, Hop, Iface, SettingsFlags};

use super::{Tunnel, age_and_measure, depart, must_leave};
use crate::{
    Ip, egress,
    exit::{Exit, Verdict},
    frame::Frame,
    parse::Packet,
    rewrite::l4,
    tables::Tables,
};

#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    let dest = t.dest(conn.dest).ok_or(DropReason::Internal)?;
    let tunnel = Tunnel {
        src: Address::narrow(dest.tunnel_src),
        dst: Address::narrow(dest.addr),
    };
    let discovery = discovers(t);
    let limit = admit::<T::A>(hop)?;
    // Without discovery the outer packet is fragmented instead, where packets are.
    let measured = discovery || T::A::NEVER_FRAGMENTED;
    age_and_measure(f, iface, p, conn, if measured { limit } else { 0 })?;
    let outer_len = p.len.saturating_add(T::A::HEADER as u16);
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
pub(super) fn admit<A: Ip>(hop: &Hop) -> Result<u16, Exit> {
    let limit = hop.mtu.saturating_sub(A::HEADER as u16);
    if hop.mtu != 0 && limit < A::LEAST_MTU {
        return Err(DropReason::TooBig.into());
    }
    Ok(limit)
}

/// Puts the packet into another one, whose IP length is returned.
#[inline(always)]
pub(super) fn wrap<F: Frame, A: Ip>(
    f: &mut F,
    p: &Packet<A>,
    tunnel: Tunnel<A>,
    df: bool,
) -> Result<u16, Exit> {
    f.grow_head(A::HEADER)?;
    A::put_header(f, &A::outer(p, tunnel, df))?;
    Ok(p.len.saturating_add(A::HEADER as u16))
}
