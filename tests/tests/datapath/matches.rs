//! Match rules: which packets they mark, and what becomes of those.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use fastrand::Rng;
use ipvs_common::{Addr, FlowKey, Proto, maps::Capacities};
use ipvs_datapath::{host::Width, matching};
use ipvs_tests::{
    backend::{Backend, Verdict},
    naive_matches::{self, Asked},
    packet::{Packet, flag},
    random::{random_rules, ten_thousand_rules},
    six::six,
};
use ipvs_user::model::{Command, Conditions, MatchRule, MatchRules};
use proptest::prelude::*;

use crate::{
    fragments::{cut, through},
    icmp_six::{about_answer, report},
    rig::{C0, R1, R2, Rig, client, link},
};

/// A rule for TCP.
pub(crate) fn rule(mark: u32, to: &str, port: u16) -> MatchRule {
    MatchRule {
        conditions: Conditions {
            to: to.parse().unwrap(),
            from: None,
            ports: vec![port..=port],
            protocol: Some(Proto::Tcp),
            interface: None,
        },
        mark,
    }
}

pub(crate) fn set(rig: &Rig, rules: Vec<MatchRule>) {
    let rules: MatchRules = rules.into();
    let mut director = rig.console.director();
    director.execute(&Command::SetMatches { rules }).unwrap();
}

/// Caches for every web server there is.
const CACHES: [&str; 4] = [
    "-A -f 7 -s lblc",
    "-a -f 7 -r 10.0.1.10 -g -w 100",
    "-a -f 7 -r 10.0.2.10 -g -w 100",
    "-a -f 7 -r 10.0.3.10 -i -w 100",
];

fn everywhere(six: bool) -> &'static str {
    if six { "::/0" } else { "0.0.0.0/0" }
}

fn web(n: u16, to: [u8; 4]) -> Packet {
    Packet::tcp(client(n), SocketAddrV4::new(to.into(), 80), flag::SYN)
}

/// Where packets to many addresses went, each of which two clients asked.
fn caches_of(rig: &mut Rig) -> Vec<[Option<usize>; 2]> {
    let each = (0..60).map(|n| {
        let to = [192, 0, 2 + (n % 3) as u8, 100 + n as u8];
        [0, 1000].map(|client| link(&rig.send(C0, web(client + n, to))))
    });
    each.collect()
}

fn same_address_goes_to_the_same_cache(mut rig: Rig, six: bool) {
    set(&rig, vec![rule(7, everywhere(six), 80)]);
    let caches = caches_of(&mut rig);
    assert!(
        caches
            .iter()
            .all(|[first, second]| first == second && first.is_some())
    );
    for link in 1..4 {
        let served = caches.iter().filter(|c| c[0] == Some(link)).count();
        assert!(served > 10, "link {link} got {served} of 60 addresses");
    }
}

#[test]
fn lblc_sends_an_address_of_the_whole_internet_to_one_cache() {
    same_address_goes_to_the_same_cache(Rig::new(&CACHES), false);
    same_address_goes_to_the_same_cache(Rig::over_six(&CACHES), true);
}

#[test]
fn lblcr_sends_an_address_of_the_whole_internet_to_one_cache() {
    let mut commands = CACHES;
    commands[0] = "-A -f 7 -s lblcr";
    same_address_goes_to_the_same_cache(Rig::new(&commands), false);
    same_address_goes_to_the_same_cache(Rig::over_six(&commands), true);
}

#[test]
fn packets_that_no_rule_fits_are_not_the_directors() {
    let mut rig = Rig::new(&CACHES);
    set(&rig, vec![rule(7, "0.0.0.0/0", 80)]);
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 81);
    assert_eq!(
        rig.leaves_by(Packet::tcp(client(1), other, flag::SYN)),
        None
    );
    assert!(rig.leaves_by(web(2, [192, 0, 2, 9])).is_some());
    set(&rig, Vec::new());
    assert_eq!(rig.leaves_by(web(3, [192, 0, 2, 9])), None);
    assert_eq!(rig.reason("no_service"), 2);
}

#[test]
fn longer_prefix_goes_first_and_then_the_order_of_the_file() {
    let services = [
        "-A -f 7 -s rr",
        "-a -f 7 -r 10.0.1.10 -g",
        "-A -f 8 -s rr",
        "-a -f 8 -r 10.0.2.10 -g",
    ];
    let mut rig = Rig::new(&services);
    let mut any_port = rule(7, "192.0.2.0/24", 80);
    any_port.conditions.ports.clear();
    let rules = vec![
        rule(7, "0.0.0.0/0", 80),
        rule(8, "192.0.2.0/24", 80),
        any_port,
    ];
    set(&rig, rules.clone());
    assert_eq!(rig.leaves_by(web(1, [192, 0, 3, 1])), Some(R1));
    assert_eq!(rig.leaves_by(web(2, [192, 0, 2, 1])), Some(R2));
    set(&rig, vec![rules[2].clone(), rules[1].clone()]);
    assert_eq!(rig.leaves_by(web(3, [192, 0, 2, 1])), Some(R1));
}

