//! Round robin: the next usable real server after the one chosen last, in list order.

use ipvs_common::{SchedState, Service};

use super::{Walk, listed, usable};
use crate::{exit::NO_DEST, tables::Tables};

/// Tries against other CPUs that schedule the same service.
const TRIES: u32 = 4;

/// Walks on from the one chosen last. If another CPU chose meanwhile, walks again from that one's choice.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service) -> u32 {
    let mut id = NO_DEST;
    for _ in 0..TRIES {
        let Some(state) = t.sched(service.id).copied() else {
            break;
        };
        let start = behind(t, service, state.last);
        id = t.walk(service, Walk::Next(start));
        let new = SchedState {
            last: id.wrapping_add(1),
            ..state
        };
        if id == NO_DEST || t.swap_sched(service.id, state, new) {
            break;
        }
    }
    id
}

/// Place behind the real server that `last` names (0: none, the head of the list).
#[inline(always)]
fn behind<T: Tables>(t: &T, service: &Service, last: u32) -> u32 {
    if last == 0 {
        return 0;
    }
    let Some(dest) = t.dest(last - 1) else {
        return 0;
    };
    let next = dest.position.wrapping_add(1);
    if dest.service == service.id && next < service.list_len {
        next
    } else {
        0
    }
}

/// First usable one from `start` on, around the end of the list.
#[inline(always)]
pub(super) fn next<T: Tables>(t: &T, service: &Service, start: u32) -> u32 {
    let mut place = start;
    for step in 0..Service::MAX_DESTS {
        if step >= service.list_len {
            break;
        }
        let Some((id, dest, state)) = listed(t, service, place) else {
            break;
        };
        if usable(dest, state) {
            return id;
        }
        place += 1;
        if place >= service.list_len {
            place = 0;
        }
    }
    NO_DEST
}
