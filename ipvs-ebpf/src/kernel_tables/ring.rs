//! The ring of half-open connections.

use core::ptr;

use ipvs_common::RingSlot;

use super::Family;
use crate::maps::HEADS;

/// [`ipvs_datapath::Tables::ring_replace`].
#[inline(always)]
pub(super) fn replace<A: Family>(slot: &RingSlot<A>) -> RingSlot<A> {
    let Some(place) = A::ring().get_ptr_mut(slot.seq & A::half_open_mask()) else {
        return RingSlot::default();
    };
    // SAFETY: a map value; two CPUs meet here only if a whole ring of others came in between.
    unsafe {
        let old = ptr::read(place);
        ptr::write(place, *slot);
        old
    }
}

/// [`ipvs_datapath::Tables::look_ahead`].
#[inline(always)]
pub(super) fn look_ahead<A: Family>() {
    let Some(head) = HEADS.get(A::RING) else {
        return;
    };
    let Some(oldest) = A::ring().get_ptr(*head & A::half_open_mask()) else {
        return;
    };
    // SAFETY: a map value; a place that another CPU writes just now names nobody, which does no harm.
    let oldest = unsafe { ptr::read(oldest) };
    if oldest.used != 0 {
        A::half_open().get_ptr(oldest.key);
    }
}
