//! The tables of match rules: a trie of prefixes, and runs of port ranges that do not overlap.
//!
//! Whatever can be decided before a packet comes is decided here. Of the rules of a destination, those that want nothing of source
//! and interface are one run; those of each source and interface are another one. Where ranges of a run overlap, the first rule
//! of the file has the port.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{MatchKey, MatchNode, MatchPlace, MatchSlot, Proto};

use crate::model::{Conditions, MatchRule, Network, matches::Ports};

/// Index of an interface by its name; `None`: there is none of this name now, and its rules match nothing.
pub type LinkOf<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// What the tables hold for some rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Matches {
    /// Their runs are counted from the first slot on, until [`Matches::at`].
    pub nodes: Vec<(MatchKey, MatchNode)>,
    pub slots: Vec<MatchSlot>,
}

impl Matches {
    /// With their slots at a place of the array.
    #[must_use]
    pub fn at(&self, base: u32) -> Vec<(MatchKey, MatchNode)> {
        let moved = |(key, node): &(MatchKey, MatchNode)| {
            let node = MatchNode {
                tcp_base: node.tcp_base + base,
                udp_base: node.udp_base + base,
                sctp_base: node.sctp_base + base,
                ..*node
            };
            (*key, node)
        };
        self.nodes.iter().map(moved).collect()
    }
}

/// A rule and its place in the file, from 1.
type Placed<'a> = (u16, &'a MatchRule);

/// What the tables hold for these rules, as the set of this number.
#[must_use]
pub fn matches(rules: &[MatchRule], set: u32, link: LinkOf<'_>) -> Matches {
    let mut by_destination: BTreeMap<Network, Vec<Placed<'_>>> = BTreeMap::new();
    for (order, rule) in (1..).zip(rules) {
        let of = by_destination.entry(rule.conditions.to).or_default();
        of.push((order, rule));
    }
    let mut out = Matches::default();
    // Each family is a trie of its own.
    let (mut four, mut six) = (BTreeMap::new(), BTreeMap::new());
    for (number, (to, rules)) in (0..).zip(&by_destination) {
        let node = destination(&mut out, MatchPlace::sources(set, number), rules, link);
        let family = if to.is_v4() { &mut four } else { &mut six };
        family.insert(*to, node);
    }
    out.add(four, MatchPlace::destinations(set, true), 0);
    out.add(six, MatchPlace::destinations(set, false), 0);
    out
}

