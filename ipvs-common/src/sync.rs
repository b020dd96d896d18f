//! What the datapath and the daemon tell each other for the sake of a backup director: which entries changed, and which to enter.
#![expect(
    clippy::multiple_bound_locations,
    reason = "a derived where clause repeats the bound"
)]

use bytemuck::{Pod, Zeroable};

use crate::{
    conn::{FlowKey, TemplateKey},
    net::{Addr, Address},
};

/// Word to the daemon that a connection or a template changed; of the two keys one counts.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Zeroable)]
pub struct SyncNote<A: Address = [u8; 4]> {
    /// The client's direction.
    pub flow: FlowKey<A>,
    pub template: TemplateKey<A>,
    /// 0: a connection; 1: a template.
    pub is_template: u32,
}

// SAFETY: two keys and four bytes: no padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for SyncNote<A> {}

impl<A: Address> SyncNote<A> {
    #[must_use]
    #[inline(always)]
    pub fn flow(flow: FlowKey<A>) -> Self {
        Self {
            flow,
            ..Self::zeroed()
        }
    }

    #[must_use]
    #[inline(always)]
    pub fn template(template: TemplateKey<A>) -> Self {
        Self {
            template,
            is_template: 1,
            ..Self::zeroed()
        }
    }

    /// With addresses that have room for both families.
    #[must_use]
    pub fn wide(&self) -> SyncNote<Addr> {
        if self.is_template == 0 {
            SyncNote::flow(self.flow.wide())
        } else {
            SyncNote::template(self.template.wide())
        }
    }
}

/// Word about either family.
pub type Note = SyncNote<Addr>;

/// Bytes of the ring of notes. The daemon empties it every 20 ms: room for half a million notes a second.
pub const NOTES_BYTES: u32 = 1 << 19;

/// A connection or a template that another director told of, in the machine's byte order but for the port. Its key travels
/// before it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Synced {
    /// Index of the real server.
    pub dest: u32,
    /// Ticks to go.
    pub timeout: u32,
    /// Connection: the service's firewall mark. Template: what its timer is set to when it is used, in ticks.
    pub detail: u32,
    /// The real server's port, in network order.
    pub port: [u8; 2],
    /// Connection: a [`crate::State`]. Template: 1 if it proved itself.
    pub state: u8,
    /// [`crate::ConnFlags`], of which [`crate::ConnFlags::NO_OUTPUT`] counts.
    pub flags: u8,
}
