//! The slow stages in steps, for long addresses: what is kept of a packet and its connection would not leave enough of the stack
//! to what is called, so each step is a function of its own, which reads the packet again, and what calls them keeps numbers only.
//!
//! They do what [`super::slow`], [`super::open`] and [`super::enter`] do in one go.

mod errors;
mod fragments;
mod opening;

use ipvs_common::{ConnFlags, DestFlags, DropReason, Event, ForwardingMethod, Iface};

pub use self::{
    errors::{about_tunnel, icmp_slowly},
    fragments::fragment_slowly,
    opening::open_slowly,
};

use super::{answer_later, fragment, refuse, slow};
use crate::{
    Ip,
    conn::{self, Table, advance, birth, expected, promote, template},
    egress,
    exit::{Exit, Verdict},
    expire,
    frame::Frame,
    fwd,
    parse::{Packet, error, flag},
    service,
    tables::Tables,
};

/// How a step ended: with an exit, or with something to go on with. One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Went(pub u64);

/// Not one of [`Exit`]'s.
const ON: u64 = 0xff;
/// Nor this: nothing is left to go on with.
const DONE: u64 = 0xfe;

impl Went {
    /// Nobody knows what to go on with.
    pub const NOWHERE: Self = Self(1 | (DropReason::Internal.slot() as u64) << 32);

    #[inline(always)]
    const fn on(found: u32) -> Self {
        Self(ON | (found as u64) << 32)
    }

    #[inline(always)]
    fn how(self) -> Result<u32, Exit> {
        if self.0 & 0xff == ON {
            Ok((self.0 >> 32) as u32)
        } else {
            Err(Exit::from_word(self.0))
        }
    }

    /// Of a step that is the last one.
    #[inline(always)]
    fn verdict(self) -> Result<Verdict, Exit> {
        if self.0 & 0xff == DONE {
            Ok(Verdict::of_halves(
                (self.0 >> 8) as u8,
                (self.0 >> 32) as u32,
            ))
        } else {
            Err(Exit::from_word(self.0))
        }
    }

    #[inline(always)]
    fn done(result: Result<Verdict, Exit>) -> Self {
        match result {
            Ok(verdict) => {
                let (what, number) = verdict.halves();
                Self(DONE | (what as u64) << 8 | (number as u64) << 32)
            }
            Err(exit) => Self(exit.word()),
        }
    }

    #[inline(always)]
    fn of(result: Result<u32, Exit>) -> Self {
        match result {
            Ok(found) => Self::on(found),
            Err(exit) => Self(exit.word()),
        }
    }
}

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Look,
    Overdue,
    StartOver,
    Promote,
    Admit,
    Advance,
    Meet,
    Mark,
    Own,
    Serve,
    Join,
    Choose,
    Tie,
    Draft,
    LeaveOld,
    Room,
    Reply,
    Insert,
    ServeAsked,
    DraftAsked,
    Know,
    Estrange,
    FindWay,
    Relay,
    Interpret,
    InterpretAcross,
    Tell,
    Recall,
    Follow,
}