#[test]
fn mark_of_an_interface_holds_where_no_rule_fits() {
    let services = [
        "-A -f 7 -s rr",
        "-a -f 7 -r 10.0.1.10 -g",
        "-A -f 8 -s rr",
        "-a -f 8 -r 10.0.2.10 -g",
    ];
    let mut rig = Rig::with(|setup| setup.marks = [8, 0, 0, 0], &services);
    set(&rig, vec![rule(7, "203.0.113.0/24", 80)]);
    let to = |port| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
    assert_eq!(
        rig.leaves_by(Packet::tcp(client(1), to(80), flag::SYN)),
        Some(R1)
    );
    assert_eq!(
        rig.leaves_by(Packet::tcp(client(1), to(81), flag::SYN)),
        Some(R2)
    );
}

#[test]
fn established_connections_stay_when_rules_change() {
    let mut rig = Rig::new(&CACHES);
    set(&rig, vec![rule(7, "0.0.0.0/0", 80)]);
    let cache = rig.leaves_by(web(1, [192, 0, 2, 9]));
    assert!(cache.is_some());
    let ack = Packet::tcp(
        client(1),
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 80),
        flag::ACK,
    );
    set(&rig, Vec::new());
    assert_eq!(rig.leaves_by(ack), cache);
}

#[test]
fn packets_of_a_marked_connection_go_past_real_servers_that_are_none() {
    for six in [false, true] {
        let mut rig = if six {
            Rig::over_six(&["-A -f 7 -s lblc"])
        } else {
            Rig::new(&["-A -f 7 -s lblc"])
        };
        set(&rig, vec![rule(7, everywhere(six), 80)]);
        let away = [198, 18, 0, 1];
        assert_eq!(
            link(&rig.send(R1, web(1, away))),
            Some(C0),
            "told that nobody is there"
        );
        rig.knob("cache_bypass", "1");
        assert_eq!(link(&rig.send(R1, web(2, away))), Some(C0));
        assert_eq!(rig.reason("bypassed"), 1);
    }
}

#[test]
fn many_replacements_in_a_second_are_refused_before_anything_is_lost() {
    let mut rig = Rig::with(|setup| setup.capacities.match_slots = 8, &CACHES);
    // Two slots each.
    let rules = |port| vec![rule(7, "0.0.0.0/0", port), rule(7, "203.0.113.0/24", port)];
    set(&rig, rules(80));
    set(&rig, rules(81));
    let third = Command::SetMatches {
        rules: rules(82).into(),
    };
    let refused = rig.console.director().execute(&third).unwrap_err();
    assert!(refused.to_string().contains("match_slots"), "{refused}");
    let to = |port| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), port);
    assert!(
        rig.leaves_by(Packet::tcp(client(1), to(81), flag::SYN))
            .is_some()
    );
    rig.pass(2);
    rig.console.director().execute(&third).unwrap();
    assert!(
        rig.leaves_by(Packet::tcp(client(2), to(82), flag::SYN))
            .is_some()
    );
    assert_eq!(
        rig.leaves_by(Packet::tcp(client(3), to(81), flag::SYN)),
        None
    );
    rig.pass(2);
    let left = rig.host.tables().matches.len();
    assert_eq!(left, 2, "what is no longer named is removed");
}

#[test]
fn rule_of_an_interface_holds_while_there_is_one_of_its_name() {
    let mut rig = Rig::new(&CACHES);
    let mut late = rule(7, "0.0.0.0/0", 80);
    late.conditions.interface = Some("late0".to_owned());
    set(&rig, vec![late]);
    assert_eq!(rig.leaves_by(web(1, [192, 0, 2, 9])), None);
    let c0 = rig.host.tables().links["c0"];
    rig.host.tables().links.insert("late0".to_owned(), c0);
    rig.console.director().routes_changed().unwrap();
    assert!(rig.leaves_by(web(2, [192, 0, 2, 9])).is_some());
    rig.host.tables().links.remove("late0");
    rig.pass(1);
    assert_eq!(rig.leaves_by(web(3, [192, 0, 2, 9])), None);
}

#[test]
fn fragments_go_where_the_rules_send_their_first_one() {
    for six in [false, true] {
        let services = ["-A -f 7 -s rr", "-a -f 7 -r 10.0.1.10 -g"];
        let mut rig = if six {
            Rig::over_six(&services)
        } else {
            Rig::new(&services)
        };
        let mut names = rule(7, everywhere(six), 53);
        names.conditions.protocol = None;
        set(&rig, vec![names]);
        let to = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 9), 53);
        let sent = cut(&rig, C0, Packet::udp(client(1), to), six, 7);
        assert_eq!(through(&mut rig, C0, R1, &sent).len(), 3);
        // To another port, which no rule speaks of.
        let to = SocketAddrV4::new(*to.ip(), 54);
        for frame in cut(&rig, C0, Packet::udp(client(1), to), six, 8) {
            let outcome = rig.host.run(C0, &frame).unwrap();
            assert_eq!(outcome.verdict, Verdict::Pass);
        }
    }
}

