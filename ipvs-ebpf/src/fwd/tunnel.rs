//! IP in IP (RFC 2003, RFC 2473): the packet travels inside another one to the real server, which unpacks it.

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
    let discovery = t
        .settings()
        .is_none_or(|s| s.flags & SettingsFlags::PMTU_DISC != 0);
    let outer = T::A::HEADER as u16;
    let limit = hop.mtu.saturating_sub(outer);
    if hop.mtu != 0 && limit < T::A::LEAST_MTU {
        return Err(DropReason::TooBig.into());
    }
    // Without discovery the outer packet is fragmented instead, where packets are.
    let measured = discovery || T::A::NEVER_FRAGMENTED;
    age_and_measure(f, iface, p, conn, if measured { limit } else { 0 })?;
    let outer_len = p.len.saturating_add(outer);
    if !egress::keeps_partial(iface, hop, outer_len) {
        l4::complete(f, t, p)?;
    }
    f.grow_head(T::A::HEADER)?;
    T::A::put_header(f, &T::A::outer(p, tunnel, discovery && p.df))?;
    depart(f, t, iface, hop, outer_len)
}
