//! The way of a packet, in stages that run as programs of their own in the kernel, because each has 512 bytes of stack and
//! because what most packets need should be small.
//!
//! `fast`: an established connection, nothing unusual. `slow`: any known connection, with whatever its packet brings about.
//! `open`: a new connection; `enter` puts it into the tables, `born` forwards its packet. `icmp`: errors about connections, `asked`: those that open one; `tunneled`: about what went
//! through a tunnel. A stage that is not the right one
//! says so before it has changed a byte.

mod asked;
mod born;
mod enter;
mod fast;
mod icmp;
mod open;
mod slow;
mod tunneled;

use ipvs_common::{DropReason, Iface, maps::stage};

pub use self::{
    asked::asked, born::born, enter::enter, fast::fast, icmp::icmp, open::open, slow::slow,
    tunneled::tunneled,
};
use crate::{
    exit::{Action, Ending, Exit, NO_DEST, Verdict},
    frame::Frame,
    icmp::reply,
    parse::Packet,
    stats,
    tables::Tables,
};

/// Stages that a packet may go through; more would be a circle.
const MOST_STAGES: u32 = 6;

/// All stages in a row. Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
#[inline(always)]
pub fn run<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let mut verdict = fast(f, t, iface);
    for _ in 0..MOST_STAGES {
        verdict = match verdict.action() {
            Action::Stage(stage::SLOW) => slow(f, t, iface),
            Action::Stage(stage::OPEN) => open(f, t, iface),
            Action::Stage(stage::ENTER) => enter(f, t, iface),
            Action::Stage(stage::BORN) => born(f, t, iface),
            Action::Stage(stage::ICMP) => icmp(f, t, iface),
            Action::Stage(stage::TUNNELED) => tunneled(f, t, iface),
            Action::Stage(stage::ASKED) => asked(t, iface),
            Action::Stage(_)
            | Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Redirect(_) => return verdict,
        };
    }
    astray(t)
}

/// The stages did not come to an end: each found that the other is right.
#[inline(always)]
pub fn astray<T: Tables>(t: &mut T) -> Verdict {
    t.note(DropReason::Internal.slot());
    Verdict::DROP
}

/// Carries an exit out.
#[inline(always)]
fn leave_by<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    exit: Exit,
) -> Verdict {
    let Ending::Answer(error, dest) = exit.ending() else {
        return refuse(t, exit);
    };
    match reply(f, t, p, iface, error) {
        Ok(verdict) => {
            if dest != NO_DEST {
                stats::outbound(t, dest, crate::icmp::length(p));
            }
            verdict
        }
        Err(reason) => refuse(t, reason.into()),
    }
}

/// Carries an exit out that asks for no answer.
#[inline(always)]
fn refuse<T: Tables>(t: &mut T, exit: Exit) -> Verdict {
    match exit.ending() {
        Ending::Pass(slot) => {
            t.note(slot);
            Verdict::PASS
        }
        Ending::Drop(slot) => {
            t.note(slot);
            Verdict::DROP
        }
        Ending::Stage(verdict) => verdict,
        Ending::Answer(..) => Verdict::DROP,
    }
}
