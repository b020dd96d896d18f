//! Weighted round robin: around the list for real servers of at least a weight that comes down by a step each time around,
//! and starts at the top again. (Not smooth: 5:3:1 comes in bursts, as in ip_vs.)

use ipvs_common::{SchedState, Service};

use super::{Goal, Scan, Walk, rr};
use crate::{exit::NO_DEST, tables::Tables};

/// Walks on from the one chosen last.
#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, service: &Service) -> u32 {
    if service.wrr_max == 0 {
        return NO_DEST;
    }
    let mut id = NO_DEST;
    for _ in 0..rr::TRIES {
        let Some(state) = t.sched(service.id).copied() else {
            break;
        };
        let walk = Walk {
            start: rr::behind(t, service, state.last),
            a: u64::from(state.weight),
            b: u64::from(service.wrr_max) | u64::from(service.wrr_step) << 32,
            ..Walk::over(service, Goal::Weighted)
        };
        let found = t.walk(&walk);
        id = found.dest();
        let new = if id == NO_DEST {
            given_up(service, state, walk.start)
        } else {
            SchedState {
                last: id.wrapping_add(1),
                weight: found.weight(),
            }
        };
        if t.swap_sched(service.id, state, new) || id == NO_DEST {
            break;
        }
    }
    id
}

/// Where a walk in vain leaves off. One that began behind the head at the lowest weight comes back to its beginning; any other
/// gives up at the end of a round at that weight, and the next one starts at the top again.
#[inline(always)]
const fn given_up(service: &Service, before: SchedState, start: u32) -> SchedState {
    if start != 0 && before.weight <= service.wrr_step {
        return before;
    }
    SchedState {
        last: 0,
        weight: service.wrr_max,
    }
}

// During the walk `a` is the weight that is asked for; `cost` is the largest weight of a usable real server in this round,
// `weight` tells whether the round began at the head (all ones), so that `cost` is about all of them.

/// The first one heavy enough ends the walk.
#[inline(always)]
pub(super) const fn look(scan: &mut Scan, id: u32, weight: u64, usable: bool) -> bool {
    if usable && weight >= scan.a {
        scan.best = id;
        return true;
    }
    if usable && weight > scan.cost {
        scan.cost = weight;
    }
    false
}

/// The end of the list: the walk goes on with the weight that [`lower`] says. True: nobody is usable.
#[inline(always)]
pub(super) const fn at_the_end(scan: &mut Scan) -> bool {
    scan.a = lower(scan.a, scan.b, scan.cost, scan.weight);
    scan.cost = 0;
    scan.weight = u64::MAX;
    scan.a == 0
}

/// The weight comes down, or starts at the top again. After a whole round without a hit it goes at once to where there is one,
/// which is where single steps would come to. 0: nobody is usable.
#[inline(always)]
const fn lower(asked: u64, bounds: u64, seen: u64, whole: u64) -> u64 {
    let (max, step) = (bounds & 0xffff_ffff, bounds >> 32);
    // `whole` is all ones after a round that began at the head, else 0, and then the largest weight of all is the bound.
    let heaviest = (seen & whole) | (max & !whole);
    if heaviest == 0 {
        return 0;
    }
    let lower = asked.saturating_sub(step);
    let next = if lower == 0 { max } else { lower };
    // Weights asked for are steps apart, counted from the largest.
    let step = if step == 0 { 1 } else { step };
    let leaps = next.saturating_sub(heaviest).div_ceil(step);
    next.saturating_sub(leaps * step)
}
