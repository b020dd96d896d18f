//! Any packet of a known connection: state changes, promotion, routes to be asked, errors to be told.

use ipvs_common::{ConnFlags, DestFlags, DropReason, Event, Iface, State};

use super::leave_by;
use crate::{
    conn::{self, Hit, advance, promote, template},
    egress,
    exit::{Exit, Verdict},
    frame::Frame,
    fwd,
    parse::{self, Packet, flag},
    service, stats,
    tables::Tables,
};

/// `None`: no connection matches.
#[inline(always)]
pub fn slow<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Option<Verdict> {
    let p = match parse::packet(f, iface) {
        Ok(p) => p,
        Err(exit) => return Some(super::refuse(t, exit)),
    };
    let hit = known(t, &p)?;
    let result = if hit.is_reply() {
        reply(f, t, iface, &p, &hit)
    } else {
        request(f, t, iface, &p, &hit)
    };
    Some(match result {
        Ok(verdict) => verdict,
        Err(exit) => leave_by(f, t, iface, &p, exit),
    })
}

/// The connection of a packet, unless it is one that a SYN starts over.
#[inline(always)]
fn known<T: Tables>(t: &mut T, p: &Packet) -> Option<Hit<T::ConnRef>> {
    let hit = conn::find(t, &p.key)?;
    if p.has(flag::SYN) && reusable(&hit) && t.end(hit.table, &p.key) {
        t.event(Event::Reused);
        return None;
    }
    Some(promote::on_packet(t, p, hit))
}

/// Closed or closing, and not bound to a template: a client that uses its port again gets a new choice (ip_vs's
/// `conn_reuse_mode` 1).
#[inline(always)]
fn reusable<R>(hit: &Hit<R>) -> bool {
    let status = hit.conn.status;
    status.flags & (ConnFlags::REPLY | ConnFlags::CHILD) == 0
        && (status.state == State::TimeWait as u8 || status.state == State::Close as u8)
}

#[inline(always)]
fn request<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    hit: &Hit<T::ConnRef>,
) -> Result<Verdict, Exit> {
    let id = hit.conn.dest;
    let dest = t.dest(id).ok_or(DropReason::Internal)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return Err(service::dest_gone(t));
    }
    let tunnel = fwd::Tunnel {
        src: dest.tunnel_src.low4(),
        dst: dest.addr.low4(),
    };
    stats::inbound(t, id, p);
    advance::packet(t, p, hit);
    let hop = egress::to_dest(t, p, iface, id, hit.conn.to_addr);
    fwd::to_dest(f, t, iface, p, &hit.conn, tunnel, &hop)
}

#[inline(always)]
fn reply<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    hit: &Hit<T::ConnRef>,
) -> Result<Verdict, Exit> {
    let hop = egress::to_client(t, p, iface, hit);
    fwd::reply::admit(iface, p, &hop)?;
    advance::packet(t, p, hit);
    if !p.is_tcp() && hit.conn.status.flags & ConnFlags::CHILD != 0 {
        template::assure(t, &conn::opposite(&p.key, &hit.conn), &hit.conn);
    }
    stats::outbound(t, hit.conn.dest, p.len);
    fwd::reply::forward(f, t, iface, p, &hit.conn, &hop)
}
