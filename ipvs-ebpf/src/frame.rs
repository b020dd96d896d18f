//! A frame as the datapath sees it: bytes behind bounds checks.
//!
//! `at` borrows the whole frame, so two live header views, or a view kept while the frame moves, do not compile: the
//! borrow checker enforces what the verifier demands of packet pointers.

use bytemuck::Pod;
use ipvs_common::{DropReason, PuntHeader};

use crate::{
    ip::v6::{self, Found},
    parse::{self, Transport},
    rewrite::sctp::{self, Job, Settled},
};

pub trait Frame {
    /// It may carry SCTP. Where not, the code goes without all that follows.
    const SCTP: bool = true;

    /// Bytes from the Ethernet header to the end.
    fn len(&self) -> usize;

    /// The `T` at a byte offset; `T` must have alignment 1.
    fn at<T: Pod>(&mut self, off: usize) -> Result<&mut T, DropReason>;

    /// Words at a byte offset, in the machine's order: for what is moved as it is. Byte by byte, as the target reads what may
    /// stand anywhere, 16 bytes take 50 instructions.
    fn words<const N: usize>(&mut self, off: usize) -> Result<[u64; N], DropReason>;

    /// Makes `by` bytes of room in front. Every offset moves up by as much.
    fn grow_head(&mut self, by: usize) -> Result<(), DropReason>;

    /// Takes `by` bytes off in front. Every offset moves down by as much.
    fn shrink_head(&mut self, by: usize) -> Result<(), DropReason>;

    /// Cuts the frame to `len` bytes.
    fn truncate(&mut self, len: usize) -> Result<(), DropReason>;

    /// Sum of `len` bytes from `off` as big-endian 16-bit words, folded once to 16 bits and a carry; an odd last byte
    /// counts as a word's upper half (RFC 1071).
    fn sum(&mut self, off: usize, len: usize) -> Result<u32, DropReason>;

    /// Gives a copy of the frame, finished but for the sending, to the daemon. False: it takes no more.
    fn hand_over(&mut self, header: &PuntHeader) -> bool;

    /// What is behind the extension headers of an IPv6 packet; see [`v6::behind_extensions`]. May run out of line.
    #[inline(always)]
    fn behind_extensions(&mut self, l3: usize, fragment: u16) -> Found
    where
        Self: Sized,
    {
        v6::behind_extensions(self, l3, fragment)
    }

    /// The byte at an offset, which may be anywhere in the frame.
    fn byte(&mut self, off: usize) -> Option<u8>;

    /// CRC-32C of `len` bytes from `off` ([`crate::rewrite::crc32c`]).
    fn crc(&mut self, off: usize, len: usize) -> Result<u32, DropReason>;

    /// A transport header; see [`parse::any_transport`]. May run out of line.
    #[inline(always)]
    fn transport(&mut self, l4: usize, proto: u8, end: usize) -> Transport
    where
        Self: Sized,
    {
        parse::any_transport(self, l4, proto, end)
    }

    /// A port of SCTP and its checksum; see [`sctp::settle`]. May run out of line.
    #[inline(always)]
    fn settle(&mut self, l4: usize, len: u16, job: Job) -> Settled
    where
        Self: Sized,
    {
        sctp::settle(self, l4, len, job)
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A frame of which it is known that it carries no SCTP.
pub struct Early<'f, F>(pub &'f mut F);

impl<F: Frame> Frame for Early<'_, F> {
    const SCTP: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn at<T: Pod>(&mut self, off: usize) -> Result<&mut T, DropReason> {
        self.0.at(off)
    }

    #[inline(always)]
    fn words<const N: usize>(&mut self, off: usize) -> Result<[u64; N], DropReason> {
        self.0.words(off)
    }

    #[inline(always)]
    fn grow_head(&mut self, by: usize) -> Result<(), DropReason> {
        self.0.grow_head(by)
    }

    #[inline(always)]
    fn shrink_head(&mut self, by: usize) -> Result<(), DropReason> {
        self.0.shrink_head(by)
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), DropReason> {
        self.0.truncate(len)
    }

    #[inline(always)]
    fn sum(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        self.0.sum(off, len)
    }

    #[inline(always)]
    fn hand_over(&mut self, header: &PuntHeader) -> bool {
        self.0.hand_over(header)
    }

    #[inline(always)]
    fn behind_extensions(&mut self, l3: usize, fragment: u16) -> Found {
        self.0.behind_extensions(l3, fragment)
    }

    #[inline(always)]
    fn byte(&mut self, off: usize) -> Option<u8> {
        self.0.byte(off)
    }

    #[inline(always)]
    fn crc(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        self.0.crc(off, len)
    }
}
