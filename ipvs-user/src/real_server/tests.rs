//! The plan, over machines that are made up.

mod tunnels;

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    facts::{Address, Facts, Gateway, Link, Medium, path},
    plan::{Plan, plan},
    refusal::{Refusal, network},
    step::Step,
    wanted::{Family, Method, Tunnel, TunnelType, Unpacker, Wanted},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        up: true,
        medium: Medium::Ethernet,
        ..Link::default()
    }
}

fn address(index: u32, text: &str, prefix: u8) -> Address {
    Address {
        index,
        address: ip(text),
        prefix,
    }
}

/// `lo` and `eth0` with an address of either version, and a way out; settings as the kernel has them at first.
fn machine() -> Facts {
    let lo = Link {
        medium: Medium::Silent,
        ..link(1, "lo")
    };
    let mut facts = Facts {
        links: vec![lo, link(2, "eth0"), link(3, "eth1")],
        addresses: vec![
            address(1, "127.0.0.1", 8),
            address(2, "10.0.1.5", 24),
            address(2, "2001:db8:1::5", 64),
        ],
        routes: vec![Gateway {
            by: ip("10.0.1.1"),
            default: true,
            metric: 0,
            index: 2,
        }],
        listeners: ["0.0.0.0:80".parse().unwrap()].into(),
        ..Facts::default()
    };
    for interface in ["all", "default", "lo", "eth0", "eth1"] {
        for key in ["arp_ignore", "arp_announce", "rp_filter"] {
            set(&mut facts, interface, key, "0");
        }
        let v6 = path(Family::V6, interface, "disable_ipv6");
        facts.settings.insert(v6, "0".to_owned());
    }
    facts
}

fn set(facts: &mut Facts, interface: &str, key: &str, value: &str) {
    let path = path(Family::V4, interface, key);
    facts.settings.insert(path, value.to_owned());
}

fn wanted(vips: &[&str], method: Method) -> Wanted {
    let tunnel = (method == Method::Tunnel).then_some(Tunnel {
        kind: TunnelType::Ipip,
        port: 0,
    });
    Wanted {
        vips: vips.iter().map(|vip| ip(vip)).collect(),
        method,
        tunnel,
        device: "lo".to_owned(),
        director: None,
        unpacker: Unpacker::Auto,
        interfaces: Vec::new(),
    }
}

fn gue(vips: &[&str]) -> Wanted {
    Wanted {
        tunnel: Some(Tunnel {
            kind: TunnelType::Gue,
            port: 6080,
        }),
        ..wanted(vips, Method::Tunnel)
    }
}

fn changes(plan: &Plan) -> Vec<String> {
    assert_eq!(plan.refusals, []);
    plan.steps.iter().map(Step::change).collect()
}

fn refused(wanted: &Wanted, facts: &Facts) -> Vec<Refusal> {
    plan(wanted, facts).refusals
}

#[test]
fn arp_is_settled_before_the_address_is_there() {
    let plan = plan(
        &wanted(&["10.0.0.5", "2001:db8::5"], Method::Dr),
        &machine(),
    );
    let expected = [
        "net.ipv4.conf.all.arp_ignore: 0 -> 1",
        "net.ipv4.conf.all.arp_announce: 0 -> 2",
        "address 10.0.0.5/32 on lo: absent -> there",
        "address 2001:db8::5/128 on lo: absent -> there",
    ];
    assert_eq!(changes(&plan), expected);
    assert_eq!(plan.right, ["device lo: up"]);
}

#[test]
fn ipv6_alone_wants_nothing_of_arp() {
    let plan = plan(&wanted(&["2001:db8::5"], Method::Dr), &machine());
    assert_eq!(
        changes(&plan),
        ["address 2001:db8::5/128 on lo: absent -> there"]
    );
}

#[test]
fn what_is_right_stays() {
    let mut facts = machine();
    facts.addresses.push(address(1, "10.0.0.5", 32));
    set(&mut facts, "all", "arp_announce", "2");
    for ignoring in ["1", "2", "8"] {
        set(&mut facts, "all", "arp_ignore", ignoring);
        let plan = plan(&wanted(&["10.0.0.5"], Method::Dr), &facts);
        assert_eq!(changes(&plan), [""; 0], "{ignoring}");
        assert_eq!(plan.right.len(), 4);
    }
}

#[test]
fn values_of_arp_ignore_that_answer_are_replaced_wherever_they_stand() {
    for answering in ["3", "4", "7"] {
        let mut facts = machine();
        set(&mut facts, "all", "arp_ignore", answering);
        set(&mut facts, "eth0", "arp_ignore", answering);
        let changes = changes(&plan(&wanted(&["10.0.0.5"], Method::Dr), &facts));
        for interface in ["all", "eth0"] {
            let change = format!("net.ipv4.conf.{interface}.arp_ignore: {answering} -> 1");
            assert!(changes.contains(&change), "{changes:?}");
        }
    }
}

