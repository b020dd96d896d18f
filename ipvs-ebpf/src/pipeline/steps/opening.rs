//! The steps of a packet that no connection matches. What one of them chose, the next finds in the place of the connection that is
//! to be.

use ipvs_common::{Conn, ConnFlags, DropReason, Event, Iface, PassReason, ServiceFlags, Status};

use super::{
    super::{asked, nobodys::nobodys, open, refuse},
    Step,
};
use crate::{
    conn::{
        expected,
        template::{self, Choice, Parent},
    },
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    parse::Packet,
    sched,
    service::{self, Marked},
    tables::Tables,
};

/// [`super::super::open`], and [`super::super::asked`].
#[inline(always)]
pub fn open_slowly<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match open_steps(f, t, iface) {
        Ok(0) => Verdict::BORN,
        Ok(_) => Verdict::ENTER,
        Err(exit) => refuse(t, exit),
    }
}

/// Whether the connection that is left behind is to be entered.
#[inline(always)]
fn open_steps<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<u32, Exit> {
    let met = t.step(Step::Meet, f, iface, 0).how();
    // The packet of an ICMP error that is to open a connection is none that could be met.
    let is_asked = met == Err(Exit::ICMP);
    let mut moves = 0;
    if is_asked {
        mark_packet(f, t, iface)?;
        t.step(Step::ServeAsked, f, iface, 0).how()?;
    } else if met? != 0 {
        return Ok(1);
    } else {
        mark_packet(f, t, iface)?;
        moves = t.step(Step::Serve, f, iface, 0).how()?;
    }
    if t.step(Step::Join, f, iface, NO_DEST).how()? == 0 {
        let dest = t.step(Step::Choose, f, iface, 0).how()?;
        if dest != NO_DEST && t.step(Step::Tie, f, iface, 0).how()? != 0 {
            t.step(Step::Join, f, iface, dest).how()?;
        }
    }
    if is_asked {
        return t.step(Step::DraftAsked, f, iface, 0).how();
    }
    let enters = t.step(Step::Draft, f, iface, moves).how()?;
    if moves != 0 {
        t.step(Step::LeaveOld, f, iface, 0).how()?;
    }
    Ok(enters)
}

/// Leaves the packet's mark to the steps that look for its service.
#[inline(always)]
fn mark_packet<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<(), Exit> {
    if service::has_matches(t) {
        t.step(Step::Mark, f, iface, 0).how()?;
    } else {
        t.leave_mark(service::of_interface(iface));
    }
    Ok(())
}

/// A connection that was announced; 1 if it was. Leaves the packet's key to the steps behind.
#[inline(always)]
pub(super) fn meet<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    service::at_work(t)?;
    t.ask(&p.key);
    let met = expected::draft(t, p);
    if let Some(conn) = &met {
        t.put_newborn(conn);
    }
    Ok(u32::from(met.is_some()))
}

/// Asks the match rules for the packet's mark.
#[inline(always)]
pub(super) fn mark<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>) {
    let marked = service::mark(t, &p.key, iface);
    t.leave_mark(marked);
}

/// The mark that was left.
#[inline(always)]
fn marked<T: Tables>(t: &T) -> Marked {
    t.newborn().map_or(Marked::NOT, |left| Marked {
        mark: left.mark,
        by_rule: left.seq != 0,
    })
}

/// That a service takes the packet; 1: its connection moves to another real server.
#[inline(always)]
pub(super) fn serve<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>) -> Result<u32, Exit> {
    let marked = marked(t);
    let Some(service) = service::lookup(t, p, marked.mark).copied() else {
        return Err(nobodys(t, p, iface));
    };
    let moves = open::check_again(t, p)?;
    if !moves {
        if !service::opens(t, p) {
            return Err(PassReason::CannotOpen.into());
        }
        service::admit(t, p, iface, marked, &service)?;
    }
    Ok(u32::from(moves))
}

