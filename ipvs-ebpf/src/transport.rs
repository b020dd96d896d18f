//! Transport headers of any protocol, and SCTP's checksum and states, in the kernel: functions of their own to the verifier, for all
//! stages but the first one.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_loop, bpf_xdp_load_bytes},
};
use ipvs_datapath::{
    conn::{advance, tcp_state::Direction},
    parse,
    rewrite::{
        crc32c,
        sctp::{self, Job},
    },
};

use crate::{
    kernel_tables::Maps,
    maps::{SCRATCH, own_place},
    xdp::XdpFrame,
};

/// Bits of an offset in a frame that a transport header may have.
const ANYWHERE: u32 = 0x3ff;
/// Bytes of a round.
const ROUND: u32 = 64;

/// [`parse::any_transport`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn any_transport(ctx: *mut xdp_md, l4: u32, proto: u32, end: u32) -> u64 {
    // Boxed because arguments that make no difference would be left out, by the caller alone. The mask changes nothing.
    let (l4, proto, end) = (black_box(l4) & ANYWHERE, black_box(proto), black_box(end));
    parse::any_transport(&mut XdpFrame(ctx), l4 as usize, proto as u8, end as usize).0
}

/// [`sctp::settle`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn settle(ctx: *mut xdp_md, l4: u32, len: u32, job: u64) -> u32 {
    let (l4, len, job) = (black_box(l4) & ANYWHERE, black_box(len), black_box(job));
    sctp::settle(&mut XdpFrame(ctx), l4 as usize, len as u16, Job(job)).0
}

/// [`advance::any_state_after`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn next_state(proto: u32, flags: u32, direction: u32, state: u32) -> u32 {
    let direction = Direction::of_number(direction as u8);
    let maps = Maps::<[u8; 4]>::only();
    u32::from(advance::any_state_after(
        &maps,
        proto as u8,
        flags as u8,
        direction,
        state as u8,
    ))
}

/// The byte at an offset, or -1.
#[inline(always)]
pub(crate) fn byte(ctx: *mut xdp_md, off: u32) -> i32 {
    let mut byte = 0_u8;
    // SAFETY: the helper compares the place with the end of the frame, and writes one byte.
    let failed = unsafe { bpf_xdp_load_bytes(ctx, off, (&raw mut byte).cast(), 1) };
    if failed == 0 { i32::from(byte) } else { -1 }
}

/// A sum on its way over the frame.
struct Sum {
    ctx: *mut xdp_md,
    at: u32,
    crc: u32,
}

/// One round; 1 ends them, which leaves nothing that could be right.
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the kernel aligns map values to eight bytes"
)]
extern "C" fn crc_round(_round: u64, sum: *mut c_void) -> i64 {
    // SAFETY: the kernel hands on what `frame_crc` gave it.
    let sum = unsafe { &mut *sum.cast::<Sum>() };
    let Some(scratch) = SCRATCH.get_ptr_mut(own_place(sum.ctx)) else {
        return 1;
    };
    // SAFETY: the scratch space is longer than a round, and is this CPU's and this kind of run's alone.
    if unsafe { bpf_xdp_load_bytes(sum.ctx, sum.at, scratch.cast(), ROUND) } != 0 {
        return 1;
    }
    // SAFETY: as above; it is aligned as the kernel aligns map values.
    let words = unsafe { &*scratch.cast::<[u32; ROUND as usize / 4]>() };
    let mut crc = sum.crc;
    for word in words {
        crc = crc32c::word(crc, u32::from_le(*word));
    }
    sum.crc = crc;
    sum.at += ROUND;
    0
}

/// CRC-32C of a range of the frame, or -1.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn frame_crc(ctx: *mut xdp_md, off: u32, len: u32) -> i64 {
    let (at, crc) = (off, crc32c::START);
    let mut sum = Sum { ctx, at, crc };
    let rounds = len / ROUND;
    // SAFETY: the function is of this object and takes the sum, which outlives the call.
    unsafe { bpf_loop(rounds, crc_round as *mut c_void, (&raw mut sum).cast(), 0) };
    if sum.at != off + rounds * ROUND {
        return -1;
    }
    let left = black_box(len) & (ROUND - 1);
    if left == 0 {
        return i64::from(sum.crc);
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(own_place(ctx)) else {
        return -1;
    };
    let scratch: *mut u8 = scratch.cast();
    // The mask changes nothing and tells the verifier both bounds: old ones (6.1) learn nothing from a comparison with 0.
    let rest = (black_box(left - 1) & (ROUND - 1)) + 1;
    // SAFETY: as in `crc_round`.
    if unsafe { bpf_xdp_load_bytes(ctx, sum.at, scratch.cast(), rest) } != 0 {
        return -1;
    }
    let mut crc = sum.crc;
    for n in 0..ROUND {
        if n >= left {
            break;
        }
        // SAFETY: the scratch space is longer than a round.
        crc = crc32c::byte(crc, unsafe { *scratch.add(n as usize) });
    }
    i64::from(crc)
}
