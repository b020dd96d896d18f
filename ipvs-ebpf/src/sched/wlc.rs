//! Weighted least connection: least overhead per weight; of equals the newest.

use ipvs_common::Service;

use super::{listed, overhead, usable};
use crate::tables::Tables;

#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service) -> Option<u32> {
    let mut best: Option<(u32, u64, u64)> = None;
    for position in 0..Service::MAX_DESTS {
        if position >= service.list_len {
            break;
        }
        let id = listed(t, service, position)?;
        let (dest, state) = (t.dest(id)?, t.dest_state(id)?);
        if !usable(dest, state) {
            continue;
        }
        let (load, weight) = (overhead(state), u64::from(dest.weight));
        // Loads are compared by cross multiplication: load/weight < best_load/best_weight.
        if best.is_none_or(|(_, best_load, best_weight)| best_load * weight > load * best_weight) {
            best = Some((id, load, weight));
        }
    }
    best.map(|(id, ..)| id)
}
