//! The stages of a packet in a row, as the kernel's programs call each other.

use ipvs_common::{Addr, Iface, maps::stage};

use super::HostTables;
use crate::{
    exit::{Action, Verdict},
    frame::Frame,
    pipeline,
    tables::Tables,
};

/// Stages that a packet may go through; more would be a circle.
const MOST_STAGES: u32 = 6;

/// Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
pub fn run<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let four = &mut t.of::<[u8; 4]>();
    let mut verdict = pipeline::fast(f, four, iface);
    for _ in 0..MOST_STAGES {
        verdict = match verdict.action() {
            Action::Stage(stage::SIX) => return six(f, t, iface),
            Action::Stage(stage::ICMP) => pipeline::icmp(f, four, iface),
            Action::Stage(stage::TUNNELED) => pipeline::tunneled(f, four, iface),
            Action::Stage(stage::ASKED) => pipeline::asked(four, iface),
            Action::Stage(_)
            | Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Redirect(_) => match next(f, four, iface, verdict) {
                Some(next) => next,
                None => return verdict,
            },
        };
    }
    pipeline::astray(four)
}

/// The stages of IPv6.
fn six<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let six = &mut t.of::<Addr>();
    let mut verdict = pipeline::fast(f, six, iface);
    for _ in 0..MOST_STAGES {
        match next(f, six, iface, verdict) {
            Some(next) => verdict = next,
            None => return verdict,
        }
    }
    pipeline::astray(six)
}

/// A stage that both families have.
fn next<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    verdict: Verdict,
) -> Option<Verdict> {
    match verdict.action() {
        Action::Stage(stage::SLOW) => Some(pipeline::slow(f, t, iface)),
        Action::Stage(stage::OPEN) => Some(pipeline::open(f, t, iface)),
        Action::Stage(stage::ENTER) => Some(pipeline::enter(f, t, iface)),
        Action::Stage(stage::BORN) => Some(pipeline::born(f, t, iface)),
        Action::Stage(_)
        | Action::Pass
        | Action::Drop
        | Action::Tx
        | Action::Handed
        | Action::Redirect(_) => None,
    }
}