#[test]
fn error_that_opens_a_connection_is_matched_by_what_it_would_answer() {
    let mut rig = Rig::over_six(&["-A -f 7 -s rr", "-a -f 7 -r 10.0.1.10 -g"]);
    rig.knob("schedule_icmp", "1");
    set(&rig, vec![rule(7, "2001:db8:cb00:71::a", 81)]);
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Pass);
    set(&rig, vec![rule(7, "2001:db8:cb00:71::a", 80)]);
    assert_eq!(link(&report(&mut rig, C0, about_answer(1))), Some(R1));
}

/// Interfaces of the rig, by number.
const NAMES: [&str; 5] = ["c0", "r1", "r2", "r3", "none"];

/// A set of rules in the tables, and as it is told.
struct Compared {
    rig: Rig,
    rules: MatchRules,
}

impl Compared {
    fn new(rules: Vec<MatchRule>) -> Self {
        let match_slots = Capacities::DEFAULT.match_slots;
        let rig = Rig::with(|setup| setup.capacities.match_slots = match_slots, &[]);
        let rules: MatchRules = rules.into();
        let set = Command::SetMatches {
            rules: rules.clone(),
        };
        rig.console.director().execute(&set).unwrap();
        Self { rig, rules }
    }

    /// Asks both for packets; how many had a mark.
    fn compare(&self, rng: &mut Rng, packets: usize, over_six: bool) -> usize {
        let links = self.rig.host.tables().links.clone();
        let found = (0..packets).filter(|_| {
            let asked = asked(rng, over_six, &links);
            let wanted = naive_matches::mark(&self.rules, &asked, &|name| links.get(name).copied());
            let got = if over_six {
                self.find::<Addr>(&asked)
            } else {
                self.find::<[u8; 4]>(&asked)
            };
            assert_eq!(got, wanted, "{asked:?}");
            got.is_some()
        });
        found.count()
    }

    fn find<A: Width>(&self, asked: &Asked) -> Option<u32> {
        let key = FlowKey::new(
            asked.protocol as u8,
            A::narrow(asked.src),
            [0; 2],
            A::narrow(asked.dst),
            asked.dport.to_be_bytes(),
        );
        let mut tables = self.rig.host.tables();
        let found = matching::find(&tables.of::<A>(), asked.ifindex, &key);
        (found.order() != 0).then_some(found.mark())
    }
}

/// Around the addresses and ports that random rules have.
fn asked(rng: &mut Rng, over_six: bool, links: &std::collections::BTreeMap<String, u32>) -> Asked {
    const PORTS: [u16; 10] = [0, 20, 25, 53, 80, 81, 99, 443, 2000, u16::MAX];
    let address = |[a, b, c, d]: [u8; 4]| -> Addr {
        let v4 = Ipv4Addr::new(a, b, c, d);
        let ip = if over_six {
            IpAddr::V6(six(v4))
        } else {
            v4.into()
        };
        ip.into()
    };
    let dst = match rng.u8(..3) {
        0 => [198, 18, 0, rng.u8(..)],
        1 => [rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..)],
        _ => [203, 0, 113, rng.u8(8..24)],
    };
    let indices: Vec<u32> = links.values().copied().collect();
    Asked {
        src: address([198, 51, rng.u8(99..103), rng.u8(..)]),
        dst: address(dst),
        dport: match rng.u8(..2) {
            0 => PORTS[rng.usize(..PORTS.len())],
            _ => rng.u16(..),
        },
        protocol: if rng.bool() { Proto::Tcp } else { Proto::Udp },
        ifindex: indices[rng.usize(..indices.len())],
    }
}

proptest! {
    #[test]
    fn search_finds_what_one_finds_who_looks_at_every_rule(seed: u64, over_six: bool) {
        let mut rng = Rng::with_seed(seed);
        let rules = random_rules(&mut rng, 60, &NAMES, over_six);
        Compared::new(rules).compare(&mut rng, 300, over_six);
    }
}

#[test]
fn ten_thousand_rules_are_found_as_by_one_who_looks_at_every_rule() {
    for (seed, over_six) in [(1, false), (2, true)] {
        let mut rng = Rng::with_seed(seed);
        let compared = Compared::new(ten_thousand_rules(&mut rng, &NAMES, over_six));
        let found = compared.compare(&mut rng, 1000, over_six);
        assert!(found > 250, "{found} packets had a mark");
    }
}
