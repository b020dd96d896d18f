//! The frame of an XDP context, and the steps that run out of line. With `kernel_tables.rs` and `maps.rs` all the `unsafe`
//! of the datapath.

use core::{arch::asm, hint::black_box, ptr};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{
        bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
    },
};
use bytemuck::Pod;
use ipvs_common::{
    DropReason, PuntHeader,
    punt::{PUNT_FRAME, PUNT_RECORD},
};
use ipvs_datapath::{
    Frame,
    conn::{Table, expected, leave, promote},
    expire,
    ip::v6::Found,
    parse::Transport,
    rewrite::{
        csum,
        sctp::{Job, Settled},
    },
};

use crate::{
    kernel_tables::{Maps, key_of},
    maps::{PUNT, SCRATCH, SCRATCH_CHUNK, own_place},
    transport,
};

/// Longest packet there is: 64 KB in chunks of the scratch space.
const CHUNKS: u32 = 65_536 / SCRATCH_CHUNK as u32;

pub(crate) struct XdpFrame(pub(crate) *mut xdp_md);

impl XdpFrame {
    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the kernel hands a valid context to the program, for as long as it runs.
        unsafe { (*self.0).data as usize }
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.0).data_end as usize }
    }
}

/// Eight bytes of the frame, wherever they stand. The compiler knows of no machine that reads them at once unless they are
/// aligned; those that this runs on do.
#[inline(always)]
fn word(p: usize) -> u64 {
    let word;
    // SAFETY: the caller has compared the place with the end of the frame, and the verifier does so again; nothing is written.
    unsafe {
        asm!(
            "{word} = *(u64 *)({p} + 0)",
            p = in(reg) p,
            word = lateout(reg) word,
            options(nostack, readonly, preserves_flags)
        );
    }
    word
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end() - self.data()
    }

    #[inline(always)]
    fn at<T: Pod>(&mut self, off: usize) -> Result<&mut T, DropReason> {
        const { assert!(align_of::<T>() == 1) };
        let p = self.data() + off;
        if p + size_of::<T>() > self.end() {
            return Err(DropReason::Truncated);
        }
        // SAFETY: in bounds by the check above, which the verifier checks again; any bytes are a `T` (Pod), alignment is 1,
        // and the borrow of `self` keeps every other view away.
        Ok(unsafe { &mut *(p as *mut T) })
    }

    #[inline(always)]
    fn words<const N: usize>(&mut self, off: usize) -> Result<[u64; N], DropReason> {
        let p = self.data() + off;
        if p + N * size_of::<u64>() > self.end() {
            return Err(DropReason::Truncated);
        }
        let mut words = [0; N];
        let mut n = 0;
        while n < N {
            words[n] = word(p + n * size_of::<u64>());
            n += 1;
        }
        Ok(words)
    }

    #[inline(always)]
    fn grow_head(&mut self, by: usize) -> Result<(), DropReason> {
        // SAFETY: the context is valid; no view of the frame is alive, because `self` is borrowed mutably.
        if unsafe { bpf_xdp_adjust_head(self.0, -(by as i32)) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }

    #[inline(always)]
    fn shrink_head(&mut self, by: usize) -> Result<(), DropReason> {
        // SAFETY: as in `grow_head`.
        if unsafe { bpf_xdp_adjust_head(self.0, by as i32) } != 0 {
            return Err(DropReason::Truncated);
        }
        Ok(())
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), DropReason> {
        let delta = len as i32 - self.len() as i32;
        // SAFETY: as in `grow_head`.
        if delta != 0 && unsafe { bpf_xdp_adjust_tail(self.0, delta) } != 0 {
            return Err(DropReason::Truncated);
        }
        Ok(())
    }

    #[inline(always)]
    fn hand_over(&mut self, header: &PuntHeader) -> bool {
        hand_over(self, header)
    }

    #[inline(always)]
    fn behind_extensions(&mut self, l3: usize, fragment: u16) -> Found {
        Found(crate::six::behind_extensions(
            self.0,
            l3 as u32,
            u32::from(fragment),
        ))
    }

    #[inline(always)]
    fn byte(&mut self, off: usize) -> Option<u8> {
        u8::try_from(transport::byte(self.0, off as u32)).ok()
    }

    #[inline(always)]
    fn crc(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        match transport::frame_crc(self.0, off as u32, len as u32) {
            crc if crc < 0 => Err(DropReason::Truncated),
            crc => Ok(crc as u32),
        }
    }

    #[inline(always)]
    fn transport(&mut self, l4: usize, proto: u8, end: usize) -> Transport {
        Transport(transport::any_transport(
            self.0,
            l4 as u32,
            u32::from(proto),
            end as u32,
        ))
    }

    #[inline(always)]
    fn settle(&mut self, l4: usize, len: u16, job: Job) -> Settled {
        Settled(transport::settle(self.0, l4 as u32, u32::from(len), job.0))
    }

    #[inline(always)]
    fn sum(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        match frame_sum(self.0, off as u32, len as u32) {
            sum if sum < 0 => Err(DropReason::Truncated),
            sum => Ok(sum as u32),
        }
    }
}

