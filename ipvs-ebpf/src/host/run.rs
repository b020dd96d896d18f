//! The stages of a packet in a row, as the kernel's programs call each other.

use ipvs_common::{Addr, Iface, maps::stage};

use super::HostTables;
use crate::{
    Ip,
    exit::{Action, Verdict},
    frame::Frame,
    pipeline,
    tables::Tables,
};

/// Stages that a packet may go through; more would be a circle.
const MOST_STAGES: u32 = 8;

/// Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
pub fn run<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let verdict = stages(f, &mut t.of::<[u8; 4]>(), iface);
    if verdict == Verdict::SIX {
        return stages(f, &mut t.of::<Addr>(), iface);
    }
    verdict
}

/// The stages of a family.
fn stages<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let mut verdict = pipeline::fast(f, t, iface);
    for _ in 0..MOST_STAGES {
        verdict = match verdict.action() {
            Action::Stage(stage::SIX)
            | Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Redirect(_) => return verdict,
            Action::Stage(stage::SLOW) => pipeline::slow(f, t, iface),
            Action::Stage(stage::ENTER) => pipeline::enter(f, t, iface),
            Action::Stage(stage::BORN) => pipeline::born(f, t, iface),
            Action::Stage(stage::ICMP) => pipeline::icmp(f, t, iface),
            Action::Stage(stage::TUNNELED) => pipeline::tunneled(f, t, iface),
            Action::Stage(stage::WRAP) => pipeline::wrap(f, t, iface),
            Action::Stage(stage::ASKED) if !T::A::LONG => pipeline::asked(t, iface),
            Action::Stage(_) => pipeline::open(f, t, iface),
        };
    }
    pipeline::astray(t)
}