#[test]
fn addresses_that_do_harm_are_refused() {
    let mut facts = machine();
    facts.addresses.push(address(2, "10.0.1.7", 32));
    facts.addresses.push(address(1, "10.0.3.9", 24));
    let of = |vip: &str| refused(&wanted(&[vip], Method::Dr), &facts);
    assert!(matches!(of("10.0.1.5")[..], [Refusal::OwnAddress { .. }]));
    assert!(matches!(of("10.0.1.7")[..], [Refusal::OnInterface { .. }]));
    assert!(matches!(of("10.0.3.9")[..], [Refusal::IsWide { .. }]));
    assert!(matches!(of("10.0.1.1")[..], [Refusal::Gateway { .. }]));
    assert_eq!(of("10.0.0.5"), []);
    let on = Wanted {
        device: "eth1".to_owned(),
        ..wanted(&["10.0.0.5"], Method::Dr)
    };
    assert!(matches!(refused(&on, &facts)[..], [Refusal::Answers(_)]));
}

#[test]
fn ipv6_that_is_off_is_named() {
    let mut facts = machine();
    let lo = path(Family::V6, "lo", "disable_ipv6");
    facts.settings.insert(lo.clone(), "1".to_owned());
    let asked = wanted(&["2001:db8::5"], Method::Dr);
    assert!(matches!(refused(&asked, &facts)[..], [Refusal::NoIpv6(..)]));
    facts.settings.remove(&lo);
    let none = refused(&asked, &facts);
    assert!(matches!(none[..], [Refusal::KernelWithoutIpv6(_)]));
}

#[test]
fn masquerading_wants_the_director_as_gateway_and_changes_nothing() {
    let mut facts = machine();
    facts.towards_director = Some(2);
    let by = |director| Wanted {
        director: Some(ip(director)),
        ..wanted(&["10.0.0.5"], Method::Masq)
    };
    let right = plan(&by("10.0.1.1"), &facts);
    assert_eq!(changes(&right), [""; 0]);
    assert_eq!(right.right.len(), 1);
    assert!(
        right.warnings[0].starts_with("clients in 10.0.1.0/24 "),
        "{right:?}"
    );
    let wrong = refused(&by("10.0.1.2"), &facts);
    assert!(matches!(wrong[..], [Refusal::WrongGateway { .. }]));
    // The way of the smaller metric is the one that is taken.
    facts.routes[0].metric = 100;
    facts.routes.push(Gateway {
        by: ip("10.0.1.2"),
        metric: 50,
        ..facts.routes[0]
    });
    assert_eq!(refused(&by("10.0.1.2"), &facts), []);
    facts.addresses.push(address(1, "10.0.0.5", 32));
    assert!(matches!(
        refused(&by("10.0.1.2"), &facts)[..],
        [Refusal::HasVip { .. }]
    ));
}

#[test]
fn packets_that_come_in_elsewhere_than_answers_go_out_are_let_in() {
    let mut facts = machine();
    facts.addresses.push(address(3, "10.0.2.5", 24));
    facts.towards_director = Some(3);
    set(&mut facts, "eth1", "rp_filter", "1");
    let named = Wanted {
        director: Some(ip("10.0.2.1")),
        ..wanted(&["10.0.0.5"], Method::Dr)
    };
    let changes = changes(&plan(&named, &facts));
    assert!(
        changes.contains(&"net.ipv4.conf.eth1.rp_filter: 1 -> 2".to_owned()),
        "{changes:?}"
    );
    let unnamed = plan(&wanted(&["10.0.0.5"], Method::Dr), &facts);
    assert!(
        unnamed.warnings[0].contains("eth1.rp_filter is strict"),
        "{unnamed:?}"
    );
}

#[test]
fn services_that_do_not_hear_are_named() {
    let mut facts = machine();
    let heard = |facts: &Facts, vip| plan(&wanted(&[vip], Method::Dr), facts).warnings;
    assert_eq!(heard(&facts, "10.0.0.5"), [""; 0]);
    assert!(heard(&facts, "2001:db8::5")[0].starts_with("no service listens on 2001:db8::5"));
    facts.listeners = ["[::]:80".parse().unwrap()].into();
    assert_eq!(heard(&facts, "10.0.0.5"), [""; 0]);
    assert_eq!(heard(&facts, "2001:db8::5"), [""; 0]);
    facts.listeners.insert("10.0.1.5:25".parse().unwrap());
    assert!(heard(&facts, "10.0.0.5")[0].contains("10.0.1.5:25 alone"));
    facts.listeners.insert("10.0.0.5:25".parse().unwrap());
    assert_eq!(heard(&facts, "10.0.0.5"), [""; 0]);
}

#[test]
fn more_addresses_join_those_of_before_and_nothing_else_may_differ() {
    let before = wanted(&["10.0.0.5"], Method::Dr);
    let both = wanted(&["10.0.0.6"], Method::Dr).beside(&before).unwrap();
    assert_eq!(both.vips, BTreeSet::from([ip("10.0.0.5"), ip("10.0.0.6")]));
    let other = wanted(&["10.0.0.6"], Method::Masq).beside(&before);
    assert_eq!(other, Err("--method"));
    let ipip = wanted(&["10.0.0.5"], Method::Tunnel);
    assert_eq!(
        gue(&["10.0.0.5"]).beside(&ipip),
        Err("--tunnel-type or --port")
    );
}

#[test]
fn networks_of_every_length_are_named() {
    assert_eq!(network(ip("10.1.2.3"), 24), "10.1.2.0/24");
    assert_eq!(network(ip("10.1.2.3"), 0), "0.0.0.0/0");
    assert_eq!(network(ip("2001:db8::5"), 64), "2001:db8::/64");
    assert_eq!(network(ip("2001:db8::5"), 0), "::/0");
}
