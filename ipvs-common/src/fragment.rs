//! Fragments of IP packets: what is kept of the first one, which alone has ports, for those that come behind it.
#![expect(
    clippy::multiple_bound_locations,
    reason = "a derived where clause repeats the bound"
)]

use bytemuck::{Pod, Zeroable};

use crate::net::{Addr, Address};

/// Which packet a fragment is of (RFC 791, RFC 8200): network byte order throughout.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Zeroable)]
pub struct FragmentKey<A: Address = [u8; 4]> {
    pub src: A,
    pub dst: A,
    /// The identification; of IPv4 in the first two bytes.
    pub id: [u8; 4],
    /// What the fragments carry as their headers tell: with IPv6 that may be another header.
    pub proto: u8,
    pub pad: [u8; 3],
    pub pad_to: [A::Word; 0],
}

// SAFETY: two addresses, which are plain bytes, then eight bytes: no padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for FragmentKey<A> {}

impl FragmentKey {
    /// Written in whole words, for the kernel hashes words.
    #[must_use]
    #[inline(always)]
    pub fn in_words(src: [u8; 4], dst: [u8; 4], id: [u8; 2], proto: u8) -> Self {
        let [high, low] = id;
        let words = [src, dst, [high, low, 0, 0], [proto, 0, 0, 0]];
        bytemuck::cast(words.map(u32::from_ne_bytes))
    }
}

impl FragmentKey<Addr> {
    #[must_use]
    #[inline(always)]
    pub const fn new(src: Addr, dst: Addr, id: [u8; 4], proto: u8) -> Self {
        Self {
            src,
            dst,
            id,
            proto,
            pad: [0; 3],
            pad_to: [],
        }
    }
}

/// What the first fragment told.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Fragment {
    /// Deadline, in ticks: then the identification may be another packet's.
    pub expires: u64,
    /// The real server of a datagram that is scheduled by itself, which no connection tells; or `u32::MAX`.
    pub dest: u32,
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    /// TCP, UDP or SCTP.
    pub proto: u8,
    pub pad: [u8; 7],
}

impl Fragment {
    /// How many packets in fragments are known at a time, of either family; the one longest unused makes room.
    pub const ROOM: u32 = 1 << 15;
    /// Seconds that a packet takes to arrive whole. The kernel gives it 30 (`net.ipv4.ipfrag_time`), in which a busy host has used all of
    /// its identifications, which are then other packets'.
    pub const SECONDS: u32 = 10;
}