/// Takes a step; `found` is what the first one found.
#[inline(always)]
pub fn take<F: Frame, T: Tables>(
    step: Step,
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    found: u32,
) -> Went {
    match step {
        Step::Know => return Went::of(errors::know(f, t, iface)),
        Step::Estrange => return Went::of(errors::estrange(f, t, iface)),
        Step::FindWay => return Went::of(errors::find_way(f, t, iface)),
        Step::Relay => return Went::done(errors::relay(f, t, iface)),
        Step::Interpret => return Went::of(errors::interpret(f, t, iface)),
        Step::InterpretAcross => return Went::of(errors::interpret_across(f, t, iface)),
        Step::Tell => return Went::done(errors::tell(f, t, iface, found)),
        Step::Recall => return Went::of(fragment::recall(f, t, iface)),
        Step::Follow => return Went::of(fragment::follow(f, t, iface, found)),
        Step::Look
        | Step::Overdue
        | Step::StartOver
        | Step::Promote
        | Step::Admit
        | Step::Advance
        | Step::Meet
        | Step::Mark
        | Step::Own
        | Step::Serve
        | Step::Join
        | Step::Choose
        | Step::Tie
        | Step::Draft
        | Step::LeaveOld
        | Step::Room
        | Step::Reply
        | Step::Insert
        | Step::ServeAsked
        | Step::DraftAsked => {}
    }
    let p = match packet(step, f, t) {
        Ok(p) => p,
        Err(exit) => return Went(exit.word()),
    };
    let table = table_of(found);
    Went::of(match step {
        Step::Look => look(t, &p),
        Step::Overdue => Ok(u32::from(expire::overdue_at(t, table, &p.key))),
        Step::StartOver => Ok(start_over(t, &p, table)),
        Step::Promote => Ok(u32::from(t.promote(&p.key))),
        Step::Admit => admit(t, iface, &p, table),
        Step::Advance => advance(t, &p, table),
        Step::Meet => opening::meet(t, &p),
        Step::Mark => {
            opening::mark(t, iface, &p);
            Ok(0)
        }
        Step::Own => fragment::own(t, iface, &p),
        Step::Serve => opening::serve(t, iface, &p),
        Step::Join => opening::join(t, &p, found),
        Step::Choose => opening::choose(t, &p),
        Step::Tie => opening::tie(t, &p),
        Step::LeaveOld => opening::leave_old(t, &p),
        Step::Draft => opening::draft(t, iface, &p, found),
        Step::Room => room(t, &p),
        Step::Reply => reply(t, &p),
        Step::Insert => insert(t, &p),
        Step::ServeAsked => opening::serve_asked(t, iface, &p),
        Step::DraftAsked => opening::draft_asked(t, &p),
        Step::Know
        | Step::Estrange
        | Step::FindWay
        | Step::Relay
        | Step::Interpret
        | Step::InterpretAcross
        | Step::Tell
        | Step::Recall
        | Step::Follow => Err(DropReason::Internal.into()),
    })
}

/// The packet that a step is about. From where it is known that no connection is its own it is the one that was left, or that an
/// ICMP error asked for: as much of it as makes a connection.
#[inline(always)]
fn packet<F: Frame, T: Tables>(step: Step, f: &mut F, t: &T) -> Result<Packet<T::A>, Exit> {
    let opens = matches!(
        step,
        Step::Mark
            | Step::Own
            | Step::Join
            | Step::Choose
            | Step::Tie
            | Step::Room
            | Step::Reply
            | Step::Insert
            | Step::ServeAsked
            | Step::DraftAsked
    );
    if !opens {
        return T::A::any_packet(f);
    }
    // Only because an argument that makes no difference would be left out, by the caller alone.
    if f.is_empty() {
        return Err(DropReason::Internal.into());
    }
    error::asked(t)
}

/// What [`look`] found: the table, and more.
const HALF_OPEN: u32 = 1;
const EXPIRED: u32 = 2;
const WAITS: u32 = 4;
const SYN: u32 = 8;
const PROVES: u32 = 16;

#[inline(always)]
const fn table_of(found: u32) -> Table {
    if found & HALF_OPEN == 0 {
        Table::Established
    } else {
        Table::HalfOpen
    }
}

#[inline(always)]
const fn if_set(is: bool, bit: u32) -> u32 {
    if is { bit } else { 0 }
}

/// [`super::slow`].
#[inline(always)]
pub fn slowly<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match slow_steps(f, t, iface) {
        Ok(()) => Verdict::BORN,
        Err(exit) => answer_later(t, exit),
    }
}

#[inline(always)]
fn slow_steps<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<(), Exit> {
    let mut found = t.step(Step::Look, f, iface, 0).how()?;
    if found & EXPIRED != 0 && t.step(Step::Overdue, f, iface, found).how()? != 0 {
        return Err(Exit::OPEN);
    }
    if found & WAITS != 0 {
        return Err(Exit::OPEN);
    }
    if found & SYN != 0 && t.step(Step::StartOver, f, iface, found).how()? != 0 {
        return Err(Exit::OPEN);
    }
    if found & PROVES != 0 && t.step(Step::Promote, f, iface, found).how()? != 0 {
        found &= !HALF_OPEN;
    }
    t.step(Step::Admit, f, iface, found).how()?;
    t.step(Step::Advance, f, iface, found).how()?;
    Ok(())
}

