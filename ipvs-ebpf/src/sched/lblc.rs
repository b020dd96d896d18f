//! Locality-based least connection: a destination address stays with its real server until that is over and another is
//! half idle. Made for caches: with one virtual address it is one entry, and all traffic goes to one real server.

use ipvs_common::{Addr, DestFlags, LblcEntry, LblcKey, Service};

use super::{listed, wlc};
use crate::tables::Tables;

#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, dst: [u8; 4]) -> Option<u32> {
    let key = LblcKey {
        addr: Addr::v4(dst),
        service: service.id,
    };
    let last_use = t.now();
    if let Some(entry) = t.lblc(&key) {
        t.put_lblc(&key, &LblcEntry { last_use, ..entry });
        if serves(t, service, entry.dest) {
            return Some(entry.dest);
        }
    }
    let dest = wlc::choose(t, service)?;
    t.put_lblc(
        &key,
        &LblcEntry {
            last_use,
            dest,
            pad: 0,
        },
    );
    Some(dest)
}

/// The cached one stays, unless it is gone, quiesced or over. (Its overload flag is not asked, as in ip_vs.)
#[inline(always)]
fn serves<T: Tables>(t: &T, service: &Service, id: u32) -> bool {
    let (Some(dest), Some(state)) = (t.dest(id), t.dest_state(id)) else {
        return false;
    };
    if dest.flags & DestFlags::AVAILABLE == 0 || dest.service != service.id || dest.weight == 0 {
        return false;
    }
    state.active <= dest.weight || !someone_is_half_idle(t, service)
}

/// Whether some real server has fewer active connections than half its weight.
#[inline(always)]
fn someone_is_half_idle<T: Tables>(t: &T, service: &Service) -> bool {
    for position in 0..Service::MAX_DESTS {
        if position >= service.list_len {
            break;
        }
        let Some(id) = listed(t, service, position) else {
            return false;
        };
        let (Some(dest), Some(state)) = (t.dest(id), t.dest_state(id)) else {
            return false;
        };
        if u64::from(state.active) * 2 < u64::from(dest.weight) {
            return true;
        }
    }
    false
}
