//! Which firewall mark a packet has by the match rules: of the longest prefix around its destination the first rule of the file
//! whose source, interface, protocol and ports fit; if none does, of the next shorter prefix, and so on.
//!
//! A search goes on in rounds, each with one look into a table. In the kernel they are those of `bpf_loop`, of which the verifier
//! looks at one. The tables are made so (by the daemon) that a round never looks at a rule that does not fit: of the rules of a
//! prefix, those without source and interface are one run of port ranges, and so are those of each source and interface.

use ipvs_common::{
    Address as _, FlowKey, MatchKey, MatchNode, MatchPlace, Proto, matches::MAX_MATCHES,
};

use crate::{Ip, tables::Tables};

/// More than any rules take: a look at each prefix around both addresses, and its run searched by halves.
pub const ROUNDS: u32 = 20 * MAX_MATCHES as u32;

/// What the rules say, in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Matched(pub u64);

impl Matched {
    pub const NONE: Self = Self(0);

    #[inline(always)]
    const fn new(order: u16, mark: u32) -> Self {
        Self((order as u64) << 32 | mark as u64)
    }

    /// Place of the rule in the file, counted from 1; 0: there is none.
    #[must_use]
    #[inline(always)]
    pub const fn order(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[must_use]
    #[inline(always)]
    pub const fn mark(self) -> u32 {
        self.0 as u32
    }
}

/// What is looked up next.
const DESTINATION: u32 = 0;
const SOURCE: u32 = 1;
const SOURCE_OF_INTERFACE: u32 = 2;
/// Nothing more under this destination.
const SHORTER: u32 = 3;

/// A search under way. Without a hole: who takes it for anything wants to find something in every byte of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Search<A> {
    src: A,
    dst: A,
    ifindex: u32,
    /// Of the set of rules.
    domain: u32,
    proto: u32,
    port: u32,
    asks: u32,
    /// Bits of the next look among the sources; 0: there is none.
    prefix: u32,
    /// The next shorter destination, as its node says.
    shorter: u32,
    sources: u32,
    by_interface: u32,
    /// Slots that may yet have the port.
    low: u32,
    len: u32,
    pad: u32,
    best: Matched,
}

impl<A: Ip> Search<A> {
    #[must_use]
    #[inline(always)]
    pub const fn new(set: u32, ifindex: u32, key: &FlowKey<A>) -> Self {
        Self {
            src: key.src,
            dst: key.dst,
            ifindex,
            domain: MatchPlace::destinations(set, !A::LONG),
            proto: key.proto as u32,
            port: u16::from_be_bytes(key.dport) as u32,
            asks: DESTINATION,
            prefix: 0,
            shorter: MatchKey::FULL,
            sources: 0,
            by_interface: 0,
            low: 0,
            len: 0,
            pad: 0,
            best: Matched::NONE,
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn found(&self) -> Matched {
        self.best
    }

    /// Looks for the port among the slots of a node.
    #[inline(always)]
    const fn enter(&mut self, node: &MatchNode) {
        (self.low, self.len) = if self.proto == Proto::Tcp as u32 {
            (node.tcp_base, node.tcp_len)
        } else if self.proto == Proto::Udp as u32 {
            (node.udp_base, node.udp_len)
        } else {
            (node.sctp_base, node.sctp_len)
        };
    }
}

/// The search as a whole.
#[inline(always)]
pub fn find<T: Tables>(t: &T, ifindex: u32, key: &FlowKey<T::A>) -> Matched {
    let set = t.settings().map_or(0, |s| s.match_set);
    let mut search = Search::new(set, ifindex, key);
    for _ in 0..ROUNDS {
        if round(t, &mut search) {
            break;
        }
    }
    search.found()
}

/// One look into a table; true ends the search.
#[inline(always)]
pub fn round<T: Tables>(t: &T, s: &mut Search<T::A>) -> bool {
    if s.len != 0 {
        return halve(t, s);
    }
    match s.asks {
        DESTINATION => destination(t, s),
        SOURCE | SOURCE_OF_INTERFACE => source(t, s),
        _ => {
            if s.best.order() != 0 || s.shorter == 0 {
                return true;
            }
            s.asks = DESTINATION;
            false
        }
    }
}

/// The slot of a port is the last one that does not begin behind it.
#[inline(always)]
fn halve<T: Tables>(t: &T, s: &mut Search<T::A>) -> bool {
    let half = s.len / 2;
    let Some(slot) = t.match_slot(s.low.wrapping_add(half)) else {
        return true;
    };
    if u32::from(slot.first) > s.port {
        // Of one slot alone nothing is left.
        s.len = half;
        return false;
    }
    if s.len > 1 {
        s.low = s.low.wrapping_add(half);
        s.len -= half;
        return false;
    }
    s.len = 0;
    let best = s.best.order();
    if slot.order != 0 && (best == 0 || u32::from(slot.order) < best) {
        s.best = Matched::new(slot.order, slot.mark);
    }
    false
}

#[inline(always)]
fn destination<T: Tables>(t: &T, s: &mut Search<T::A>) -> bool {
    let key = MatchKey {
        prefix: s.shorter,
        place: MatchPlace {
            domain: s.domain,
            ifindex: 0,
            addr: s.dst.wide(),
        },
    };
    let Some(node) = t.match_node(&key) else {
        return true;
    };
    s.shorter = node.shorter;
    s.sources = node.sources;
    s.by_interface = node.by_interface;
    s.prefix = MatchKey::FULL;
    s.asks = if node.sources == 0 { SHORTER } else { SOURCE };
    s.enter(node);
    false
}

/// Sources from the longest prefix on; those of any interface, then those of the packet's.
#[inline(always)]
fn source<T: Tables>(t: &T, s: &mut Search<T::A>) -> bool {
    let of_any = s.asks == SOURCE;
    let key = MatchKey {
        prefix: s.prefix,
        place: MatchPlace {
            domain: s.sources,
            ifindex: if of_any { 0 } else { s.ifindex },
            addr: s.src.wide(),
        },
    };
    s.prefix = 0;
    if let Some(node) = t.match_node(&key) {
        s.prefix = node.shorter;
        s.enter(node);
    }
    if s.prefix == 0 {
        s.prefix = MatchKey::FULL;
        s.asks = if of_any && s.by_interface != 0 {
            SOURCE_OF_INTERFACE
        } else {
            SHORTER
        };
    }
    false
}
