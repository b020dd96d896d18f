//! Forwards the packet that opened a connection, or tells its client that nobody is there. What the connection is, the stage
//! before left behind. With long addresses it does the same for any packet that took the slow way, and for both families it forwards
//! the fragments behind a first one.

use ipvs_common::{Conn, ConnFlags, DropReason, ForwardingMethod, Iface};

use super::{fragment, leave_by};
use crate::{
    Ip,
    conn::birth,
    egress,
    exit::{Exit, Verdict},
    frame::Frame,
    fwd, icmp,
    parse::Packet,
    stats,
    tables::Tables,
};

#[inline(always)]
pub fn born<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let p = match fragment::or_later(f, t) {
        Ok(p) => p,
        Err(exit) => return super::refuse(t, exit),
    };
    let result = match t.newborn().copied() {
        Some(conn) => forward(f, t, iface, &p, &conn),
        None => Err(DropReason::Internal.into()),
    };
    match result {
        Ok(verdict) => verdict,
        Err(exit) => leave_by(f, t, iface, &p, exit),
    }
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
) -> Result<Verdict, Exit> {
    if conn.status.method == ForwardingMethod::REFUSE {
        return Err(Exit::answer(icmp::Error::from_word(conn.mark), conn.dest));
    }
    if (T::A::LONG || p.is_later() || p.is_sctp()) && conn.status.flags & ConnFlags::REPLY != 0 {
        stats::outbound_piece(t, conn.dest, p);
        return fwd::reply::forward(f, t, iface, p, conn, &conn.hop);
    }
    if conn.status.method == ForwardingMethod::BYPASS {
        let hop = if T::A::LONG && egress::fresh(t, &conn.hop) {
            conn.hop
        } else {
            egress::onwards(t, p, iface)
        };
        return fwd::past_dests(f, t, iface, p, conn, &hop);
    }
    stats::inbound(t, conn.dest, p);
    if conn.status.flags & ConnFlags::ONE_PACKET != 0 {
        birth::forget(t, &p.key, conn);
        if !p.is_whole() {
            fragment::of_one_packet(f, t, conn.dest);
        }
    }
    if fwd::is_wrapped(t, conn) {
        return Err(fwd::to_be_wrapped(t, conn.dest));
    }
    let hop = egress::to_dest(t, p, iface, conn.dest, conn.to_addr);
    fwd::to_dest(f, t, iface, p, conn, &hop)
}
