//! Locality-based least connection: a destination address stays with its real server until that is over and another is
//! half idle. Made for caches: with one virtual address it is one entry, and all traffic goes to one real server.

use ipvs_common::{Addr, DestFlags, LblcEntry, LblcKey, Service};

use super::{Walk, listed, wlc};
use crate::{exit::NO_DEST, tables::Tables};

#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, dst: [u8; 4]) -> u32 {
    let key = LblcKey {
        addr: Addr::v4(dst),
        service: service.id,
    };
    let cached = t.lblc(&key).map_or(NO_DEST, |entry| entry.dest);
    let dest = if serves(t, service, cached) {
        cached
    } else {
        wlc::choose(t, service)
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
    state.active <= dest.weight || t.walk(service, Walk::HalfIdle) == NO_DEST
}

/// Some real server with fewer active connections than half its weight.
#[inline(always)]
pub(super) fn half_idle<T: Tables>(t: &T, service: &Service) -> u32 {
    for place in 0..Service::MAX_DESTS {
        if place >= service.list_len {
            break;
        }
        let Some((id, dest, state)) = listed(t, service, place) else {
            break;
        };
        if u64::from(state.active) * 2 < u64::from(dest.weight) {
            return id;
        }
    }
    NO_DEST
}
