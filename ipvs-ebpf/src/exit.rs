//! What becomes of a packet.

use ipvs_common::{DropReason, PassReason, PuntHeader};

use crate::icmp;

/// Final word on a frame.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Up to the kernel's stack, as the frame is now.
    Pass,
    Drop,
    /// Out of the interface it came from.
    Tx,
    /// Out of the interface with this index.
    Redirect(u32),
    /// To the daemon, which fragments it or resolves its neighbour; see [`PuntHeader`].
    Punt(PuntHeader),
}

/// A step's way to end the work on a packet early, with its reason.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Pass(PassReason),
    Drop(DropReason),
    /// Replace the packet by an ICMP error about it; sent for the real server with this index, if there is one whose replies
    /// do not pass the director.
    Answer(icmp::Error, Option<u32>),
}

impl From<DropReason> for Exit {
    #[inline(always)]
    fn from(r: DropReason) -> Self {
        Self::Drop(r)
    }
}

impl From<PassReason> for Exit {
    #[inline(always)]
    fn from(r: PassReason) -> Self {
        Self::Pass(r)
    }
}
