//! Weighted least connection: least overhead per weight; of equals the newest.

use ipvs_common::Service;

use super::{Walk, listed, overhead, usable};
use crate::{exit::NO_DEST, tables::Tables};

#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service) -> u32 {
    t.walk(service, Walk::Least)
}

#[inline(always)]
#[expect(clippy::needless_bitwise_bool, reason = "as in `usable`")]
pub(super) fn least<T: Tables>(t: &T, service: &Service) -> u32 {
    let mut best = NO_DEST;
    // Worse than anyone: some load on no weight.
    let (mut best_load, mut best_weight) = (1u64, 0u64);
    for place in 0..Service::MAX_DESTS {
        if place >= service.list_len {
            break;
        }
        let Some((id, dest, state)) = listed(t, service, place) else {
            break;
        };
        let (load, weight) = (overhead(state), u64::from(dest.weight));
        // Loads are compared by cross multiplication: load/weight < best_load/best_weight.
        if usable(dest, state) & (best_load * weight > load * best_weight) {
            best = id;
            best_load = load;
            best_weight = weight;
        }
    }
    best
}
