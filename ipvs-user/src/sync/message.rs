//! Datagrams of the sync daemon, versions 0 and 1: bytes to entries and back. Pure; knows neither tables nor sockets.
//!
//! Everything is big-endian. Version 1 begins with a zero where version 0 has the number of its entries, so that directors of
//! old see an empty message.

mod reader;
mod writer;

use std::net::SocketAddr;

pub use reader::{Malformed, read};
pub use writer::Writer;

/// Bits of [`Entry::flags`] (`IP_VS_CONN_F_*`).
pub mod flag {
    /// The forwarding method.
    pub const METHOD: u32 = 0x7;
    /// No packet of the real server is seen.
    pub const NO_OUTPUT: u32 = 0x80;
    /// Counted as inactive.
    pub const INACTIVE: u32 = 0x100;
    /// Sequence numbers are moved, in the one direction and in the other.
    pub const OUT_SEQ: u32 = 0x200;
    pub const IN_SEQ: u32 = 0x400;
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: u32 = 0x800;
    /// A persistence template.
    pub const TEMPLATE: u32 = 0x1000;
    /// What a backup takes up of what it is told.
    pub const TAKEN: u32 =
        METHOD | NO_OUTPUT | INACTIVE | OUT_SEQ | IN_SEQ | NO_CLIENT_PORT | TEMPLATE;
}

/// A connection or a template on its way. All three addresses are of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// IP protocol number; 0 for the template of a firewall mark service.
    pub proto: u8,
    /// [`flag`].
    pub flags: u32,
    /// The number that ip_vs has for it in this protocol.
    pub state: u16,
    pub client: SocketAddr,
    pub virt: SocketAddr,
    pub real: SocketAddr,
    /// Firewall mark of the service; 0 without.
    pub mark: u32,
    /// Seconds to go; `None`: version 0 does not tell.
    pub timeout: Option<u32>,
    /// How sequence numbers are moved ([`Entry::SEQ`] bytes), if they are.
    pub seq: Option<[u8; Entry::SEQ]>,
    /// What the persistence engine keeps.
    pub engine: Option<Engine>,
}

/// A persistence engine's part of a template.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Engine {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
}

impl Entry {
    /// Bytes of moved sequence numbers: initial value, difference and the one before it, in both directions.
    pub const SEQ: usize = 24;

    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.flags & flag::TEMPLATE != 0
    }

    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.flags & flag::INACTIVE == 0
    }
}

/// Format of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// Of old: IPv4 alone, without timeouts and marks.
    Zero,
    #[default]
    One,
}

/// What a datagram says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    pub syncid: u8,
    pub version: Version,
    pub entries: Vec<Entry>,
    /// Entries that say something this format does not have, or that are cut off.
    pub skipped: usize,
}

/// Version 1's header.
const HEADER: usize = 8;
/// Version 0's.
const HEADER_V0: usize = 4;
/// Entry of version 1 without addresses and options.
const FIXED: usize = 24;
/// Entry of version 0 without options.
const FIXED_V0: usize = 24;

/// Type of an entry of version 1: its addresses are IPv6.
const TYPE_V6: u8 = 1;
/// An entry's length is in the low bits of its field, above it stands a version, which is 0.
const LENGTH: u16 = 0xfff;

/// Options of an entry of version 1.
mod option {
    pub(super) const SEQ: u8 = 1;
    pub(super) const ENGINE_DATA: u8 = 2;
    pub(super) const ENGINE_NAME: u8 = 3;
    /// Who does not know the option may skip it.
    pub(super) const MAY_SKIP: u8 = 0x40;
}

#[cfg(test)]
mod tests;
