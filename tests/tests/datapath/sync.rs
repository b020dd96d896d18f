//! What a director tells of its connections, and how packets fare at the one that was told.

use std::{collections::BTreeSet, net::SocketAddrV4};

use ipvs_tests::{
    backend::Backend as _,
    packet::{Packet, flag},
    random::LINK_MARKS,
    trace::{Trace, What},
};
use ipvs_user::sync::{Entry, message::read};

use crate::rig::{C0, DROUTE, MASQ, R1, Rig, ack, client, datagram, link, real, segment, syn, vip};

/// As the group of the sync daemon is addressed.
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x51];
const HEADERS: usize = 14 + 20 + 8;

fn master(commands: &[&str]) -> Rig {
    let rig = Rig::new(commands);
    rig.console.director().tell_backup(true).unwrap();
    rig
}

fn told(rig: &Rig) -> Vec<Entry> {
    let told = rig.console.director().changes_to_tell(1000).unwrap();
    told.unwrap_or_default()
}

fn hand_on(master: &Rig, backup: &Rig) {
    let entries = told(master);
    assert!(!entries.is_empty());
    backup.console.director().take_in(&entries).unwrap();
}

#[test]
fn the_same_is_told_as_by_the_kernel_but_each_thing_once() {
    let trace = Trace::of("sync_master").unwrap();
    let commands = trace.config.iter().filter(|line| !line.contains('['));
    let commands: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("ipvsadm "))
        .filter(|line| !line.contains("daemon"))
        .collect();
    let mut rig = master(&commands);
    let (mut ours, mut kernels) = (Vec::new(), Vec::new());
    for step in &trace.steps {
        match &step.what {
            What::In(frame) if frame.bytes[12..14] == [8, 0] => {
                rig.host.run(C0, &frame.bytes).unwrap();
                ours.extend(told(&rig));
            }
            What::Out(frame) if frame.bytes.starts_with(&GROUP) => {
                kernels.extend(read(&frame.bytes[HEADERS..]).unwrap().entries);
            }
            What::In(_)
            | What::Out(_)
            | What::Ctl { .. }
            | What::Show { .. }
            | What::Sysctl { .. }
            | What::Sleep { .. } => {}
        }
    }
    kernels.retain(|e| e.client.is_ipv4());
    let set = |all: &[Entry]| -> BTreeSet<_> { all.iter().map(|e| format!("{e:?}")).collect() };
    assert_eq!(set(&ours), set(&kernels));
    // The kernel repeats templates with every packet.
    assert_eq!((ours.len(), set(&ours).len(), kernels.len()), (6, 6, 8));
}

#[test]
fn segments_in_mid_flow_go_on_to_the_same_real_server() {
    let mut first = master(&DROUTE);
    let mut second = Rig::new(&DROUTE);
    let ways: Vec<_> = (0..6)
        .map(|n| {
            first.send(C0, syn(n));
            first.leaves_by(ack(n))
        })
        .collect();
    assert_eq!(second.leaves_by(ack(0)), None, "nobody told it yet");
    hand_on(&first, &second);
    for (n, way) in (0..).zip(ways) {
        assert_eq!(second.leaves_by(ack(n)), way);
    }
    assert_eq!(second.counts(0), first.counts(0));
    assert_eq!(second.counts(1), first.counts(1));
}

#[test]
fn replies_of_masqueraded_real_servers_are_translated_by_who_was_told() {
    let mut first = master(&MASQ);
    let mut second = Rig::new(&MASQ);
    first.send(C0, syn(1));
    first.send(C0, ack(1));
    first.send(C0, datagram(2));
    first.send(C0, datagram(2));
    hand_on(&first, &second);
    let reply = Packet::tcp(real(1, 8080), client(1), flag::ACK);
    let sent = second.send(R1, reply.clone());
    assert_eq!(link(&sent), Some(C0));
    assert_eq!(sent.frame, first.send(R1, reply).frame);
    let reply = Packet::udp(real(1, 5353), client(2)).data(5);
    assert_eq!(link(&second.send(R1, reply)), Some(C0));
}

#[test]
fn under_backup_only_clients_packets_pass_while_another_director_balances() {
    let mut first = master(&MASQ);
    let mut second = Rig::new(&MASQ);
    first.send(C0, syn(1));
    first.send(C0, ack(1));
    hand_on(&first, &second);
    second.knob("backup_only", "1");
    assert!(second.leaves_by(ack(1)).is_some(), "no backup runs");
    second.console.director().listen_to_master(true).unwrap();
    let before = second.counts(0);
    let fin = segment(1, flag::FIN | flag::ACK);
    for packet in [ack(1), fin, syn(1), syn(2), ack(3), datagram(4)] {
        assert_eq!(second.leaves_by(packet), None);
    }
    assert_eq!(second.reason("stands_by"), 6);
    assert_eq!(second.counts(0), before);
    assert!(second.entry_of(2).is_none());
    // ip_vs does not look at this knob where replies leave.
    let reply = Packet::tcp(real(1, 8080), client(1), flag::ACK);
    assert_eq!(link(&second.send(R1, reply)), Some(C0));
    second.console.director().listen_to_master(false).unwrap();
    assert!(second.leaves_by(ack(1)).is_some());
    second.console.director().listen_to_master(true).unwrap();
    second.knob("backup_only", "0");
    assert!(second.leaves_by(ack(1)).is_some());
}

