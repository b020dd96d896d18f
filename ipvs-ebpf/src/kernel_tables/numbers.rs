//! Keys and statuses as plain numbers: what a function of its own may take, and what the CPU can swap; and numbers that tell
//! connections apart.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use ipvs_common::{FlowKey, Status};

use crate::maps::HEADS;

/// A status and its connection's number as they stand in memory.
#[inline(always)]
pub(super) fn numbered(status: Status, seq: u32) -> u64 {
    bytemuck::cast([bytemuck::cast::<Status, u32>(status), seq])
}

// A key travels to a function of its own as numbers, because that function may only take numbers.

#[inline(always)]
pub(crate) fn src(key: &FlowKey) -> u32 {
    u32::from_ne_bytes(key.src)
}

#[inline(always)]
pub(crate) fn dst(key: &FlowKey) -> u32 {
    u32::from_ne_bytes(key.dst)
}

#[inline(always)]
pub(crate) fn ports(key: &FlowKey) -> u32 {
    bytemuck::cast([key.sport, key.dport])
}

/// The key that `src`, `dst` and `ports` made numbers of.
#[inline(always)]
pub(crate) fn key_of(src: u32, dst: u32, ports: u32, proto: u32) -> FlowKey {
    let [sport, dport]: [[u8; 2]; 2] = bytemuck::cast(ports);
    FlowKey::new(
        proto as u8,
        src.to_ne_bytes(),
        sport,
        dst.to_ne_bytes(),
        dport,
    )
}

/// The next number of a row that all CPUs draw from.
#[inline(always)]
pub(super) fn ticket(row: u32) -> u32 {
    let Some(head) = HEADS.get_ptr_mut(row) else {
        return 0;
    };
    // SAFETY: a map value, aligned. The order is not relaxed because the result is used (see `add`).
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::SeqCst }>(head, 1) }
}

/// Adds to a count that other CPUs add to as well.
///
/// # Safety
/// `field` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn add(field: *mut u32, delta: u32) {
    // The result is not used: with a used result and relaxed order LLVM 22 miscompiles this (llvm-project#210280).
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(field, delta) };
}

/// Replaces a number if it still is `old`; tells whether it was.
///
/// # Safety
/// `place` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn swap(place: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's promise.
    let (_, swapped) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(place, old, new)
    };
    swapped
}
