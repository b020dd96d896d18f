//! Any packet of a known connection: state changes, promotion, routes to be asked, errors to be told.

use ipvs_common::{
    ConnFlags, DestFlags, DropReason, Event, ForwardingMethod, Iface, Policy, SettingsFlags, State,
};

use super::{answer_later, steps};
use crate::{
    Ip,
    conn::{self, Hit, advance, expected, promote, template},
    egress,
    exit::{Exit, Verdict},
    expire,
    frame::{Early, Frame},
    fwd, icmp,
    parse::{Packet, flag},
    service, stats,
    tables::Tables,
};

/// States, as a set.
const CLOSED: u32 = State::TimeWait.bit() | State::Close.bit() | State::SctpClosed.bit();
const CLOSING: u32 = State::FinWait.bit()
    | State::CloseWait.bit()
    | State::LastAck.bit()
    | State::SctpShutdownSent.bit()
    | State::SctpShutdownReceived.bit()
    | State::SctpShutdownAckSent.bit();

/// Bit of `conn_reuse_mode`: also while a connection closes whose real server is not seen.
const REUSE_FIN_WAIT: u32 = 2;

#[inline(always)]
pub fn slow<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return steps::slowly(f, t, iface);
    }
    let p = match T::A::any_packet(f) {
        Ok(p) => p,
        Err(exit) => return super::refuse(t, exit),
    };
    if let Err(exit) = service::at_work(t)
        && !conn::find(t, &p.key).is_some_and(|hit| hit.is_reply())
    {
        return super::refuse(t, exit);
    }
    let Some(hit) = known(t, &p) else {
        return Verdict::OPEN;
    };
    let result = if hit.is_reply() {
        reply(f, t, iface, &p, &hit)
    } else {
        request(f, t, iface, &p, &hit)
    };
    match result {
        Ok(verdict) => verdict,
        Err(exit) => answer_later(t, exit),
    }
}

/// The connection of a packet, unless its time is over, or it is one that a SYN starts over.
#[inline(always)]
fn known<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Option<Hit<T>> {
    let hit = conn::find(t, &p.key)?;
    if hit.conn.expires <= t.now() && expire::overdue(t, &p.key, &hit) {
        return None;
    }
    if expected::waits(t, &p.key, &hit.conn) {
        return None;
    }
    if p.has(flag::SYN)
        && (starts_over(t, &hit) || conn::has_lost_replies(t, &p.key, &hit))
        && t.end(hit.table, &p.key)
    {
        t.event(Event::Reused);
        return None;
    }
    Some(promote::on_packet(t, p, hit))
}

/// Whether a SYN on this connection is scheduled anew: a client uses its port again.
#[inline(always)]
pub(super) fn starts_over<T: Tables>(t: &T, hit: &Hit<T>) -> bool {
    if hit.is_reply() {
        return false;
    }
    let (flags, mode) = t
        .settings()
        .map_or((0, 0), |s| (s.flags, s.conn_reuse_mode));
    let (weight, policy) = t
        .dest(hit.conn.dest)
        .map_or((1, 0), |d| (d.weight, d.policy));
    let status = hit.conn.status;
    let closed = State::is_in(status.state, CLOSED);
    let closing = State::is_in(status.state, CLOSED | CLOSING);
    let unseen = status.flags & ConnFlags::NO_OUTPUT != 0;
    let waits = State::is_in(status.state, State::FinWait.bit());
    let reusable = closed || (mode & REUSE_FIN_WAIT != 0 && unseen && waits);
    (flags & SettingsFlags::EXPIRE_NODEST != 0 && weight == 0)
        || (mode != 0 && reusable && status.flags & ConnFlags::CHILD == 0)
        || (policy & Policy::REOPEN != 0 && closing)
}

#[inline(always)]
fn request<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Result<Verdict, Exit> {
    if hit.conn.status.method == ForwardingMethod::BYPASS {
        advance::count(t, hit);
        advance::packet(t, p, hit);
        let f = &mut without_sctp(f, t, p, hit)?;
        let hop = egress::past_dests(t, p, iface, hit);
        return fwd::past_dests(f, t, iface, p, &hit.conn, &hop);
    }
    let id = hit.conn.dest;
    let dest = t.dest(id).ok_or(DropReason::Internal)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        let policy = dest.policy;
        return Err(orphaned(t, p, hit, policy));
    }
    advance::count(t, hit);
    advance::packet(t, p, hit);
    let f = &mut without_sctp(f, t, p, hit)?;
    stats::inbound(t, id, p);
    if fwd::is_wrapped(t, &hit.conn) {
        return Err(fwd::to_be_wrapped(t, id));
    }
    let hop = egress::to_dest(t, p, iface, id, hit.conn.to_addr);
    fwd::to_dest(f, t, iface, p, &hit.conn, &hop)
}

/// The frame for a packet that is not of SCTP. One that is goes on in the stage that forwards new ones: to follow here, too, what
/// it takes would double the verifier's work.
#[inline(always)]
fn without_sctp<'f, F: Frame, T: Tables>(
    f: &'f mut F,
    t: &mut T,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Result<Early<'f, F>, Exit> {
    if p.is_sctp() {
        t.leave_as_newborn(hit.entry);
        return Err(Exit::BORN);
    }
    Ok(Early(f))
}

/// A packet whose real server was deleted. As in ip_vs it is dropped until its connection times out, or (`expire_nodest_conn`)
/// the connection ends and the packet counts as new; the service's policy may say otherwise.
#[inline(always)]
pub(super) fn orphaned<T: Tables>(t: &mut T, p: &Packet<T::A>, hit: &Hit<T>, policy: u8) -> Exit {
    // Any datagram opens; a segment in mid-flow does not, even where settings let it.
    let opens = p.is_udp() || (p.has(flag::SYN) && !p.has(flag::RST));
    if policy & Policy::RESCHEDULE != 0 && !opens {
        // Not yet ended: that is how the next stage knows.
        return Exit::OPEN;
    }
    let nodest = t.settings().map_or(0, |s| s.flags) & SettingsFlags::EXPIRE_NODEST != 0;
    if !nodest && policy & (Policy::RESET | Policy::RESCHEDULE) == 0 {
        return service::dest_gone(t);
    }
    if !t.end(hit.table, &p.key) {
        // Somebody else is about to; the packet has to come again.
        return DropReason::DestGone.into();
    }
    t.event(Event::DestGoneEnded);
    // Of SCTP the stack answers, as to all that opens nothing.
    if opens || !p.is_tcp() || policy & Policy::RESET == 0 {
        return Exit::OPEN;
    }
    if p.has(flag::RST) {
        return DropReason::DestGone.into();
    }
    Exit::answer(icmp::Error::RESET, crate::exit::NO_DEST)
}

#[inline(always)]
fn reply<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Result<Verdict, Exit> {
    let hop = egress::to_client(t, p, iface, hit);
    fwd::reply::admit(iface, p, &hop)?;
    advance::packet(t, p, hit);
    if p.is_udp() && hit.conn.status.flags & ConnFlags::CHILD != 0 {
        template::assure(t, &conn::opposite(&p.key, &hit.conn), &hit.conn);
    }
    let f = &mut without_sctp(f, t, p, hit)?;
    stats::outbound(t, hit.conn.dest, p.len);
    fwd::reply::forward(f, t, iface, p, &hit.conn, &hop)
}
