//! Locality-based least connection: a destination address stays with its real server until that is over and another is
//! half idle. Made for caches: with one virtual address it is one entry, and all traffic goes to one real server.

use ipvs_common::{Address, DestFlags, LblcEntry, LblcKey, Service};

use super::{Goal, best, is_over};
use crate::{exit::NO_DEST, tables::Tables};

#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, service: &Service, dst: T::A) -> u32 {
    let key = LblcKey {
        addr: dst.wide(),
        service: service.id,
    };
    let cached = t.lblc(&key).map_or(NO_DEST, |entry| entry.dest);
    let dest = if serves(t, service, cached) {
        cached
    } else {
        best(t, service, Goal::LeastLoadPerWeight)
    };
    if dest != NO_DEST || cached != NO_DEST {
        let kept = if dest == NO_DEST { cached } else { dest };
        let last_use = t.now();
        t.put_lblc(
            &key,
            &LblcEntry {
                last_use,
                dest: kept,
                pad: 0,
            },
        );
    }
    dest
}

/// The cached one stays, unless it is gone, quiesced or over. (Its overload flag is not asked, as in ip_vs.)
#[inline(always)]
fn serves<T: Tables>(t: &mut T, service: &Service, id: u32) -> bool {
    let (Some(dest), Some(state)) = (t.dest(id), t.dest_state(id)) else {
        return false;
    };
    if dest.flags & DestFlags::AVAILABLE == 0 || dest.service != service.id || dest.weight == 0 {
        return false;
    }
    let (active, weight) = (state.active, dest.weight);
    !is_over(t, service, active, weight)
}
