//! The program that a timed run repeats: it makes a packet and calls the program under test.
//!
//! Without it a repeated run would see its own output packet again, and always the same flow, whose table entries never leave
//! the CPU's first cache.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, ProgramArray},
    programs::XdpContext,
};
use ipvs_common::bench::{FRAME, FRAME6, Walk, client};

use ipvs_datapath::rewrite::csum::fold;

use crate::bytes::{at, move_head};

#[map]
static WALK: Array<Walk> = Array::with_max_entries(1, 0);
/// The program under test.
#[map]
static PROGRAM: ProgramArray = ProgramArray::with_max_entries(1, 0);

type Frame = [u64; FRAME / 8];
type Frame6 = [u64; FRAME6 / 8];

#[xdp]
pub(crate) fn harness(ctx: XdpContext) -> u32 {
    run(&ctx, fresh_packet::<Frame>(&ctx, packet))
}

/// The same over IPv6.
#[xdp]
pub(crate) fn harness6(ctx: XdpContext) -> u32 {
    run(&ctx, fresh_packet::<Frame6>(&ctx, packet6))
}

#[inline(always)]
fn run(ctx: &XdpContext, fresh: Option<()>) -> u32 {
    if fresh.is_some() {
        // Comes back only if there is no program.
        // SAFETY: the context is this program's own.
        unsafe { PROGRAM.tail_call(ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// Puts the next packet of the walk in the place of what the run before left of its own.
#[inline(always)]
fn fresh_packet<F>(ctx: &XdpContext, packet: impl Fn(&Walk) -> F) -> Option<()> {
    // A program may have grown the frame in front. The call is made even if not, so that it costs all programs the same.
    let grown = (ctx.data_end() - ctx.data()) as i32 - size_of::<F>() as i32;
    if !move_head(ctx.ctx, grown) {
        return None;
    }
    let walk = WALK.get_ptr_mut(0)?;
    let frame = at::<F>(ctx, 0)?;
    // SAFETY: a value of this object's map, which only one CPU works on; and so many bytes of the frame, which starts at a multiple
    // of eight in the page that the kernel makes for a timed run.
    unsafe {
        frame.write(packet(&*walk));
        (*walk).next = (*walk)
            .next
            .wrapping_mul((*walk).factor)
            .wrapping_add((*walk).step)
            & (*walk).mask;
        // Also makes the CPU wait until the frame is in its cache, where a card would have put it. Otherwise the program under
        // test would read it out of the store buffer, and pay for each read that does not fit a store.
        atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(&raw mut (*walk).packets, 1);
    }
    Some(())
}

// Words of the frame that change, and the fields in them by their first bit (the machine is little-endian).
const WORD_3: usize = 3;
const IP_CHECK: u32 = 0;
const SRC: u32 = 16;
const SRC_HOST: u32 = 40;
const DST_HIGH: u32 = 48;
const WORD_4: usize = 4;
const SPORT: u32 = 16;
const DPORT: u32 = 32;
const WORD_6: usize = 6;
const TCP_CHECK: u32 = 16;

/// The next packet: client, the number of the real server in a reply, and checksums filled in.
#[inline(always)]
fn packet(walk: &Walk) -> Frame {
    let (addr, port) = client(walk.next);
    let (addr, port) = (u32::from_ne_bytes(addr), u16::from_ne_bytes(port));
    let real = walk.next & walk.reals;
    let words = (addr & 0xffff) + (addr >> 16) + (real << 8);
    let (addr, port, real) = (u64::from(addr), u64::from(port), u64::from(real));

    let [w0, w1, w2, w3, w4, w5, w6, w7, ..] = walk.frame;
    let mut frame = [w0, w1, w2, w3, w4, w5, w6, w7];
    if walk.reply == 0 {
        frame[WORD_3] |= addr << SRC;
        frame[WORD_4] |= port << SPORT;
    } else {
        frame[WORD_3] |= addr << DST_HIGH;
        frame[WORD_3] += real << SRC_HOST;
        frame[WORD_4] |= addr >> 16 | port << DPORT;
    }
    frame[WORD_3] = patch(frame[WORD_3], IP_CHECK, words);
    frame[WORD_6] = patch(frame[WORD_6], TCP_CHECK, words + port as u32);
    frame
}

/// The same over IPv6: the first byte of a client's address in the third group with the second one, the others in a group each.
#[inline(always)]
fn packet6(walk: &Walk) -> Frame6 {
    let ([a, b, c, d], port) = client(walk.next);
    let port = u16::from_ne_bytes(port);
    let real = walk.next & walk.reals;
    let groups = [[a, b], [0, c], [0, d]].map(|g| u32::from(u16::from_ne_bytes(g)));
    let words = groups[0] + groups[1] + groups[2] + (real << 8) + u32::from(port);
    let [ab, c, d, port, real] =
        [groups[0], groups[1], groups[2], port.into(), real].map(u64::from);

    let mut frame = walk.frame;
    if walk.reply == 0 {
        frame[3] |= ab << 16 | c << 32;
        frame[4] |= d << 32;
        frame[6] |= port << 48;
    } else {
        frame[4] += real << 40;
        frame[5] |= ab << 16 | c << 32;
        frame[6] |= d << 32;
        frame[7] |= port;
    }
    frame[8] = patch(frame[8], 48, words);
    frame
}

/// Adds words to what the checksum at a bit covers (RFC 1624, equation 3, with zero words before).
#[inline(always)]
const fn patch(word: u64, bit: u32, words: u32) -> u64 {
    let old = !(word >> bit) as u16;
    let new = !fold(old as u32 + words);
    (word & !(0xffff << bit)) | (new as u64) << bit
}
