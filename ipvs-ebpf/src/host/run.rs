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
const MOST_STAGES: u32 = 12;

/// Decides on a frame, rewrites it, and counts every way out that is not "forwarded".
pub fn run<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let first = pipeline::fast(f, &mut t.of::<[u8; 4]>(), iface);
    if first == Verdict::UNTAG {
        return run_tagged(f, t, iface);
    }
    if first == Verdict::SIX {
        let first = pipeline::fast(f, &mut t.of::<Addr>(), iface);
        return stages(first, f, &mut t.of::<Addr>(), iface);
    }
    stages(first, f, &mut t.of::<[u8; 4]>(), iface)
}

/// The same for a fragment that was held ([`ipvs_common::PuntReason::Early`]), by the interface that it came in by.
pub fn run_held<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let iface = &Iface { held: 1, ..*iface };
    if pipeline::is_tagged(f) {
        return run_tagged(f, t, iface);
    }
    run_fragment(f, t, iface)
}

fn run_fragment<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    if pipeline::is_six(f) {
        return stages(Verdict::FRAGMENT, f, &mut t.of::<Addr>(), iface);
    }
    stages(Verdict::FRAGMENT, f, &mut t.of::<[u8; 4]>(), iface)
}

/// A frame of a VLAN, by the interface that it came in by.
fn run_tagged<F: Frame>(f: &mut F, t: &mut HostTables, iface: &Iface) -> Verdict {
    let untagged = pipeline::untag(f, &mut t.of::<[u8; 4]>(), iface);
    let iface = &t.inbound.clone();
    match untagged {
        Verdict::INNER => {
            let first = pipeline::fast(f, &mut t.of::<[u8; 4]>(), iface);
            stages(first, f, &mut t.of::<[u8; 4]>(), iface)
        }
        Verdict::INNER6 => {
            let first = pipeline::fast(f, &mut t.of::<Addr>(), iface);
            stages(first, f, &mut t.of::<Addr>(), iface)
        }
        Verdict::FRAGMENT => run_fragment(f, t, iface),
        passed => passed,
    }
}

/// The stages of a family, from that which the first one leads to.
fn stages<F: Frame, T: Tables>(first: Verdict, f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let mut verdict = first;
    for _ in 0..MOST_STAGES {
        verdict = match verdict.action() {
            Action::Pass if iface.tags_len != 0 => return pipeline::tag(f, t, iface, pipeline::UP),
            Action::Tagged(ifindex) => {
                return pipeline::tag(f, t, iface, ifindex);
            }
            Action::Stage(stage::SIX)
            | Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Waits
            | Action::Redirect(_) => return verdict,
            Action::Stage(stage::SLOW) => pipeline::slow(f, t, iface),
            Action::Stage(stage::FRAGMENT) => pipeline::fragment(f, t, iface),
            Action::Stage(stage::ENTER) => pipeline::enter(f, t, iface),
            Action::Stage(stage::BORN) => pipeline::born(f, t, iface),
            Action::Stage(stage::ICMP) => pipeline::icmp(f, t, iface),
            Action::Stage(stage::TUNNELED) => pipeline::tunneled(f, t, iface),
            Action::Stage(stage::WRAP) => pipeline::wrap(f, t, iface),
            Action::Stage(stage::ASKED) if !T::A::LONG => pipeline::asked(f, t, iface),
            Action::Stage(_) => pipeline::open(f, t, iface),
        };
    }
    pipeline::astray(t)
}