/// The node of a destination; those of its sources are added.
fn destination(
    out: &mut Matches,
    sources: u32,
    rules: &[Placed<'_>],
    link: LinkOf<'_>,
) -> MatchNode {
    let mut plain = Vec::new();
    let mut others: BTreeMap<u32, BTreeMap<Network, Vec<Placed<'_>>>> = BTreeMap::new();
    for placed in rules {
        let Conditions {
            to,
            from,
            interface,
            ..
        } = &placed.1.conditions;
        let ifindex = match interface {
            Some(name) => match link(name) {
                Some(ifindex) => ifindex,
                None => continue,
            },
            None => 0,
        };
        if ifindex == 0 && from.is_none_or(|from| from.prefix() == 0) {
            plain.push(*placed);
            continue;
        }
        let from = from.unwrap_or_else(|| to.whole_family());
        let of = others.entry(ifindex).or_default();
        of.entry(from).or_default().push(*placed);
    }
    let node = MatchNode {
        sources: if others.is_empty() { 0 } else { sources },
        by_interface: others.keys().any(|ifindex| *ifindex != 0).into(),
        ..out.runs(&plain)
    };
    for (ifindex, by_source) in others {
        let nodes = by_source.iter();
        let nodes: BTreeMap<_, _> = nodes
            .map(|(from, rules)| (*from, out.runs(rules)))
            .collect();
        out.add(nodes, sources, ifindex);
    }
    node
}

impl Matches {
    /// A node with the runs of some rules.
    fn runs(&mut self, rules: &[Placed<'_>]) -> MatchNode {
        let tcp = run(rules, Proto::Tcp);
        let udp = run(rules, Proto::Udp);
        let (tcp_base, tcp_len) = self.put(&tcp);
        let (udp_base, udp_len) = if tcp == udp {
            (tcp_base, tcp_len)
        } else {
            self.put(&udp)
        };
        let sctp = run(rules, Proto::Sctp);
        let (sctp_base, sctp_len) = if sctp == tcp {
            (tcp_base, tcp_len)
        } else if sctp == udp {
            (udp_base, udp_len)
        } else {
            self.put(&sctp)
        };
        MatchNode {
            tcp_base,
            tcp_len,
            udp_base,
            udp_len,
            sctp_base,
            sctp_len,
            ..MatchNode::default()
        }
    }

    fn put(&mut self, run: &[MatchSlot]) -> (u32, u32) {
        let base = self.slots.len();
        self.slots.extend_from_slice(run);
        (base as u32, run.len() as u32)
    }

    /// Adds nodes of one domain, each with the one around it.
    fn add(&mut self, nodes: BTreeMap<Network, MatchNode>, domain: u32, ifindex: u32) {
        // In the order of the map a network comes after those around it, and those around it that are left end with the closest.
        let mut around: Vec<Network> = Vec::new();
        for (network, node) in nodes {
            while around.pop_if(|last| !last.contains(&network)).is_some() {}
            let shorter = around.last().map_or(0, bits);
            let key = MatchKey {
                prefix: bits(&network),
                place: MatchPlace {
                    domain,
                    ifindex,
                    addr: network.addr(),
                },
            };
            self.nodes.push((key, MatchNode { shorter, ..node }));
            around.push(network);
        }
    }
}

/// Bits of a place that count.
const fn bits(network: &Network) -> u32 {
    MatchKey::HEAD + network.wide_prefix() as u32
}

/// What begins and what ends at a port.
#[derive(Default)]
struct Turn {
    begins: Vec<u16>,
    ends: Vec<u16>,
}

/// The ports of some rules, of one protocol, as ranges that do not overlap.
fn run(rules: &[Placed<'_>], protocol: Proto) -> Vec<MatchSlot> {
    const ALL: Ports = 0..=u16::MAX;
    let mut turns: BTreeMap<u32, Turn> = BTreeMap::new();
    let mut marks = BTreeMap::new();
    for (order, rule) in rules {
        let Conditions {
            ports, protocol: p, ..
        } = &rule.conditions;
        if p.is_some_and(|p| p != protocol) {
            continue;
        }
        marks.insert(*order, rule.mark);
        let ports = if ports.is_empty() {
            std::slice::from_ref(&ALL)
        } else {
            ports
        };
        for range in ports {
            let (first, behind) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
            turns.entry(first).or_default().begins.push(*order);
            turns.entry(behind).or_default().ends.push(*order);
        }
    }
    let mut slots: Vec<MatchSlot> = Vec::new();
    let mut open = Open::default();
    for (port, turn) in turns {
        open.turn(&turn);
        let Ok(first) = u16::try_from(port) else {
            break;
        };
        let order = open.first();
        if slots.last().map_or(0, |s| s.order) != order {
            let mark = marks.get(&order).copied().unwrap_or(0);
            slots.push(MatchSlot { first, order, mark });
        }
    }
    slots
}

/// The rules that a port is in. A rule may name it more than once.
#[derive(Default)]
struct Open {
    orders: BTreeSet<u16>,
    times: BTreeMap<u16, u32>,
}

impl Open {
    fn turn(&mut self, turn: &Turn) {
        for order in &turn.begins {
            *self.times.entry(*order).or_default() += 1;
            self.orders.insert(*order);
        }
        for order in &turn.ends {
            let times = self.times.entry(*order).or_default();
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.orders.remove(order);
            }
        }
    }

    /// 0: none.
    fn first(&self) -> u16 {
        self.orders.first().copied().unwrap_or(0)
    }
}
