//! The few ways in which programs without the datapath's `Frame` touch one.

use aya_ebpf::{bindings::xdp_md, helpers::generated::bpf_xdp_adjust_head, programs::XdpContext};

/// The `T` at a byte offset, if the frame reaches that far.
#[inline(always)]
pub(crate) fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}

/// Moves the start of the frame; pointers into it are void after this.
#[inline(always)]
pub(crate) fn move_head(ctx: *mut xdp_md, by: i32) -> bool {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_xdp_adjust_head(ctx, by) == 0 }
}
