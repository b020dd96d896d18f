//! Match rules as packets find them: which firewall mark a packet has by where it goes.
//!
//! A trie of prefixes leads to places in an array of port ranges, which is searched by halves. Whole sets of rules replace each
//! other: a set is written under a number of its own, then the settings name that number.

use bytemuck::{Pod, Zeroable};

use crate::net::Addr;

/// Rules that a director takes.
pub const MAX_MATCHES: usize = 10_000;
/// Port ranges that one of them takes.
pub const MAX_RANGES: usize = 15;

/// What a prefix is a prefix of.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct MatchPlace {
    /// Which trie within the trie: [`MatchPlace::destinations`], or the sources of one destination ([`MatchNode::sources`]).
    pub domain: u32,
    /// Among sources: the interface that the rules are of; 0: of any.
    pub ifindex: u32,
    pub addr: Addr,
}

impl MatchPlace {
    /// The destinations of a set of rules. No prefix of IPv6 may be found around an IPv4 address, so they are apart.
    #[must_use]
    #[inline(always)]
    pub const fn destinations(set: u32, is_v4: bool) -> u32 {
        set << 16 | is_v4 as u32
    }

    /// The sources of a destination, which is one of [`MAX_MATCHES`] within its set.
    #[must_use]
    pub const fn sources(set: u32, number: u32) -> u32 {
        set << 16 | (number + 2)
    }

    /// The set that a domain is of.
    #[must_use]
    pub const fn set(&self) -> u32 {
        self.domain >> 16
    }
}

/// A prefix of a [`MatchPlace`]: the key of a `BPF_MAP_TYPE_LPM_TRIE`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct MatchKey {
    /// Bits of the place that count.
    pub prefix: u32,
    pub place: MatchPlace,
}

impl MatchKey {
    /// Bits before the address.
    pub const HEAD: u32 = 64;
    /// Every bit of a place.
    pub const FULL: u32 = Self::HEAD + 128;
}

/// What is known of a prefix. Three runs of [`MatchSlot`]s, which may be the same one: for TCP, for UDP and for SCTP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct MatchNode {
    /// [`MatchKey::prefix`] of the next shorter prefix around this one in the same domain; 0: there is none.
    pub shorter: u32,
    /// Of a destination: the domain of the rules that also want a source or an interface; 0: there are none.
    pub sources: u32,
    pub tcp_base: u32,
    pub tcp_len: u32,
    pub udp_base: u32,
    pub udp_len: u32,
    pub sctp_base: u32,
    pub sctp_len: u32,
    /// Of a destination: some of its rules want an interface.
    pub by_interface: u32,
}

/// A range of ports: from the first one to where the next slot begins, or to the last port.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct MatchSlot {
    /// Host order.
    pub first: u16,
    /// Place of the rule in the file, counted from 1; 0: no rule.
    pub order: u16,
    /// What it marks with.
    pub mark: u32,
}
