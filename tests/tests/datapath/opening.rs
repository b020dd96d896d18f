//! Which packets open a connection: flags, ports, FTP, one-packet scheduling, defences, and the way past the real servers.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::State;
use ipvs_tests::{
    backend::{Backend, Verdict},
    packet::{ETHERNET, Packet, flag},
};

use crate::rig::{
    C0, DROUTE, MASQ, R1, R2, Rig, ack, client, datagram, link, real, segment, syn, vip,
};

#[test]
fn only_a_syn_opens_a_connection() {
    let mut rig = Rig::new(&DROUTE);
    for flags in [
        flag::ACK,
        flag::FIN,
        flag::FIN | flag::ACK,
        0,
        flag::RST,
        flag::SYN | flag::RST,
    ] {
        assert_eq!(rig.send(C0, segment(1, flags)).verdict, Verdict::Pass);
    }
    assert_eq!(rig.reason("cannot_open"), 6);
    assert!(rig.leaves_by(segment(2, flag::SYN | flag::ACK)).is_some());
}

#[test]
fn any_segment_but_a_reset_opens_one_under_sloppy_tcp() {
    let mut rig = Rig::new(&DROUTE);
    rig.knob("sloppy_tcp", "1");
    let flags = [flag::ACK, flag::FIN | flag::ACK, 0, flag::PSH];
    for (n, flags) in (0..).zip(flags) {
        assert!(rig.leaves_by(segment(n, flags)).is_some(), "{flags}");
    }
    for flags in [flag::RST, flag::RST | flag::ACK] {
        assert_eq!(rig.send(C0, segment(9, flags)).verdict, Verdict::Pass);
    }
    // An ACK establishes at once.
    let state = rig.entry_of(0).unwrap().1.status.state;
    assert_eq!(state, State::Established as u8);
}

fn state_of(rig: &Rig, n: u16) -> u8 {
    rig.entry_of(n).unwrap().1.status.state
}

#[test]
fn secure_tcp_waits_for_the_real_server() {
    let mut rig = Rig::new(&MASQ);
    rig.knob("secure_tcp", "3");
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    assert_eq!(state_of(&rig, 1), State::SynRecv as u8);
    let reply = |flags| Packet::tcp(real(1, 8080), client(1), flags);
    rig.send(R1, reply(flag::SYN | flag::ACK));
    assert_eq!(state_of(&rig, 1), State::SynAck as u8);
    rig.send(C0, ack(1));
    assert_eq!(state_of(&rig, 1), State::SynAck as u8);
    rig.send(R1, reply(flag::ACK));
    assert_eq!(state_of(&rig, 1), State::Established as u8);
    assert_eq!(rig.counts(0), (1, 0, 0));
}

#[test]
fn secure_tcp_takes_the_clients_ack_where_replies_are_not_seen() {
    let mut rig = Rig::new(&DROUTE);
    rig.knob("secure_tcp", "3");
    rig.send(C0, syn(1));
    assert_eq!(state_of(&rig, 1), State::SynAck as u8);
    rig.send(C0, ack(1));
    assert_eq!(state_of(&rig, 1), State::Established as u8);
}

#[test]
fn drop_packet_drops_one_new_connection_of_so_many() {
    let mut rig = Rig::new(&DROUTE);
    rig.knob("am_droprate", "5");
    rig.knob("drop_packet", "3");
    let verdicts = (0..50).map(|n| rig.send(C0, syn(n)).verdict);
    let dropped: Vec<_> = (0..)
        .zip(verdicts)
        .filter(|(_, v)| *v == Verdict::Drop)
        .collect();
    assert_eq!(dropped.len(), 10);
    assert!(dropped.windows(2).all(|w| w[1].0 - w[0].0 == 5_u16));
    assert_eq!(rig.reason("drop_packet"), 10);
    // Known connections are spared, and what is no service's is none of its business.
    let open = (0..50).find(|n| rig.entry_of(*n).is_some()).unwrap();
    assert!((0..50).all(|_| rig.leaves_by(ack(open)).is_some()));
    let other = Packet::tcp(client(1), vip(81), flag::SYN);
    assert!((0..10).all(|_| rig.send(C0, other.clone()).verdict == Verdict::Pass));
    rig.knob("drop_packet", "0");
    assert!((60..90).all(|n| rig.leaves_by(syn(n)).is_some()));
}

