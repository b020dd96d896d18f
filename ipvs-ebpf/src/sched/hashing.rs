//! dh, sh and mh: an address decides, by a table. The tables of sh and mh are filled by the daemon.

use ipvs_common::{
    Address, FlowKey, Service, ServiceFlags,
    hash::{BUCKETS, MAGLEV_OFFSET, hash32, siphash13},
};

use super::{Goal, Scan, Walk, usable};
use crate::{exit::NO_DEST, tables::Tables};

/// dh: real servers stand in the buckets in turn, whatever their weight, so the list itself is the table.
#[inline(always)]
pub(super) fn by_destination<T: Tables>(t: &T, service: &Service, key: &FlowKey<T::A>) -> u32 {
    let place = hash32(key.dst.fold())
        .checked_rem(service.list_len)
        .unwrap_or(0);
    if service.list_len == 0 {
        return NO_DEST;
    }
    t.listed(service.list_base.wrapping_add(place))
        .map_or(NO_DEST, |slot| if_usable(t, slot.dest))
}

/// sh.
#[inline(always)]
pub(super) fn by_source<T: Tables>(t: &mut T, service: &Service, key: &FlowKey<T::A>) -> u32 {
    if service.table_len != BUCKETS {
        return NO_DEST;
    }
    let hash = hash32(client(service, key));
    let first = at(t, service.table_base, hash);
    if first != NO_DEST || !falls_back(t, service, hash) {
        return first;
    }
    t.walk(&probing(service, Goal::Buckets, hash, 0)).dest()
}

/// mh.
#[inline(always)]
pub(super) fn maglev<T: Tables>(t: &mut T, service: &Service, key: &FlowKey<T::A>) -> u32 {
    let client = client(service, key);
    let slot = siphash13(client, MAGLEV_OFFSET)
        .checked_rem(service.table_len)
        .unwrap_or(0);
    if service.table_len == 0 {
        return NO_DEST;
    }
    let first = at(t, service.table_base, slot);
    if first != NO_DEST || !falls_back(t, service, slot) {
        return first;
    }
    t.walk(&probing(service, Goal::Slots, slot, client)).dest()
}

/// Whether to look on. A table is full or empty: where one slot names nobody, there is nobody to be found.
#[inline(always)]
fn falls_back<T: Tables>(t: &T, service: &Service, slot: u32) -> bool {
    service.flags & ServiceFlags::FALLBACK != 0
        && t.hashed(service.table_base.wrapping_add(slot))
            .is_some_and(|id| *id != NO_DEST)
}

/// What is hashed of a client.
#[inline(always)]
fn client<A: Address>(service: &Service, key: &FlowKey<A>) -> u32 {
    let port = if service.flags & ServiceFlags::PORT != 0 {
        u16::from_be_bytes(key.sport)
    } else {
        0
    };
    key.src.fold().wrapping_add(u32::from(port))
}

#[inline(always)]
const fn probing(service: &Service, goal: Goal, first: u32, client: u32) -> Walk {
    Walk {
        goal,
        base: service.table_base,
        len: service.table_len,
        start: 0,
        a: first as u64,
        b: client as u64,
    }
}

/// The next bucket or slot of a search from `a` on; true ends it.
#[inline(always)]
pub(super) fn probe<T: Tables>(t: &T, scan: &mut Scan, goal: Goal) -> bool {
    let (first, try_) = (scan.a as u32, scan.place);
    let slot = if matches!(goal, Goal::Buckets) {
        first.wrapping_add(try_.wrapping_add(first) % BUCKETS) % BUCKETS
    } else {
        let Some(offset) = try_.wrapping_add(first).checked_rem(scan.len) else {
            return true;
        };
        siphash13(offset.wrapping_add(scan.b as u32), MAGLEV_OFFSET)
            .checked_rem(scan.len)
            .unwrap_or(0)
    };
    let id = at(t, scan.base, slot);
    // Not written in vain: to the verifier, places passed by leave no trace.
    if id != NO_DEST {
        scan.best = id;
    }
    id != NO_DEST
}

/// The real server of a slot, if it is usable.
#[inline(always)]
fn at<T: Tables>(t: &T, base: u32, slot: u32) -> u32 {
    t.hashed(base.wrapping_add(slot))
        .map_or(NO_DEST, |id| if_usable(t, *id))
}

#[inline(always)]
fn if_usable<T: Tables>(t: &T, id: u32) -> u32 {
    match (t.dest(id), t.dest_state(id)) {
        (Some(dest), Some(state)) if usable(dest, state) => id,
        _ => NO_DEST,
    }
}
