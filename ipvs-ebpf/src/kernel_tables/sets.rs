//! The cache of lblcr over its BPF map. Several CPUs may write a set at once; it holds hints only.

use core::{
    hint::black_box,
    ptr::{self, NonNull},
};

use ipvs_common::{LblcKey, LblcrEntry};
use ipvs_datapath::tables::Sets;

use super::{Family, Maps};
use crate::maps::{LBLCR, LBLCR_BLANK};

impl<A: Family> Sets for Maps<A> {
    type SetRef = NonNull<LblcrEntry>;

    #[inline(always)]
    fn lblcr(&mut self, key: &LblcKey) -> Option<NonNull<LblcrEntry>> {
        LBLCR.get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn open_lblcr(&mut self, key: &LblcKey) -> Option<NonNull<LblcrEntry>> {
        // An entry is more than the stack has room for; the kernel copies from one map's value to the other's.
        LBLCR.insert(key, LBLCR_BLANK.get(0)?, 0).ok()?;
        self.lblcr(key)
    }
    #[inline(always)]
    fn lblcr_change(&self, set: NonNull<LblcrEntry>) -> u64 {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*set.as_ptr()).last_change }
    }
    #[inline(always)]
    fn lblcr_count(&self, set: NonNull<LblcrEntry>) -> u32 {
        // Read anew each time: what the verifier learnt of one reading would multiply with what it learns of the next.
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { ptr::read_volatile(&raw const (*set.as_ptr()).count) }
    }
    #[inline(always)]
    fn lblcr_member(&self, set: NonNull<LblcrEntry>, place: u32) -> u32 {
        // SAFETY: a value pointer of a lookup in this run, at a place of the array.
        unsafe { *member(set, place) }
    }
    #[inline(always)]
    fn set_lblcr_use(&mut self, set: NonNull<LblcrEntry>, now: u64) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*set.as_ptr()).last_use = now };
    }
    #[inline(always)]
    fn set_lblcr_change(&mut self, set: NonNull<LblcrEntry>, now: u64) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*set.as_ptr()).last_change = now };
    }
    #[inline(always)]
    fn set_lblcr_count(&mut self, set: NonNull<LblcrEntry>, count: u32) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*set.as_ptr()).count = count };
    }
    #[inline(always)]
    fn set_lblcr_member(&mut self, set: NonNull<LblcrEntry>, place: u32, dest: u32) {
        // SAFETY: a value pointer of a lookup in this run, at a place of the array.
        unsafe { *member(set, place) = dest };
    }
}

/// A place in a set; of the index only the bits that can be one.
#[inline(always)]
fn member(set: NonNull<LblcrEntry>, place: u32) -> *mut u32 {
    const { assert!(LblcrEntry::MAX_MEMBERS.is_power_of_two()) };
    // The mask changes nothing; the verifier sees the bound in it.
    let place = black_box(place) as usize & (LblcrEntry::MAX_MEMBERS - 1);
    // SAFETY: a field of a map value; the index is within the array.
    unsafe { (&raw mut (*set.as_ptr()).members).cast::<u32>().add(place) }
}