#[test]
fn nothing_opens_from_source_port_20() {
    let from = SocketAddrV4::new(*client(1).ip(), 20);
    let mut rig = Rig::new(&[&DROUTE[..], &MASQ[2..]].concat());
    for packet in [
        Packet::tcp(from, vip(80), flag::SYN),
        Packet::udp(from, vip(53)),
    ] {
        assert_eq!(rig.send(C0, packet).verdict, Verdict::Pass);
    }
    assert_eq!(rig.reason("source_port_20"), 2);
    assert_eq!((rig.counts(0), rig.counts(1)), ((0, 0, 0), (0, 0, 0)));
}

fn to(n: u16, port: u16) -> Packet {
    Packet::tcp(client(n), vip(port), flag::SYN)
}

const FTP: [&str; 3] = [
    "-A -t 203.0.113.10:21 -s rr -p 60",
    "-a -t 203.0.113.10:21 -r 10.0.1.10:21 -g",
    "-a -t 203.0.113.10:21 -r 10.0.2.10:21 -g",
];

#[test]
fn ftp_takes_data_ports_along_to_one_real_server() {
    let mut rig = Rig::new(&FTP);
    assert_eq!(rig.leaves_by(to(1, 21)), Some(R2));
    for port in [20, 1024, 65_535] {
        assert_eq!(rig.leaves_by(to(2, port)), Some(R2), "{port}");
    }
    for port in [22, 80, 1023] {
        assert_eq!(rig.send(C0, to(3, port)).verdict, Verdict::Pass, "{port}");
    }
    let tables = rig.host.snapshot(2).unwrap();
    let keys: Vec<_> = tables.templates.keys().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].vport, [0, 0]);
    assert_eq!(tables.dest_states[&1].persistent, 1);
}

#[test]
fn ftp_without_persistence_takes_no_data_ports() {
    let mut rig = Rig::new(&["-A -t 203.0.113.10:21 -s rr", FTP[1]]);
    assert_eq!(rig.leaves_by(to(1, 21)), Some(R1));
    assert_eq!(rig.send(C0, to(1, 20)).verdict, Verdict::Pass);
    assert_eq!(rig.send(C0, to(1, 2000)).verdict, Verdict::Pass);
}

#[test]
fn ftp_data_without_a_real_server_goes_to_the_stack() {
    let mut rig = Rig::new(&FTP[..1]);
    assert_eq!(rig.send(C0, to(1, 2000)).verdict, Verdict::Pass);
    assert_eq!(rig.leaves_by(to(1, 21)), Some(C0), "an error");
}

#[test]
fn port_0_service_takes_what_no_other_does() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:0 -s rr -p 60",
        "-a -t 203.0.113.10:0 -r 10.0.1.10:0 -m",
        "-A -t 203.0.113.10:80 -s rr",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -m",
    ]);
    assert_eq!(rig.leaves_by(to(1, 80)), Some(R2));
    let out = rig.send(C0, to(1, 8080));
    assert_eq!(link(&out), Some(R1));
    let port = ETHERNET + 22;
    assert_eq!(out.frame[port..port + 2], 8080_u16.to_be_bytes(), "kept");
    let udp = Packet::udp(client(1), vip(8080));
    assert_eq!(rig.send(C0, udp).verdict, Verdict::Pass, "not its protocol");
}

const ONE_PACKET: [&str; 3] = [
    "-A -u 203.0.113.10:53 -s rr -o",
    "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -m",
    "-a -u 203.0.113.10:53 -r 10.0.2.10:53 -g",
];

