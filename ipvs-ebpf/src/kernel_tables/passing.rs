//! What a stage leaves to the next one in the place of a new connection.

use core::ptr::{self, NonNull};

use ipvs_common::Conn;
use ipvs_datapath::service::Marked;

use super::Family;

#[inline(always)]
pub(super) fn leave_dest<A: Family>(dest: u32) {
    if let Some(place) = A::newborn().get_ptr_mut(0) {
        // SAFETY: this CPU's value.
        unsafe { (*place).dest = dest };
    }
}

#[inline(always)]
pub(super) fn leave_mark<A: Family>(marked: Marked) {
    if let Some(place) = A::newborn().get_ptr_mut(0) {
        // SAFETY: this CPU's value.
        unsafe {
            (*place).mark = marked.mark;
            (*place).seq = marked.by_rule.into();
        }
    }
}

/// An entry as it stands now.
#[inline(always)]
pub(super) fn leave_entry<A: Family>(entry: NonNull<Conn<A>>) {
    if let Some(place) = A::newborn().get_ptr_mut(0) {
        // SAFETY: this CPU's value, and a value pointer of a lookup in this run.
        unsafe { ptr::copy_nonoverlapping(entry.as_ptr(), place, 1) };
    }
}
