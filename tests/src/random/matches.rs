//! Random match rules, around the addresses and ports that random packets have: overlapping prefixes of every length, port ranges,
//! sources, interfaces; and marks of which some have a service.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use fastrand::Rng;
use ipvs_common::{Proto, matches::MAX_MATCHES};
use ipvs_user::model::{
    Conditions, MatchRule, Network,
    matches::{Ports, check_rules},
};

use crate::six::six;

/// Marks of services, and one of none.
const MARKS: [u32; 4] = [7, 8, 9, 10];

/// So many rules at most: those that want what others want are left out.
pub fn random_rules(
    rng: &mut Rng,
    most: usize,
    interfaces: &[&str],
    over_six: bool,
) -> Vec<MatchRule> {
    let mut rules: Vec<MatchRule> = Vec::new();
    for _ in 0..rng.usize(..=most) {
        let rule = MatchRule {
            conditions: conditions(rng, interfaces, over_six),
            mark: MARKS[rng.usize(..MARKS.len())],
        };
        rules.push(rule);
        if check_rules(&rules).is_err() {
            rules.pop();
        }
    }
    rules
}

/// As many as there may be: prefixes of each length, and many under one prefix.
pub fn ten_thousand_rules(rng: &mut Rng, interfaces: &[&str], over_six: bool) -> Vec<MatchRule> {
    let mut rules = Vec::with_capacity(MAX_MATCHES + 60);
    let mut seen = HashSet::new();
    while rules.len() < MAX_MATCHES {
        let mut some = random_rules(rng, 60, interfaces, over_six);
        for rule in &mut some {
            let (first, last) = (rng.u16(..10_000), rng.u16(10_000..));
            rule.conditions.ports.push(first..=last);
            if !over_six && rng.bool() {
                let anywhere = Ipv4Addr::from_bits(rng.u32(..));
                rule.conditions.to = Network::only(anywhere.into()).cut(rng.u8(8..=32));
            }
        }
        let new = some
            .into_iter()
            .filter(|r| seen.insert(r.conditions.clone()));
        rules.extend(new);
    }
    rules.truncate(MAX_MATCHES);
    rules
}

fn conditions(rng: &mut Rng, interfaces: &[&str], over_six: bool) -> Conditions {
    let around = [
        Ipv4Addr::new(203, 0, 113, rng.u8(8..24)),
        Ipv4Addr::new(198, 18, 0, rng.u8(..)),
    ];
    let to = around[usize::from(rng.u8(..4) == 0)];
    let to = network(rng, to, over_six);
    let from = (rng.u8(..3) == 0).then(|| {
        let client = Ipv4Addr::new(198, 51, rng.u8(99..103), rng.u8(..));
        network(rng, client, over_six)
    });
    let ports = (0..rng.usize(..4)).map(|_| ports(rng)).collect();
    Conditions {
        to,
        from,
        ports,
        protocol: [None, Some(Proto::Tcp), Some(Proto::Udp), Some(Proto::Sctp)][rng.usize(..4)],
        interface: (rng.u8(..4) == 0).then(|| interfaces[rng.usize(..interfaces.len())].to_owned()),
    }
}

/// A network of any size around an address; short prefixes are as likely as long ones.
fn network(rng: &mut Rng, around: Ipv4Addr, over_six: bool) -> Network {
    let prefix = [0, 8, 16, 23, 24, 26, 28, 29, 30, 31, 32][rng.usize(..11)];
    if over_six {
        Network::only(IpAddr::V6(six(around))).cut(twin_prefix(prefix))
    } else {
        Network::only(IpAddr::V4(around)).cut(prefix)
    }
}

/// The prefix that twins of one network have in common.
const fn twin_prefix(prefix: u8) -> u8 {
    match prefix {
        0 => 0,
        1..=16 => 32 + prefix,
        17..=24 => 40 + prefix,
        _ => 96 + prefix,
    }
}

fn ports(rng: &mut Rng) -> Ports {
    const USED: [u16; 9] = [0, 20, 25, 53, 80, 81, 443, 2000, u16::MAX];
    let first = USED[rng.usize(..USED.len())];
    let last = match rng.u8(..4) {
        0 => u16::MAX,
        1 => first,
        _ => first.saturating_add(rng.u16(..100)),
    };
    first..=last
}
