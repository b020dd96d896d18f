//! The way of a packet, in three stages that run as three programs in the kernel, because each has 512 bytes of stack and
//! because what most packets need should be small.
//!
//! `fast`: an established connection, nothing unusual. `slow`: any known connection, with whatever its packet brings about.
//! `open`: a new connection, entered in the tables; its packet then goes through `slow`. A stage that is not the right one
//! says so before it has changed a byte.

mod fast;
mod open;
mod slow;

use ipvs_common::{DropReason, Iface};

pub use self::{fast::fast, open::open, slow::slow};
use crate::{
    exit::{Ending, Exit, NO_DEST, Verdict},
    frame::Frame,
    icmp,
    parse::Packet,
    stats,
    tables::Tables,
};

/// All stages in a row. Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
#[inline(always)]
pub fn run<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    fast(f, t, iface)
        .or_else(|| slow(f, t, iface))
        .or_else(|| open(f, t, iface))
        .or_else(|| slow(f, t, iface))
        .unwrap_or_else(|| astray(t))
}

/// The stages did not come to an end: the entry that one of them left went away before the next.
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
    match icmp::reply(f, t, p, iface, error) {
        Ok(verdict) => {
            if dest != NO_DEST {
                stats::outbound(t, dest, icmp::length(p));
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
        Ending::Answer(..) => Verdict::DROP,
    }
}
