//! What a stage leaves to the next one in the place of a new connection.

use core::ptr::{self, NonNull};

use aya_ebpf::bindings::xdp_md;
use ipvs_common::{Conn, FlowKey};
use ipvs_datapath::service::Marked;

use super::Family;
use crate::maps::own_place;

#[inline(always)]
pub(super) fn leave_conn<A: Family>(ctx: *mut xdp_md, conn: &Conn<A>) {
    if let Some(place) = A::newborn().get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe { *place = *conn };
    }
}

/// The key of a packet.
#[inline(always)]
pub(super) fn leave_key<A: Family>(ctx: *mut xdp_md, key: &FlowKey<A>) {
    if let Some(place) = A::asked().get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe { *place = *key };
    }
}

#[inline(always)]
pub(super) fn leave_dest<A: Family>(ctx: *mut xdp_md, dest: u32) {
    if let Some(place) = A::newborn().get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe { (*place).dest = dest };
    }
}

#[inline(always)]
pub(super) fn leave_mark<A: Family>(ctx: *mut xdp_md, marked: Marked) {
    if let Some(place) = A::newborn().get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe {
            (*place).mark = marked.mark;
            (*place).seq = marked.by_rule.into();
        }
    }
}

/// An entry as it stands now.
#[inline(always)]
pub(super) fn leave_entry<A: Family>(ctx: *mut xdp_md, entry: NonNull<Conn<A>>) {
    if let Some(place) = A::newborn().get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value, and a value pointer of a lookup in this run.
        unsafe { ptr::copy_nonoverlapping(entry.as_ptr(), place, 1) };
    }
}
