//! What the benchmark's harness program and its user side share: how a walk over a set of flows is described, and which
//! client flow number so-and-so is.
//!
//! The director itself knows nothing of this.

use bytemuck::{Pod, Zeroable};

use crate::net::Mac;

/// Bytes of the frame that the harness puts in the place of whatever the run before left.
pub const FRAME: usize = 64;
/// The same over IPv6.
pub const FRAME6: usize = 80;

/// Flows that [`client`] tells apart.
pub const FLOWS: u32 = 1 << 24;

/// Maps of the object with the floors.
pub const WALK: &str = "WALK";
pub const PROGRAM: &str = "PROGRAM";
pub const FLOW_TABLE: &str = "FLOW_TABLE";
pub const NEW_FLOWS: &str = "NEW_FLOWS";
pub const REALS: &str = "REALS";

/// The one value of the `WALK` map: a frame without its client, and the order in which clients send it.
///
/// The flow after number n is (n * `factor` + `step`) & `mask`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Walk {
    /// Client address and port are zero here, and left out of the checksums. Of IPv4 it is as many bytes as [`FRAME`] says.
    ///
    /// Over IPv6 the bytes a.b.c.d of an address stand in `2001:db8:ab:c::d`.
    pub frame: [u64; FRAME6 / 8],
    /// The flow that comes next.
    pub next: u32,
    pub factor: u32,
    pub step: u32,
    pub mask: u32,
    /// 1: the client is the destination.
    pub reply: u32,
    /// Replies: the flow's number under this mask is added to the last byte of the source address.
    pub reals: u32,
    /// 1: over IPv6.
    pub six: u32,
    pub pad: u32,
    /// Packets made so far.
    pub packets: u64,
}

/// Address and port of the client of a flow, network order.
#[must_use]
#[inline(always)]
pub const fn client(flow: u32) -> ([u8; 4], [u8; 2]) {
    const NETWORK: u32 = 10 << 24;
    const FIRST_PORT: u32 = 0x4000;
    let port = FIRST_PORT | (flow & (FIRST_PORT - 1));
    (
        (NETWORK | (flow & (FLOWS - 1))).to_be_bytes(),
        (port as u16).to_be_bytes(),
    )
}

/// What the floors keep of a flow, 8 bytes: as little as a balancer can do with.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct FloorFlow {
    pub mac: Mac,
    /// Index of the real server.
    pub real: u16,
}

/// What a source sends: one frame over and over, with the ports of one flow after another.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Source {
    /// Whose far end gets the frames.
    pub ifindex: u32,
    /// Frames so far.
    pub sent: u32,
    /// Flows less one: a power of two less one.
    pub mask: u32,
    pub first_port: u16,
    /// Bits of the ports, taken as one number, behind the changing one: 16 if it is the source's.
    pub shift: u16,
    /// Sum of the segment with 0 for that port.
    pub sum: u32,
    /// Both ports with 0 for that one.
    pub ports: u32,
    /// Ethernet, IPv4 and TCP headers, and ten bytes.
    pub frame: [u64; FRAME / 8],
}

/// A real server of the lean balancers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct FloorReal {
    pub mac: Mac,
    pub pad: [u8; 2],
    pub addr: [u8; 4],
    /// Source address of the outer header.
    pub tunnel_src: [u8; 4],
}

/// A counter of the lean balancers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct FloorCount {
    pub packets: u64,
    pub bytes: u64,
}
