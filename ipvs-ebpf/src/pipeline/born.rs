//! Forwards the packet that opened a connection, or tells its client that nobody is there. What the connection is, the stage
//! before left behind.

use ipvs_common::{Conn, ConnFlags, DropReason, ForwardingMethod, Iface};

use super::leave_by;
use crate::{
    conn::birth,
    egress,
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    fwd, icmp,
    parse::{self, Packet},
    stats,
    tables::Tables,
};

#[inline(always)]
pub fn born<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let p = match parse::packet(f, iface) {
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
    p: &Packet,
    conn: &Conn,
) -> Result<Verdict, Exit> {
    if conn.status.method == ForwardingMethod::REFUSE {
        return Err(Exit::answer(icmp::Error::PORT_UNREACHABLE, NO_DEST));
    }
    if conn.status.method == ForwardingMethod::BYPASS {
        let hop = egress::onwards(t, p, iface);
        return fwd::past_dests(f, t, iface, p, conn, &hop);
    }
    let dest = t.dest(conn.dest).ok_or(DropReason::Internal)?;
    let tunnel = fwd::Tunnel {
        src: dest.tunnel_src.low4(),
        dst: dest.addr.low4(),
    };
    stats::inbound(t, conn.dest, p);
    if conn.status.flags & ConnFlags::ONE_PACKET != 0 {
        birth::forget(t, &p.key, conn);
    }
    let hop = egress::to_dest(t, p, iface, conn.dest, conn.to_addr);
    fwd::to_dest(f, t, iface, p, conn, tunnel, &hop)
}
