//! Round robin: the next usable real server after the one chosen last, in list order.

use ipvs_common::Service;

use super::{listed, usable};
use crate::tables::Tables;

/// Tries against other CPUs that schedule the same service.
const TRIES: u32 = 4;

#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service) -> Option<u32> {
    for _ in 0..TRIES {
        let last = t.sched_last(service.id)?;
        let id = after(t, service, last)?;
        if t.swap_sched_last(service.id, last, u64::from(id) + 1) {
            return Some(id);
        }
    }
    // Four others were faster: any usable one will do.
    after(t, service, 0)
}

/// First usable one behind `last` (0: the head of the list), around the end.
#[inline(always)]
fn after<T: Tables>(t: &T, service: &Service, last: u64) -> Option<u32> {
    let start = match last.checked_sub(1) {
        Some(id) => t
            .dest(id as u32)
            .filter(|d| d.service == service.id)
            .map_or(0, |d| d.position.wrapping_add(1)),
        None => 0,
    };
    let mut position = if start < service.list_len { start } else { 0 };
    for step in 0..Service::MAX_DESTS {
        if step >= service.list_len {
            break;
        }
        let id = listed(t, service, position)?;
        if usable(t.dest(id)?, t.dest_state(id)?) {
            return Some(id);
        }
        position = if position + 1 < service.list_len {
            position + 1
        } else {
            0
        };
    }
    None
}