#[test]
fn what_another_director_told_of_is_listed_as_such() {
    let mut first = master(&DROUTE);
    let mut second = Rig::new(&DROUTE);
    for rig in [&first, &second] {
        rig.ipvsadm("-E -t 203.0.113.10:80 -s rr -p 300");
    }
    first.send(C0, syn(1));
    first.send(C0, ack(1));
    hand_on(&first, &second);
    second.send(C0, ack(1));
    let all = |rig: &Rig| -> Vec<_> {
        let all = rig.console.director().connections().unwrap();
        all.iter().map(|c| (c.template, c.told)).collect()
    };
    assert_eq!(all(&first), [(true, false), (false, false)]);
    assert_eq!(all(&second), [(true, true), (false, true)]);
}

#[test]
fn half_open_connections_are_not_told_of() {
    let mut rig = master(&DROUTE);
    for n in 0..3 {
        rig.send(C0, syn(n));
        rig.send(C0, segment(n, flag::RST));
    }
    assert!(told(&rig).is_empty());
}

#[test]
fn without_a_master_nothing_is_noted() {
    let mut rig = Rig::new(&DROUTE);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    assert!(told(&rig).is_empty());
}

#[test]
fn a_flood_at_the_backup_pushes_out_nothing_that_it_was_told() {
    let mut first = master(&MASQ);
    let mut second = Rig::with(|s| s.capacities.half_open = 8, &MASQ);
    first.send(C0, syn(1));
    first.send(C0, ack(1));
    hand_on(&first, &second);
    for n in 2..100 {
        second.send(C0, syn(n));
    }
    assert_eq!(second.leaves_by(ack(1)), Some(R1));
    assert_eq!(second.reason("half_open_evicted"), 90);
}

#[test]
fn a_connection_told_of_as_closing_is_over_at_its_time() {
    let mut first = master(&MASQ);
    let mut second = Rig::new(&MASQ);
    first.send(C0, syn(1));
    first.send(C0, ack(1));
    first.send(C0, segment(1, flag::RST));
    hand_on(&first, &second);
    assert_eq!(second.counts(0), (0, 1, 0));
    second.pass(9);
    assert_eq!(second.counts(0), (0, 1, 0));
    second.pass(1);
    assert_eq!(second.counts(0), (0, 0, 0));
    assert_eq!(second.leaves_by(ack(1)), None);
}

#[test]
fn persistence_of_every_kind_is_handed_on() {
    let kinds = [
        ("80 -s rr -p 60 -M 255.255.255.0", "80", vip(80)),
        ("80 -s rr -p 60", "80", vip(80)),
        ("0 -s rr -p 60", "0", vip(4000)),
        ("21 -s rr -p 60", "21", vip(21)),
    ];
    for (service, port, to) in kinds {
        let add = |n| format!("-a -t 203.0.113.10:{port} -r 10.0.{n}.10:{port} -g");
        let all = [format!("-A -t 203.0.113.10:{service}"), add(1), add(2)];
        let all = all.each_ref().map(String::as_str);
        let (mut first, mut second) = (master(&all), Rig::new(&all));
        let syn = |n, port| {
            Packet::tcp(
                SocketAddrV4::new([198, 51, 7, n].into(), port),
                to,
                flag::SYN,
            )
        };
        for n in 0..3 {
            assert!(first.leaves_by(syn(n, 9)).is_some());
        }
        hand_on(&first, &second);
        // In another order, so that no scheduler would do the same.
        for n in [2, 1, 0, 2] {
            let way = first.leaves_by(syn(n, 10));
            assert_eq!(second.leaves_by(syn(n, 10)), way, "{service}");
        }
    }
}

#[test]
fn persistence_by_mark_is_handed_on() {
    let all = [
        "-A -f 7 -s rr -p 60",
        "-a -f 7 -r 10.0.1.10 -g",
        "-a -f 7 -r 10.0.2.10 -m",
    ];
    let rig = || Rig::with(|s| s.marks = LINK_MARKS, &all);
    let (mut first, mut second) = (rig(), rig());
    first.console.director().tell_backup(true).unwrap();
    let marked = LINK_MARKS.iter().position(|m| *m == 7).unwrap();
    let syn = |n, port| {
        Packet::tcp(
            SocketAddrV4::new([198, 51, 7, n].into(), port),
            vip(80),
            flag::SYN,
        )
    };
    let mut ways = Vec::new();
    for n in 0..3 {
        let sent = first.send(marked, syn(n, 9));
        ways.push(link(&sent));
    }
    hand_on(&first, &second);
    for n in [2, 1, 0, 2] {
        let sent = second.send(marked, syn(n, 10));
        assert_eq!(link(&sent), ways[usize::from(n)]);
    }
}
