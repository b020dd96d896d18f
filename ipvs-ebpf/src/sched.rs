//! Schedulers: a service and its real servers in, the choice for a new connection out.
//!
//! They see addresses, weights and counts, never packet bytes, and never a connection.

pub mod lblc;
pub mod rr;
pub mod wlc;

use ipvs_common::{Dest, DestFlags, DestState, Scheduler, Service};

use crate::tables::Tables;

/// The real server for a new connection to `dst`. `None`: none is available.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, dst: [u8; 4]) -> Option<u32> {
    match Scheduler::from_number(service.scheduler)? {
        Scheduler::Rr => rr::choose(t, service),
        Scheduler::Wlc => wlc::choose(t, service),
        Scheduler::Lblc => lblc::choose(t, service, dst),
    }
}

/// The real server at a place of the service's list.
#[inline(always)]
fn listed<T: Tables>(t: &T, service: &Service, position: u32) -> Option<u32> {
    t.listed(service.list_base.wrapping_add(position))
}

/// May take new connections.
#[inline(always)]
fn usable(dest: &Dest, state: &DestState) -> bool {
    dest.weight > 0 && state.overloaded == 0 && dest.flags & DestFlags::AVAILABLE != 0
}

/// ip_vs's measure of load: an active connection weighs as much as 256 inactive ones.
#[inline(always)]
fn overhead(state: &DestState) -> u64 {
    (u64::from(state.active) << 8) + u64::from(state.inactive)
}