/// Asks the client's template, if there may be one; if it cannot be made, what was `chosen` before stands. Template and real
/// server are left in a connection that is otherwise empty.
#[inline(always)]
pub(super) fn join<T: Tables>(t: &mut T, p: &Packet<T::A>, chosen: u32) -> Result<u32, Exit> {
    let service = *service::lookup(t, p, marked(t).mark).ok_or(PassReason::NoService)?;
    let (mut dest, mut parent) = (NO_DEST, Parent::default());
    if service.flags & ServiceFlags::PERSISTENT != 0 {
        parent = template::parent_of(&service);
        let joined = t.join(&service, &p.key);
        parent.generation = joined.generation();
        dest = joined.dest();
    }
    if dest == NO_DEST && chosen != NO_DEST {
        // No room for a template must not cost the client its connection.
        t.event(Event::TemplateTableFull);
        (dest, parent) = (chosen, Parent::default());
    }
    leave(t, Choice { dest, parent });
    Ok(u32::from(dest != NO_DEST))
}

/// Asks the scheduler for a real server, if it is to be tied to the client.
#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let service = *service::lookup(t, p, marked(t).mark).ok_or(PassReason::NoService)?;
    let dest = sched::choose(t, &service, &p.key);
    let Choice { parent, .. } = left(t)?;
    let ties = dest != NO_DEST && parent.flags & ConnFlags::CHILD != 0;
    let parent = if ties { parent } else { Parent::default() };
    leave(t, Choice { dest, parent });
    Ok(if ties { dest } else { NO_DEST })
}

/// Ties the client to the choice; 1: another CPU was faster, or there is no room.
#[inline(always)]
pub(super) fn tie<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let service = *service::lookup(t, p, marked(t).mark).ok_or(PassReason::NoService)?;
    let Choice { dest, mut parent } = left(t)?;
    parent.mark = service.mark;
    let tied = template::tie_new(t, &service, &p.key, parent, dest);
    Ok(u32::from(!tied))
}

#[inline(always)]
fn leave<T: Tables>(t: &mut T, choice: Choice) {
    let Choice { dest, parent } = choice;
    let Marked { mark, by_rule } = marked(t);
    t.put_newborn(&Conn {
        dest,
        mark,
        seq: u32::from(by_rule),
        generation: parent.generation,
        status: Status {
            flags: parent.flags,
            template_prefix: parent.prefix,
            ..Status::default()
        },
        ..Conn::default()
    });
}

/// What [`leave`] left; the mark of a parent is its service's, not the packet's.
#[inline(always)]
fn left<T: Tables>(t: &T) -> Result<Choice, Exit> {
    let left = t.newborn().ok_or(DropReason::Internal)?;
    Ok(Choice {
        dest: left.dest,
        parent: Parent {
            flags: left.status.flags,
            prefix: left.status.template_prefix,
            generation: left.generation,
            mark: 0,
        },
    })
}

/// Makes the connection to what was chosen; 0: it is in no table.
#[inline(always)]
pub(super) fn draft<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    moves: u32,
) -> Result<u32, Exit> {
    let service = *service::lookup(t, p, marked(t).mark).ok_or(PassReason::NoService)?;
    let choice = left(t)?;
    if choice.dest == NO_DEST && moves != 0 {
        // Whoever was on the way to a deleted real server stays there until there is another one.
        return Err(DropReason::DestGone.into());
    }
    let conn = open::of_choice(t, iface, p, &service, choice, moves != 0)?;
    t.put_newborn(&conn);
    Ok(u32::from(open::enters(&conn)))
}

/// Ends the connection that moves.
#[inline(always)]
pub(super) fn leave_old<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let conn = *t.newborn().ok_or(DropReason::Internal)?;
    open::leave_old(t, p, &conn)?;
    Ok(0)
}

/// That a service takes the packet which an ICMP error asks for.
#[inline(always)]
pub(super) fn serve_asked<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
) -> Result<u32, Exit> {
    let marked = marked(t);
    let service = *service::lookup(t, p, marked.mark).ok_or(PassReason::NoService)?;
    asked::admit(t, iface, p, marked, &service)?;
    Ok(0)
}

/// Makes the connection of it to what was chosen.
#[inline(always)]
pub(super) fn draft_asked<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Result<u32, Exit> {
    let service = *service::lookup(t, p, marked(t).mark).ok_or(PassReason::NoService)?;
    let choice = left(t)?;
    let conn = asked::of_choice(t, p, &service, choice)?;
    t.put_newborn(&conn);
    Ok(1)
}
