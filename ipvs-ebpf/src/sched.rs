//! Schedulers: a service and its real servers in, the choice for a new connection out.
//!
//! They see addresses, weights and counts, never packet bytes, and never a connection. "No choice" is [`NO_DEST`].

pub mod lblc;
pub mod rr;
pub mod wlc;

use ipvs_common::{Dest, DestFlags, DestState, Scheduler, Service};

use crate::{exit::NO_DEST, tables::Tables};

/// The real server for a new connection to `dst`.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, dst: [u8; 4]) -> u32 {
    match Scheduler::from_number(service.scheduler) {
        Some(Scheduler::Rr) => rr::choose(t, service),
        Some(Scheduler::Wlc) => wlc::choose(t, service),
        Some(Scheduler::Lblc) => lblc::choose(t, service, dst),
        _ => NO_DEST,
    }
}

/// A walk over all real servers of a service. In the kernel each is a function of its own: the verifier follows its loop
/// round by round, and must not do so on every path that leads there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walk {
    /// rr: the next usable one behind a place in the list.
    Next(u32),
    /// wlc: the least loaded one.
    Least,
    /// lblc: any with fewer active connections than half its weight.
    HalfIdle,
}

/// Runs a walk; [`NO_DEST`] if nobody fits.
#[inline(always)]
pub fn walk<T: Tables>(t: &T, service: &Service, walk: Walk) -> u32 {
    match walk {
        Walk::Next(start) => rr::next(t, service, start),
        Walk::Least => wlc::least(t, service),
        Walk::HalfIdle => lblc::half_idle(t, service),
    }
}

/// The real server at a place of the service's list.
#[inline(always)]
fn listed<'t, T: Tables>(
    t: &'t T,
    service: &Service,
    place: u32,
) -> Option<(u32, &'t Dest, &'t DestState)> {
    let id = t.listed(service.list_base.wrapping_add(place))?.dest;
    Some((id, t.dest(id)?, t.dest_state(id)?))
}

/// May take new connections.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "each branch in a walk counts against the verifier's stack of them"
)]
fn usable(dest: &Dest, state: &DestState) -> bool {
    (dest.weight != 0) & (state.overloaded == 0) & (dest.flags & DestFlags::AVAILABLE != 0)
}

/// ip_vs's measure of load: an active connection weighs as much as 256 inactive ones.
#[inline(always)]
fn overhead(state: &DestState) -> u64 {
    (u64::from(state.active) << 8) + u64::from(state.inactive)
}