/// Sum of a range of the frame, or -1. A function of its own to the verifier, which would otherwise follow every chunk on
/// every path that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn frame_sum(ctx: *mut xdp_md, off: u32, len: u32) -> i64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(own_place(ctx)) else {
        return -1;
    };
    let scratch: *mut u8 = scratch.cast();
    let (mut sum, mut at, end) = (0, off, off + len);
    for _ in 0..CHUNKS {
        if at + SCRATCH_CHUNK as u32 > end {
            break;
        }
        sum = add_chunk(ctx, at, SCRATCH_CHUNK as u32, scratch, sum);
        at += SCRATCH_CHUNK as u32;
        if sum < 0 {
            return -1;
        }
    }
    if at != end {
        // The mask changes nothing and tells the verifier both bounds: old ones (6.1) learn nothing from a comparison with 0.
        let rest = (black_box(end - at - 1) & (SCRATCH_CHUNK as u32 - 1)) + 1;
        // SAFETY: the scratch space has eight bytes more than a chunk, for the padding of its last word.
        unsafe { ptr::write_unaligned(scratch.add(rest as usize).cast::<u32>(), 0) };
        sum = add_chunk(ctx, at, rest, scratch, sum);
    }
    if sum < 0 {
        return -1;
    }
    // The helper adds words in the machine's order; the sum turns round as a whole (RFC 1071, 2(B)).
    i64::from(csum::fold(sum as u32).to_be())
}

/// Adds `n` bytes of the frame to a sum; a negative sum is an error.
#[inline(always)]
fn add_chunk(ctx: *mut xdp_md, at: u32, n: u32, scratch: *mut u8, sum: i64) -> i64 {
    // SAFETY: `n` is at most a chunk, for which the scratch space has room. Nobody else uses it: it is this CPU's, and of
    // this kind of run ([`own_place`]).
    unsafe {
        match bpf_xdp_load_bytes(ctx, at, scratch.cast(), n) {
            0 => bpf_csum_diff(ptr::null_mut(), 0, scratch.cast(), (n + 3) & !3, sum as u32),
            _ => -1,
        }
    }
}

/// Ends a connection; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn end_conn(
    src: u32,
    dst: u32,
    ports: u32,
    proto: u32,
    half_open: u32,
) -> u32 {
    let table = if half_open == 0 {
        Table::Established
    } else {
        Table::HalfOpen
    };
    u32::from(leave::end(
        &mut Maps::<[u8; 4]>::only(),
        table,
        &key_of(src, dst, ports, proto),
    ))
}

/// Ends a half-open connection that a newer one pushes out; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn evict_conn(src: u32, dst: u32, ports: u32, proto: u32, seq: u32) -> u32 {
    u32::from(leave::evict(
        &mut Maps::<[u8; 4]>::only(),
        &key_of(src, dst, ports, proto),
        seq,
    ))
}

/// [`expected::meet`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn meet_conn(src: u32, dst: u32, ports: u32, proto: u32) -> u64 {
    expected::meet(
        &mut Maps::<[u8; 4]>::only(),
        &key_of(src, dst, ports, proto),
    )
}

/// Moves a connection to the established table; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn promote_conn(src: u32, dst: u32, ports: u32, proto: u32) -> u32 {
    u32::from(promote::promote(
        &mut Maps::<[u8; 4]>::only(),
        &key_of(src, dst, ports, proto),
    ))
}

/// Ends one key of an expiry batch; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn expire_step(ctx: *mut xdp_md, index: u32) -> u32 {
    if index as usize >= expire::Batch::max::<[u8; 4]>() {
        return 0;
    }
    u32::from(expire::step(
        &mut XdpFrame(ctx),
        &mut Maps::<[u8; 4]>::of(ctx),
        index as usize,
    ))
}

/// Copies the frame to the daemon; false if it takes no more, or the frame is too long.
#[inline(always)]
fn hand_over(frame: &XdpFrame, header: &PuntHeader) -> bool {
    let Some(mut record) = PUNT.reserve::<[u8; PUNT_RECORD]>(0) else {
        return false;
    };
    let start: *mut u8 = record.as_mut_ptr().cast();
    // Boxed as a whole word: the difference of two halves of pointers is nothing that the verifier knows.
    let len = black_box(frame.len());
    let header = PuntHeader {
        len: len as u32,
        ..*header
    };
    // SAFETY: the record has room for the header.
    unsafe { ptr::write_unaligned(start.cast::<PuntHeader>(), header) };
    // One comparison gives the verifier both bounds: old ones (6.1) learn nothing from a comparison with 0. It stands next to
    // the call, lest it be made of another register.
    let last = black_box(len.wrapping_sub(1)) as u32;
    let copied = if last < PUNT_FRAME as u32 {
        // SAFETY: the record has room for `PUNT_FRAME` bytes behind the header.
        unsafe {
            bpf_xdp_load_bytes(
                frame.0,
                0,
                start.add(size_of::<PuntHeader>()).cast(),
                last + 1,
            )
        }
    } else {
        -1
    };
    if copied != 0 {
        record.discard(0);
        return false;
    }
    record.submit(0);
    true
}
