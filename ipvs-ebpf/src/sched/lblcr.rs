//! Locality-based least connection with replication: a destination address has a set of real servers, which grows when the
//! best of them is over, and shrinks when it did not change for long.

use ipvs_common::{Address, DestFlags, LblcKey, LblcrEntry, Service};

use super::{Goal, best, is_over, overhead};
use crate::{exit::NO_DEST, tables::Tables};

/// Members that fit.
const ROOM: u32 = LblcrEntry::MAX_MEMBERS as u32;

/// There is a set for the address.
const KNOWN: u64 = 1 << 32;

/// The real server for a new connection to `dst`.
#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, service: &Service, dst: T::A) -> u32 {
    let known = t.lblcr_known(service.id, dst);
    let member = known as u32;
    if known & KNOWN != 0 && member != NO_DEST && !over(t, service, member) {
        return member;
    }
    let dest = best(t, service, Goal::LeastLoadPerWeight);
    if dest != NO_DEST {
        t.lblcr_join(service.id, dst, dest);
    }
    dest
}

/// The best member of an address's set in the lower half, and whether there is a set above. The set counts as used, and may
/// shrink, after the choice.
#[inline(always)]
pub fn known<T: Tables>(t: &mut T, service: u32, dst: T::A) -> u64 {
    let Some(set) = t.lblcr(&key(service, dst)) else {
        return u64::from(NO_DEST);
    };
    let now = t.now();
    t.set_lblcr_use(set, now);
    let member = least(t, service, set);
    shrink(t, set);
    KNOWN | u64::from(member)
}

/// Adds a real server to an address's set, which is made if need be.
#[inline(always)]
pub fn join<T: Tables>(t: &mut T, service: u32, dst: T::A, dest: u32) {
    let key = key(service, dst);
    if let Some(set) = t.lblcr(&key) {
        add(t, set, dest);
    } else if let Some(set) = t.open_lblcr(&key) {
        let now = t.now();
        t.set_lblcr_use(set, now);
        add(t, set, dest);
    }
}

#[inline(always)]
fn key<A: Address>(service: u32, dst: A) -> LblcKey {
    LblcKey {
        addr: dst.wide(),
        service,
    }
}

#[inline(always)]
fn over<T: Tables>(t: &mut T, service: &Service, id: u32) -> bool {
    let (Some(dest), Some(state)) = (t.dest(id), t.dest_state(id)) else {
        return true;
    };
    let (active, weight) = (state.active, dest.weight);
    is_over(t, service, active, weight)
}

/// The least loaded member for its weight, of equals the newest.
#[inline(always)]
fn least<T: Tables>(t: &T, service: u32, set: T::SetRef) -> u32 {
    let (mut id, mut cost, mut shared) = (NO_DEST, 1u64, 0u64);
    let count = t.lblcr_count(set);
    for back in 1..=ROOM {
        if back > count {
            break;
        }
        let member = t.lblcr_member(set, count - back);
        let (Some(dest), Some(state)) = (t.dest(member), t.dest_state(member)) else {
            continue;
        };
        if dest.flags & DestFlags::AVAILABLE == 0
            || dest.service != service
            || dest.weight == 0
            || state.overloaded != 0
        {
            continue;
        }
        let (load, weight) = (overhead(state), u64::from(dest.weight));
        if cost.wrapping_mul(weight) > load.wrapping_mul(shared) {
            (id, cost, shared) = (member, load, weight);
        }
    }
    id
}

/// Takes the most loaded member out of a set that did not change for long.
#[inline(always)]
fn shrink<T: Tables>(t: &mut T, set: T::SetRef) {
    let after = t.settings().map_or(0, |s| u64::from(s.lblcr_expiration));
    if t.lblcr_count(set) < 2 || t.now() <= t.lblcr_change(set) + after {
        return;
    }
    let member = most_loaded(t, set);
    if member != NO_DEST {
        remove(t, set, member);
        let now = t.now();
        t.set_lblcr_change(set, now);
    }
}

/// The most loaded member for its weight, of equals the newest; [`NO_DEST`] if nobody has a weight.
#[inline(always)]
fn most_loaded<T: Tables>(t: &T, set: T::SetRef) -> u32 {
    let (mut found, mut cost, mut shared) = (NO_DEST, 0u64, 0u64);
    let count = t.lblcr_count(set);
    for back in 1..=ROOM {
        if back > count {
            break;
        }
        let member = t.lblcr_member(set, count - back);
        let (Some(dest), Some(state)) = (t.dest(member), t.dest_state(member)) else {
            continue;
        };
        let (load, weight) = (overhead(state), u64::from(dest.weight));
        let more = found == NO_DEST || load.wrapping_mul(shared) > cost.wrapping_mul(weight);
        if weight != 0 && more {
            (found, cost, shared) = (member, load, weight);
        }
    }
    found
}

/// Adds a member unless it is one. In a full set it takes the place of the oldest.
#[inline(always)]
fn add<T: Tables>(t: &mut T, set: T::SetRef, dest: u32) {
    for place in 0..ROOM {
        if place >= t.lblcr_count(set) {
            break;
        }
        if t.lblcr_member(set, place) == dest {
            return;
        }
    }
    let count = t.lblcr_count(set);
    let place = if count < ROOM { count } else { 0 };
    t.set_lblcr_member(set, place, dest);
    if count < ROOM {
        t.set_lblcr_count(set, count + 1);
    }
    let now = t.now();
    t.set_lblcr_change(set, now);
}

/// Takes a member out; the newer ones move up.
#[inline(always)]
fn remove<T: Tables>(t: &mut T, set: T::SetRef, member: u32) {
    let count = t.lblcr_count(set);
    let mut newer = NO_DEST;
    for back in 1..=ROOM {
        if back > count {
            return;
        }
        let place = count - back;
        let each = t.lblcr_member(set, place);
        if back > 1 {
            t.set_lblcr_member(set, place, newer);
        }
        if each == member {
            t.set_lblcr_count(set, count - 1);
            return;
        }
        newer = each;
    }
}
