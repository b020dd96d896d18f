//! Round robin: the next usable real server after the one chosen last, in list order.

use ipvs_common::{SchedState, Service};

use super::{Goal, Walk};
use crate::{exit::NO_DEST, tables::Tables};

/// Tries against other CPUs that schedule the same service.
pub(super) const TRIES: u32 = 4;

/// Walks on from the one chosen last. If another CPU chose meanwhile, walks again from that one's choice.
#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, service: &Service) -> u32 {
    let mut id = NO_DEST;
    for _ in 0..TRIES {
        let Some(state) = t.sched(service.id).copied() else {
            break;
        };
        let walk = Walk {
            start: behind(t, service, state.last),
            ..Walk::over(service, Goal::First)
        };
        id = t.walk(&walk).dest();
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

/// Place behind the real server that `last` names (0: none, the head of the list); behind the last one, the length.
#[inline(always)]
pub(super) fn behind<T: Tables>(t: &T, service: &Service, last: u32) -> u32 {
    if last == 0 {
        return 0;
    }
    let Some(dest) = t.dest(last - 1) else {
        return 0;
    };
    let next = dest.position.wrapping_add(1);
    if dest.service == service.id && next <= service.list_len {
        next
    } else {
        0
    }
}
