//! The way of a packet, one screen: parse, connection, service, scheduler, forwarding.

use ipvs_common::{ConnFlags, DestFlags, DropReason, Event, Iface, State};

use crate::{
    conn::{self, Hit, Table, advance, birth, leave, promote, template},
    exit::{Exit, Verdict},
    frame::Frame,
    fwd, icmp,
    parse::{self, Packet, flag},
    service, stats,
    tables::Tables,
};

/// Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
#[inline(always)]
pub fn run<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let exit = match parse::packet(f, iface) {
        Ok(p) => match process(f, t, iface, &p) {
            Ok(verdict) => return verdict,
            Err(Exit::Answer(error, dest)) => match answer(f, t, iface, &p, error, dest) {
                Ok(verdict) => return verdict,
                Err(reason) => Exit::Drop(reason),
            },
            Err(exit) => exit,
        },
        Err(exit) => exit,
    };
    leave_by(t, exit)
}

#[inline(always)]
fn leave_by<T: Tables>(t: &mut T, exit: Exit) -> Verdict {
    match exit {
        Exit::Pass(reason) => {
            t.note(reason.slot());
            Verdict::Pass
        }
        Exit::Drop(reason) => {
            t.note(reason.slot());
            Verdict::Drop
        }
        Exit::Answer(..) => Verdict::Drop,
    }
}

#[inline(always)]
fn answer<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    error: icmp::Error,
    dest: Option<u32>,
) -> Result<Verdict, DropReason> {
    let verdict = icmp::reply(f, t, p, iface, error)?;
    if let Some(dest) = dest {
        stats::outbound(t, dest, icmp::length(p));
    }
    Ok(verdict)
}

#[inline(always)]
fn process<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
) -> Result<Verdict, Exit> {
    let hit = match known(t, p) {
        Some(hit) => hit,
        None => open(t, iface, p)?,
    };
    if hit.is_reply() {
        advance::packet(t, p, &hit);
        return fwd::reply::forward(f, t, iface, p, &hit);
    }
    let dest = *t.dest(hit.conn.dest).ok_or(DropReason::Internal)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return Err(DropReason::DestGone.into());
    }
    stats::inbound(t, hit.conn.dest, p);
    advance::packet(t, p, &hit);
    fwd::to_dest(f, t, iface, p, &hit.conn, &dest)
}

/// The connection of a packet, unless it is one that a SYN starts over.
#[inline(always)]
fn known<T: Tables>(t: &mut T, p: &Packet) -> Option<Hit<T::ConnRef>> {
    let hit = conn::find(t, &p.key)?;
    if p.has(flag::SYN) && reusable(&hit) && leave::end(t, hit.table, &p.key, hit.entry) {
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

/// A new connection, if the packet may open one.
#[inline(always)]
fn open<T: Tables>(t: &mut T, iface: &Iface, p: &Packet) -> Result<Hit<T::ConnRef>, Exit> {
    let service = match service::find(t, p, iface) {
        Ok(service) => service,
        Err(exit) => return second_look(t, p).ok_or(exit),
    };
    let (id, parent) =
        template::choose(t, &service, p).ok_or(Exit::Answer(icmp::Error::PortUnreachable, None))?;
    let dest = *t.dest(id).ok_or(DropReason::Internal)?;
    birth::create(t, p, &service, id, &dest, parent)
}

/// A connection that another CPU promoted between our look into the one table and into the other.
#[inline(always)]
fn second_look<T: Tables>(t: &mut T, p: &Packet) -> Option<Hit<T::ConnRef>> {
    let entry = t.conn(&p.key)?;
    Some(Hit {
        entry,
        table: Table::Established,
        conn: t.load(entry),
    })
}
