//! Schedulers: a service and its real servers in, the choice for a new connection out.
//!
//! They see addresses, ports, weights and counts, never packet bytes, and never a connection. "No choice" is [`NO_DEST`].

mod hashing;
mod lblc;
pub mod lblcr;
mod rr;
mod twos;
mod walk;
mod wrr;

use ipvs_common::{Dest, DestFlags, DestState, FlowKey, Scheduler, Service};

pub use self::walk::{Found, Goal, Scan, Walk, chunk, chunks, make};
use crate::{exit::NO_DEST, tables::Tables};

/// The real server for a new connection of the client that sent a packet with this key.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, key: &FlowKey<T::A>) -> u32 {
    match Scheduler::from_number(service.scheduler) {
        Some(Scheduler::Rr) => rr::choose(t, service),
        Some(Scheduler::Wrr) => wrr::choose(t, service),
        Some(Scheduler::Lc) => best(t, service, Goal::LeastLoad),
        Some(Scheduler::Wlc) => best(t, service, Goal::LeastLoadPerWeight),
        Some(Scheduler::Sed) => best(t, service, Goal::ShortestDelay),
        Some(Scheduler::Nq) => best(t, service, Goal::IdleOrShortestDelay),
        Some(Scheduler::Fo) => best(t, service, Goal::Heaviest),
        Some(Scheduler::Ovf) => best(t, service, Goal::HeaviestWithRoom),
        Some(Scheduler::Lblc) => lblc::choose(t, service, key.dst),
        Some(Scheduler::Lblcr) => lblcr::choose(t, service, key.dst),
        Some(Scheduler::Dh) => hashing::by_destination(t, service, key),
        Some(Scheduler::Sh) => hashing::by_source(t, service, key),
        Some(Scheduler::Mh) => hashing::maglev(t, service, key),
        Some(Scheduler::Twos) => twos::choose(t, service),
        Some(Scheduler::None) | None => NO_DEST,
    }
}

/// One look at every real server, from the head of the list.
#[inline(always)]
fn best<T: Tables>(t: &mut T, service: &Service, goal: Goal) -> u32 {
    t.walk(&Walk::over(service, goal)).dest()
}

/// A real server that does not stand in the list before us (any more): whether it may take new connections.
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

/// lblc and lblcr: a real server is over when it has more active connections than its weight while another one has fewer than
/// half of its own.
#[inline(always)]
fn is_over<T: Tables>(t: &mut T, service: &Service, active: u32, weight: u32) -> bool {
    active > weight && t.walk(&Walk::over(service, Goal::HalfIdle)).dest() != NO_DEST
}