#[inline(always)]
fn look<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let at_work = service::at_work(t);
    let Some(hit) = conn::find(t, &p.key) else {
        at_work?;
        return Err(Exit::OPEN);
    };
    if !hit.is_reply() {
        at_work?;
    }
    let half_open = hit.table == Table::HalfOpen;
    Ok(if_set(half_open, HALF_OPEN)
        | if_set(hit.conn.expires <= t.now(), EXPIRED)
        | if_set(expected::waits(t, &p.key, &hit.conn), WAITS)
        | if_set(p.has(flag::SYN), SYN)
        | if_set(half_open && !hit.is_reply() && promote::proves(p), PROVES))
}

/// Ends a connection that a SYN starts over; 1 if it did.
#[inline(always)]
fn start_over<T: Tables>(t: &mut T, p: &Packet<T::A>, table: Table) -> u32 {
    let Some(entry) = conn::find_in(t, table, &p.key) else {
        return 0;
    };
    let hit = conn::hit(t, table, entry);
    let over = (slow::starts_over(t, &hit) || conn::has_lost_replies(t, &p.key, &hit))
        && t.end(table, &p.key);
    if over {
        t.event(Event::Reused);
    }
    u32::from(over)
}

/// Whether the packet goes on, and by which way: kept with the connection where it is not the real server's.
#[inline(always)]
fn admit<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>, table: Table) -> Result<u32, Exit> {
    let entry = conn::find_in(t, table, &p.key).ok_or(Exit::OPEN)?;
    let hit = conn::hit(t, table, entry);
    if hit.is_reply() {
        let hop = egress::to_client(t, p, iface, &hit);
        fwd::reply::admit(iface, p, &hop)?;
        return Ok(0);
    }
    if hit.conn.status.method == ForwardingMethod::BYPASS {
        egress::past_dests(t, p, iface, &hit);
        return Ok(0);
    }
    let dest = t.dest(hit.conn.dest).ok_or(DropReason::Internal)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        let policy = dest.policy;
        return Err(slow::orphaned(t, p, &hit, policy));
    }
    Ok(0)
}

/// State and timer, as a packet that goes on moves them; leaves the connection to the stage that forwards.
#[inline(always)]
fn advance<T: Tables>(t: &mut T, p: &Packet<T::A>, table: Table) -> Result<u32, Exit> {
    let entry = conn::find_in(t, table, &p.key).ok_or(Exit::OPEN)?;
    let hit = conn::hit(t, table, entry);
    if !hit.is_reply() {
        advance::count(t, &hit);
    }
    advance::packet(t, p, &hit);
    if hit.is_reply() && p.is_udp() && hit.conn.status.flags & ConnFlags::CHILD != 0 {
        template::assure(t, &conn::opposite(&p.key, &hit.conn), &hit.conn);
    }
    t.leave_as_newborn(entry);
    Ok(0)
}

/// [`super::enter`].
#[inline(always)]
pub fn enter_slowly<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match enter_steps(f, t, iface) {
        Ok(()) => Verdict::BORN,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn enter_steps<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<(), Exit> {
    t.step(Step::Room, f, iface, 0).how()?;
    t.step(Step::Reply, f, iface, 0).how()?;
    t.step(Step::Insert, f, iface, 0).how()?;
    Ok(())
}

/// Gives the connection its number, and room among the half-open.
#[inline(always)]
fn room<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let mut conn = *t.newborn().ok_or(DropReason::Internal)?;
    // Datagrams at once on several CPUs: one may have opened it, another one promoted it.
    if p.is_udp() && t.conn(&p.key).is_some() {
        return Err(birth::not_entered(t, p, &conn));
    }
    conn.seq = birth::make_room(t, &p.key);
    t.put_newborn(&conn);
    Ok(0)
}

#[inline(always)]
fn reply<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let conn = *t.newborn().ok_or(DropReason::Internal)?;
    if conn::is_masq(&conn) && !birth::insert_reply(t, p, &conn) {
        return Err(birth::not_entered(t, p, &conn));
    }
    Ok(0)
}

#[inline(always)]
fn insert<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let conn = *t.newborn().ok_or(DropReason::Internal)?;
    birth::insert_client(t, p, &conn)?;
    Ok(0)
}