#[test]
fn one_packet_scheduling_keeps_nothing_and_counts() {
    let mut rig = Rig::new(&ONE_PACKET);
    let ways: Vec<_> = (0..6).map(|_| rig.leaves_by(datagram(1))).collect();
    assert_eq!(ways, [R2, R1, R2, R1, R2, R1].map(Some));
    let tables = rig.host.snapshot(2).unwrap();
    assert!(tables.conns.is_empty() && tables.half_open.is_empty());
    for id in 0..2 {
        assert_eq!(rig.counts(id), (0, 0, 0));
        let stats = tables.dest_stats[&id];
        assert_eq!((stats.conns, stats.in_packets, stats.in_bytes), (3, 3, 99));
    }
    assert_eq!(tables.reasons["one_packet"], 6);
    // Replies have no entry to go by.
    let reply = Packet::udp(real(1, 53), client(1));
    assert_eq!(rig.send(R1, reply).verdict, Verdict::Pass);
}

#[test]
fn one_packet_scheduling_keeps_templates_without_children() {
    let mut rig = Rig::new(&[
        "-A -u 203.0.113.10:53 -s rr -o -p 60",
        ONE_PACKET[1],
        ONE_PACKET[2],
    ]);
    assert!((0..6).all(|n| rig.leaves_by(datagram(n)) == Some(R2)));
    assert_eq!((rig.counts(0), rig.counts(1)), ((0, 0, 0), (0, 0, 1)));
    let children = |rig: &Rig| {
        let tables = rig.host.snapshot(0).unwrap();
        tables.templates.values().map(|t| t.children).sum::<u32>()
    };
    assert_eq!(children(&rig), 0);
    rig.pass(61);
    assert_eq!(rig.counts(1), (0, 0, 0));
}

#[test]
fn one_packet_flag_of_a_marked_service_is_about_datagrams_only() {
    let mut rig = Rig::with(
        |s| s.marks[C0] = 7,
        &["-A -f 7 -s rr -o", "-a -f 7 -r 10.0.1.10 -g"],
    );
    rig.send(C0, syn(1));
    rig.send(C0, datagram(1));
    let tables = rig.host.snapshot(1).unwrap();
    assert_eq!(tables.half_open.len(), 1);
    assert_eq!(rig.counts(0), (1, 0, 0));
}

/// An address beyond the director, in the network of the first real server.
const BEYOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 11), 80);

fn marked() -> Rig {
    let rig = Rig::with(
        |s| s.marks[C0] = 7,
        &["-A -f 7 -s rr", "-a -f 7 -r 10.0.2.10 -g -w 0"],
    );
    rig.host.tables().local_marks.insert(7);
    rig
}

#[test]
fn cache_bypass_sends_on_to_the_packets_own_destination() {
    let mut rig = marked();
    let request = |flags| Packet::tcp(client(1), BEYOND, flags);
    assert_eq!(rig.leaves_by(request(flag::SYN)), Some(C0), "off: an error");
    rig.knob("cache_bypass", "1");
    let out = rig.send(C0, request(flag::SYN));
    assert_eq!(link(&out), Some(R1));
    assert_eq!(
        out.frame[ETHERNET + 16..ETHERNET + 20],
        BEYOND.ip().octets()
    );
    assert_eq!(out.frame[ETHERNET + 8], 63, "one hop further");
    assert_eq!(rig.leaves_by(request(flag::ACK)), Some(R1));
    let (established, conn) = rig.entry_of(1).unwrap();
    assert!(established);
    assert_eq!(conn.dest, u32::MAX);
    assert_eq!((rig.counts(0), rig.reason("bypassed")), ((0, 0, 0), 1));
    // It stays where it is when somebody comes.
    rig.ipvsadm("-e -f 7 -r 10.0.2.10 -g -w 1");
    assert_eq!(rig.leaves_by(request(flag::ACK)), Some(R1));
    rig.pass(901);
    assert!(rig.entry_of(1).is_none());
}

#[test]
fn cache_bypass_does_not_lead_to_the_director_itself() {
    let mut rig = marked();
    rig.knob("cache_bypass", "1");
    assert_eq!(rig.leaves_by(syn(1)), Some(C0), "an error");
    assert_eq!(rig.reason("no_dest"), 1);
}
