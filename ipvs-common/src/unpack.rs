//! What the program that unpacks tunnels on a real server is told, and what it counts.
//!
//! Knows nothing of how the program is attached, or of what else a real server needs.

use bytemuck::{Pod, Zeroable};

/// Name of the program, by which it is known again on an interface.
pub const PROGRAM: &str = "ipvs_unpack";
/// The map with the one [`Tunnel`].
pub const TUNNEL: &str = "UNPACK_TUNNEL";
/// The map of addresses, each with its [`Role`].
pub const ADDRESSES: &str = "UNPACK_ADDRS";
/// The map of counters, by [`Count`].
pub const COUNTS: &str = "UNPACK_COUNTS";
/// Room for so many addresses, those of the machine and virtual ones together.
pub const MAX_ADDRESSES: u32 = 1024;

/// How packets travel from the director.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// IP in IP (RFC 2003, 2473, 4213).
    Ipip = 1,
    /// Generic UDP encapsulation, version 0.
    Gue = 2,
    /// RFC 2784.
    Gre = 3,
}

/// Which tunnel is unpacked.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Tunnel {
    /// A [`Kind`].
    pub kind: u8,
    pub unused: u8,
    /// Of GUE. Network order.
    pub port: [u8; 2],
}

/// What an address is to the program: bits.
pub struct Role;

impl Role {
    /// The outer destination may be this one.
    pub const OWN: u8 = 1;
    /// The inner destination may be this one.
    pub const VIP: u8 = 2;
}

/// What became of packets of the tunnel's type.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    Unpacked = 0,
    /// For another address, or with another one inside: left to the stack as it was.
    NotOurs = 1,
    /// Fragments, headers with options: left to the stack as it was.
    Unsupported = 2,
    /// Something inside that is no whole packet: dropped.
    Broken = 3,
}

impl Count {
    pub const ALL: [Self; 4] = [
        Self::Unpacked,
        Self::NotOurs,
        Self::Unsupported,
        Self::Broken,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unpacked => "unpacked",
            Self::NotOurs => "not ours",
            Self::Unsupported => "unsupported",
            Self::Broken => "broken",
        }
    }
}
