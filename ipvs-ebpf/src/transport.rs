//! Transport headers of any protocol, and SCTP's checksum and states, in the kernel: functions of their own to the verifier, for all
//! stages but the first one.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_loop, bpf_xdp_load_bytes},
};
use ipvs_datapath::{
    conn::tcp_state::Direction,
    parse,
    rewrite::{
        crc32c,
        sctp::{self, Job},
    },
    sctp as states,
};

use crate::{
    maps::{SCRATCH, SCRATCH_CHUNK, own_place},
    xdp::{CHUNKS, XdpFrame},
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

/// [`states::next`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sctp_state(direction: u32, flags: u32, state: u32) -> u32 {
    let direction = match direction {
        0 => Direction::In,
        1 => Direction::Out,
        _ => Direction::InOnly,
    };
    u32::from(states::next(direction, flags as u8, state as u8))
}

/// The byte at an offset, or -1.
#[inline(always)]
pub(crate) fn byte(ctx: *mut xdp_md, off: u32) -> i32 {
    let mut byte = 0_u8;
    // SAFETY: the helper compares the place with the end of the frame, and writes one byte.
    let failed = unsafe { bpf_xdp_load_bytes(ctx, off, (&raw mut byte).cast(), 1) };
    if failed == 0 { i32::from(byte) } else { -1 }
}

/// A sum on its way over the scratch space.
struct Sum {
    crc: u32,
    place: u32,
}

/// One round; 1 ends them.
extern "C" fn crc_round(round: u64, sum: *mut c_void) -> i64 {
    // SAFETY: the kernel hands on what `crc_rounds` gave it.
    let sum = unsafe { &mut *sum.cast::<Sum>() };
    let Some(scratch) = SCRATCH.get_ptr(sum.place) else {
        return 1;
    };
    let at = (round as u32 * ROUND) & (SCRATCH_CHUNK as u32 - 1);
    // SAFETY: the scratch space is longer than a chunk, and a chunk is whole rounds; it is aligned as the kernel aligns map values.
    let words = unsafe { scratch.cast::<u8>().add(at as usize).cast::<[u32; ROUND as usize / 4]>() };
    let mut crc = sum.crc;
    // SAFETY: as above.
    for word in unsafe { &*words } {
        crc = crc32c::word(crc, u32::from_le(*word));
    }
    sum.crc = crc;
    0
}

/// A sum with so many rounds of the scratch space more.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn crc_rounds(place: u32, crc: u32, rounds: u32) -> u32 {
    let mut sum = Sum { crc, place };
    // SAFETY: the function is of this object and takes the sum, which outlives the call.
    unsafe { bpf_loop(rounds, crc_round as *mut c_void, (&raw mut sum).cast(), 0) };
    sum.crc
}

/// CRC32c of a range of the frame, or -1.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn frame_crc(ctx: *mut xdp_md, off: u32, len: u32) -> i64 {
    let place = own_place(ctx);
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else {
        return -1;
    };
    let scratch: *mut u8 = scratch.cast();
    let (mut crc, mut at, end) = (crc32c::START, off, off + len);
    for _ in 0..CHUNKS {
        if at + SCRATCH_CHUNK as u32 > end {
            break;
        }
        // SAFETY: the scratch space has room for a chunk, and is this CPU's and this kind of run's alone.
        if unsafe { bpf_xdp_load_bytes(ctx, at, scratch.cast(), SCRATCH_CHUNK as u32) } != 0 {
            return -1;
        }
        crc = crc_rounds(place, crc, SCRATCH_CHUNK as u32 / ROUND);
        at += SCRATCH_CHUNK as u32;
    }
    if at == end {
        return i64::from(crc);
    }
    // The mask changes nothing and tells the verifier both bounds: old ones (6.1) learn nothing from a comparison with 0.
    let rest = (black_box(end - at - 1) & (SCRATCH_CHUNK as u32 - 1)) + 1;
    // SAFETY: as above.
    if unsafe { bpf_xdp_load_bytes(ctx, at, scratch.cast(), rest) } != 0 {
        return -1;
    }
    crc = crc_rounds(place, crc, rest / ROUND);
    let done = black_box(rest & !(ROUND - 1)) & (SCRATCH_CHUNK as u32 - 1);
    let left = black_box(rest & (ROUND - 1));
    for n in 0..ROUND {
        if n >= left {
            break;
        }
        // SAFETY: the scratch space is longer than a chunk.
        let byte = unsafe { *scratch.add((done + n) as usize) };
        crc = crc32c::byte(crc, byte);
    }
    i64::from(crc)
}
