//! Frames that the kernel program cannot send by itself and gives to the daemon, finished but for the sending.

use bytemuck::{Pod, Zeroable};

use crate::{
    iface::Tags,
    net::{Addr, Mac},
};

/// Why a frame was handed to the daemon.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PuntReason {
    /// The IP packet is longer than the egress takes and may be fragmented.
    Fragment = 1,
    /// The link-layer address of the next hop is not known; the daemon resolves it and sends the frame.
    Neighbour = 2,
    /// A fragment that came before the first one of its packet, as it came. The daemon holds it for a moment and has the programs
    /// of `ifindex`, where it came in, look at it again.
    Early = 3,
}

impl PuntReason {
    #[must_use]
    pub const fn from_number(n: u32) -> Option<Self> {
        match n {
            1 => Some(Self::Fragment),
            2 => Some(Self::Neighbour),
            3 => Some(Self::Early),
            _ => None,
        }
    }
}

/// Head of a record in the `PUNT` ring; `len` bytes of frame follow, in a record of [`PUNT_RECORD`] bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct PuntHeader {
    /// A [`PuntReason`].
    pub reason: u32,
    /// Interface to send on; [`PuntReason::Early`]: that it came in by.
    pub ifindex: u32,
    /// Frame length.
    pub len: u32,
    /// Longest IP packet to send.
    pub mtu: u32,
    /// Address whose link-layer address is missing ([`PuntReason::Neighbour`]); see also [`Self::early`].
    pub next_hop: Addr,
    pub dst_mac: Mac,
    pub src_mac: Mac,
}

impl PuntHeader {
    /// Of a frame that came in by `ifindex` too early, less these tags (see [`crate::Iface`]). They stand in the place of the next hop,
    /// which it does not have yet.
    #[must_use]
    #[inline(always)]
    pub fn early(ifindex: u32, len: u32, tags: Tags, tags_len: u32) -> Self {
        let [outer, inner]: [[u8; 4]; 2] = bytemuck::cast(tags);
        Self {
            reason: PuntReason::Early as u32,
            ifindex,
            len,
            next_hop: bytemuck::cast([outer, inner, tags_len.to_ne_bytes(), [0; 4]]),
            ..Self::default()
        }
    }

    /// Those tags, and how many bytes they are.
    #[must_use]
    pub fn tags(&self) -> (Tags, usize) {
        let [outer, inner, len, _]: [[u8; 4]; 4] = bytemuck::cast(self.next_hop);
        (
            bytemuck::cast([outer, inner]),
            u32::from_ne_bytes(len) as usize,
        )
    }
}

/// Longest frame that can be handed over.
pub const PUNT_FRAME: usize = 4096 - size_of::<PuntHeader>();
/// Longest frame that the daemon can have a program look at again: what a test run has in one piece.
pub const PUNT_AGAIN: usize = 3400;
/// Size of a record.
pub const PUNT_RECORD: usize = 4096;
