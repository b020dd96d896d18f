//! A packet that no connection matches: whose service is it, who serves it.

use ipvs_common::{
    Conn, ConnFlags, DestFlags, DropReason, Event, ForwardingMethod, Iface, PassReason, Policy,
    Service, ServiceFlags, SettingsFlags,
};

use super::nobodys::nobodys;
use crate::{
    Ip,
    conn::{
        self, birth, expected,
        template::{self, Choice},
    },
    egress,
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    fwd, icmp,
    parse::{Packet, flag},
    service,
    tables::Tables,
};

#[inline(always)]
pub fn open<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return super::steps::open_slowly(f, t, iface);
    }
    let p = match T::A::any_packet(f) {
        Ok(p) => p,
        Err(exit) => return super::refuse(t, exit),
    };
    match begin(t, iface, &p) {
        Ok(conn) => {
            t.put_newborn(&conn);
            if enters(&conn) {
                Verdict::ENTER
            } else {
                Verdict::BORN
            }
        }
        Err(exit) => super::refuse(t, exit),
    }
}

#[inline(always)]
fn begin<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>) -> Result<Conn<T::A>, Exit> {
    service::at_work(t)?;
    if let Some(conn) = expected::draft(t, p) {
        return Ok(conn);
    }
    let marked = service::mark(t, &p.key, iface);
    let Some(service) = service::lookup(t, p, marked.mark).copied() else {
        return Err(nobodys(t, p, iface));
    };
    let moves = check_again(t, p)?;
    if !moves {
        if !service::opens(t, p) {
            return Err(PassReason::CannotOpen.into());
        }
        service::admit(t, p, iface, marked, &service)?;
    }
    let choice = template::choose(t, &service, &p.key);
    if choice.dest == NO_DEST && moves {
        // Whoever was on the way to a deleted real server stays there until there is another one.
        return Err(DropReason::DestGone.into());
    }
    let conn = of_choice(t, iface, p, &service, choice, moves)?;
    if moves {
        leave_old(t, p, &conn)?;
    }
    Ok(conn)
}

/// Whether a connection has a place in the tables.
#[inline(always)]
pub(super) const fn enters<A: Ip>(conn: &Conn<A>) -> bool {
    conn.status.flags & ConnFlags::ONE_PACKET == 0 && conn.status.method != ForwardingMethod::REFUSE
}

/// The connection to the real server that was chosen, or what is in its place if there is none.
#[inline(always)]
pub(super) fn of_choice<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    service: &Service,
    choice: Choice,
    moves: bool,
) -> Result<Conn<T::A>, Exit> {
    if choice.dest == NO_DEST {
        return nobody(t, iface, p, service);
    }
    if !moves && service.flags & ServiceFlags::ONE_PACKET != 0 && p.is_udp() {
        return birth::one_packet(t, p, service, choice);
    }
    birth::draft(t, p, service, choice)
}

/// A connection that another CPU promoted while we looked into one table after the other was in neither. A SYN comes before
/// the segment that promotes, so this is about all others.
///
/// True: the connection is there, but its real server is gone and its service reschedules.
#[inline(always)]
pub(super) fn check_again<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<bool, Exit> {
    if p.has(flag::SYN) && !p.has(flag::ACK) {
        return Ok(false);
    }
    let Some(hit) = conn::find(t, &p.key) else {
        return Ok(false);
    };
    let moves = !hit.is_reply()
        && t.dest(hit.conn.dest).is_some_and(|d| {
            d.flags & DestFlags::AVAILABLE == 0 && d.policy & Policy::RESCHEDULE != 0
        });
    if !moves || p.has(flag::RST) {
        return Err(if moves {
            DropReason::DestGone.into()
        } else {
            Exit::SLOW
        });
    }
    Ok(true)
}

/// Ends the connection that moves to another real server. If that cannot be, or somebody else is about to, the packet has to
/// come again.
#[inline(always)]
pub(super) fn leave_old<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
) -> Result<(), Exit> {
    let ended = match conn::find(t, &p.key) {
        Some(hit) => t.end(hit.table, &p.key),
        None => true,
    };
    if !ended {
        if conn.status.flags & ConnFlags::CHILD != 0 {
            template::orphan(t, &p.key, conn);
        }
        return Err(DropReason::DestGone.into());
    }
    t.event(Event::Rescheduled);
    Ok(())
}

/// No real server is available: past them (`cache_bypass`), to the stack (FTP's data), or an error.
#[inline(always)]
fn nobody<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    service: &Service,
) -> Result<Conn<T::A>, Exit> {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::CACHE_BYPASS != 0
        && service.mark != 0
        && fwd::leads_on(&egress::onwards(t, p, iface))
    {
        return Ok(birth::bypass(t, p, service));
    }
    if service::is_ftp_data(p, service) {
        return Err(PassReason::CannotOpen.into());
    }
    Ok(super::refusal(icmp::Error::PORT_UNREACHABLE, NO_DEST))
}
