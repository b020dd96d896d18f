//! ICMP errors: to whom they go, what they quote there, and how many.

use std::net::Ipv4Addr;

use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, IcmpError, Packet, checksum, flag},
};

use crate::rig::{
    C0, DROUTE, MASQ, R1, R2, Rig, TUNNEL, ack, client, datagram, link, real, syn, vip,
};

const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const TIME_EXCEEDED: (u8, u8) = (11, 0);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// Puts an error on a link and runs it.
pub(crate) fn report(rig: &mut Rig, link: usize, error: IcmpError) -> Outcome {
    let mac = rig.host.setup().network.links[link].mac;
    let frame = error.between([2, 0, 0, 9, 9, 9], mac).frame();
    rig.host.run(link, &frame).unwrap()
}

/// About an answer of the virtual address to a client's segment.
fn about_answer(n: u16) -> IcmpError {
    let answer = Packet::tcp(vip(80), client(n), flag::ACK).frame();
    IcmpError::about(&answer, ROUTER, PORT_UNREACHABLE)
}

/// Source and destination of an IP packet, with the first four bytes of what it carries.
fn ends(packet: &[u8]) -> ([u8; 4], [u8; 4], [u8; 4]) {
    let at = |from: usize| {
        [
            packet[from],
            packet[from + 1],
            packet[from + 2],
            packet[from + 3],
        ]
    };
    (at(12), at(16), at(20))
}

fn ports(a: u16, b: u16) -> [u8; 4] {
    ((u32::from(a) << 16) | u32::from(b)).to_be_bytes()
}

/// The packet that an error in a frame quotes; its own checksums and the quoted header's are right.
fn quoted(frame: &[u8]) -> &[u8] {
    let packet = &frame[ETHERNET..];
    assert_eq!(checksum(&packet[..20]), 0, "header");
    assert_eq!(checksum(&packet[20..]), 0, "message");
    assert_eq!(checksum(&packet[28..48]), 0, "quoted header");
    &packet[28..]
}

#[test]
fn error_about_a_masqueraded_answer_reaches_its_real_server() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let out = report(&mut rig, C0, about_answer(1));
    assert_eq!(link(&out), Some(R1));
    let server = real(1, 8080);
    let (src, dst, _) = ends(&out.frame[ETHERNET..]);
    assert_eq!((src, dst), (ROUTER.octets(), server.ip().octets()));
    let (from, to, at) = ends(quoted(&out.frame));
    assert_eq!((from, to), (server.ip().octets(), client(1).ip().octets()));
    assert_eq!(at, ports(8080, client(1).port()));
    assert_eq!(rig.reason("icmp_relayed"), 1);
}

#[test]
fn error_about_a_masqueraded_request_comes_from_the_virtual_address() {
    let mut rig = Rig::new(&MASQ);
    let sent = rig.send(C0, datagram(1)).frame;
    for from in [*real(1, 0).ip(), Ipv4Addr::new(10, 0, 1, 77)] {
        let out = report(
            &mut rig,
            R1,
            IcmpError::about(&sent, from, PORT_UNREACHABLE),
        );
        assert_eq!(link(&out), Some(C0));
        let (src, dst, _) = ends(&out.frame[ETHERNET..]);
        assert_eq!((src, dst), (vip(53).ip().octets(), client(1).ip().octets()));
        let (from, to, at) = ends(quoted(&out.frame));
        assert_eq!((from, to), (dst, src));
        assert_eq!(at, ports(client(1).port(), 53));
    }
}

#[test]
fn error_goes_by_direct_routing_as_it_is() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.send(C0, syn(1));
    let error = about_answer(1);
    let before = error.frame();
    let out = report(&mut rig, C0, error);
    assert_eq!(link(&out), Some(R1));
    assert_eq!(out.frame[ETHERNET + 12..], before[ETHERNET + 12..]);
}

#[test]
fn error_goes_through_a_tunnel() {
    let mut rig = Rig::new(&TUNNEL);
    rig.send(C0, syn(1));
    let out = report(&mut rig, C0, about_answer(1));
    assert_eq!(link(&out), Some(R1));
    let (src, dst, _) = ends(&out.frame[ETHERNET..]);
    assert_eq!((src, dst), ([10, 0, 1, 1], [10, 0, 1, 10]));
    let (src, dst, _) = ends(&out.frame[ETHERNET + 20..]);
    assert_eq!((src, dst), (ROUTER.octets(), vip(80).ip().octets()));
}

#[test]
fn error_moves_neither_state_nor_timer() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let before = rig.entry_of(1).unwrap();
    rig.pass(1);
    report(&mut rig, C0, about_answer(1));
    assert_eq!(rig.entry_of(1).unwrap(), before);
}

#[test]
fn error_about_a_connection_that_is_over_is_nobodys() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    rig.clock_moves(61);
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Pass);
    assert_eq!(rig.reason("icmp_stranger"), 1);
}

#[test]
fn error_about_a_connection_that_its_real_server_keeps_alive_goes_on() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, datagram(1));
    rig.clock_moves(200);
    rig.send(R1, Packet::udp(real(1, 5353), client(1)));
    rig.clock_moves(200);
    let answer = Packet::udp(vip(53), client(1)).frame();
    let error = IcmpError::about(&answer, ROUTER, PORT_UNREACHABLE);
    assert_eq!(link(&report(&mut rig, C0, error)), Some(R1));
}

#[test]
fn error_opens_anew_what_is_over() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.knob("schedule_icmp", "1");
    rig.send(C0, syn(1));
    rig.clock_moves(61);
    assert_eq!(link(&report(&mut rig, C0, about_answer(1))), Some(R1));
    assert_eq!(rig.counts(0), (0, 1, 0));
}

#[test]
fn error_with_a_wrong_checksum_goes_nowhere() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let mac = rig.host.setup().network.links[C0].mac;
    let mut frame = about_answer(1).between([2; 6], mac).frame();
    frame[ETHERNET + 22] ^= 1;
    assert_eq!(rig.host.run(C0, &frame).unwrap().verdict, Verdict::Drop);
    assert_eq!(rig.reason("icmp_checksum"), 1);
}

#[test]
fn other_messages_and_strangers_pass_untouched() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let echo = IcmpError {
        kind: 8,
        code: 0,
        ..about_answer(1)
    };
    let redirect = IcmpError {
        kind: 5,
        code: 1,
        ..about_answer(1)
    };
    for error in [echo, redirect, about_answer(2)] {
        let mac = rig.host.setup().network.links[C0].mac;
        let frame = error.between([2; 6], mac).frame();
        let out = rig.host.run(C0, &frame).unwrap();
        assert_eq!((out.verdict, out.frame), (Verdict::Pass, frame));
    }
}

#[test]
fn narrow_way_of_a_tunnel_is_remembered_for_ten_minutes() {
    let mut rig = Rig::new(&TUNNEL);
    rig.send(C0, syn(1));
    let long = || ack(1).data(1400 - 40);
    let sent = rig.send(C0, long()).frame;
    let router = Ipv4Addr::new(10, 0, 1, 77);
    let mut error = IcmpError::about(&sent, router, FRAGMENTATION_NEEDED);
    error.mtu = 1300;
    let told = report(&mut rig, R1, error.clone());
    let answered = rig.send(C0, long());
    for out in [&told, &answered] {
        assert_eq!(link(out), Some(C0));
        let message = &out.frame[ETHERNET + 20..];
        assert_eq!((message[0], message[1]), FRAGMENTATION_NEEDED);
        assert_eq!(message[6..8], 1280_u16.to_be_bytes());
        let (src, dst, _) = ends(quoted(&out.frame));
        assert_eq!((src, dst), (client(1).ip().octets(), vip(80).ip().octets()));
    }
    assert_eq!(rig.leaves_by(ack(1).data(1280 - 40)), Some(R1));
    rig.pass(599);
    assert_eq!(rig.leaves_by(long()), Some(C0));
    // A wider way is no news.
    error.mtu = 1400;
    report(&mut rig, R1, error);
    assert_eq!(rig.leaves_by(long()), Some(C0));
    rig.pass(3);
    assert_eq!(rig.leaves_by(long()), Some(R1));
}

#[test]
fn nobody_but_the_way_itself_makes_a_tunnel_narrow() {
    let mut rig = Rig::new(&TUNNEL);
    rig.send(C0, syn(1));
    let sent = rig.send(C0, ack(1).data(1360)).frame;
    let error = IcmpError {
        mtu: 600,
        ..IcmpError::about(&sent, ROUTER, FRAGMENTATION_NEEDED)
    };
    let mut other_real = error.clone();
    other_real.quoted[19] = 11;
    let mut other_director = error.clone();
    other_director.dst = Ipv4Addr::new(10, 0, 1, 2).into();
    let mut other_flow = error.clone();
    other_flow.quoted[20 + 21] ^= 1;
    for forged in [other_real, other_director, other_flow] {
        assert_eq!(report(&mut rig, R1, forged).verdict, Verdict::Pass);
        assert_eq!(rig.reason("path_mtu"), 0);
    }
    report(&mut rig, R1, error);
    assert_eq!(rig.reason("path_mtu"), 1);
}

#[test]
fn end_of_a_tunnels_packet_is_told_its_client() {
    let mut rig = Rig::new(&TUNNEL);
    let sent = rig.send(C0, syn(1)).frame;
    let error = IcmpError::about(&sent, Ipv4Addr::new(10, 0, 1, 77), TIME_EXCEEDED);
    let out = report(&mut rig, R1, error);
    assert_eq!(link(&out), Some(C0));
    let (src, dst, message) = ends(&out.frame[ETHERNET..]);
    assert_eq!((src, dst), (vip(80).ip().octets(), client(1).ip().octets()));
    assert_eq!((message[0], message[1]), TIME_EXCEEDED);
    assert_eq!(quoted(&out.frame).len(), 40);
}

#[test]
fn client_is_told_six_times_and_then_once_a_second() {
    let mut rig = Rig::new(&["-A -t 203.0.113.10:80 -s rr"]);
    let sent = |rig: &mut Rig| (0..10).filter(|n| rig.leaves_by(syn(*n)).is_some()).count();
    assert_eq!(sent(&mut rig), 6);
    assert_eq!(rig.reason("icmp_peer_limited"), 4);
    rig.pass(2);
    assert_eq!(sent(&mut rig), 2);
    rig.pass(60);
    assert_eq!(sent(&mut rig), 6);
}

#[test]
fn discovery_of_a_narrow_way_has_a_share_of_its_own() {
    let mut rig = Rig::new(&[&TUNNEL[..], &["-A -t 203.0.113.10:81 -s rr"]].concat());
    rig.send(C0, syn(1));
    let limit = |s: &mut ipvs_common::Settings| s.icmp_rate = 3;
    rig.console.director().adjust_settings(limit).unwrap();
    for n in 0..10 {
        rig.send(C0, Packet::tcp(client(n), vip(81), flag::SYN));
    }
    assert_eq!(rig.reason("icmp_limited"), 7);
    let long = || ack(1).data(1460);
    assert_eq!(rig.leaves_by(long()), Some(C0));
    assert_eq!(rig.leaves_by(long()), Some(C0));
}

#[test]
fn error_opens_a_connection_where_that_is_asked_for() {
    let mut rig = Rig::new(&DROUTE);
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Pass);
    assert!(rig.entry_of(1).is_none());
    rig.knob("schedule_icmp", "1");
    let out = report(&mut rig, C0, about_answer(1));
    assert_eq!(link(&out), Some(R2));
    let (established, conn) = rig.entry_of(1).unwrap();
    assert_eq!((established, conn.status.state), (false, 0));
    assert_eq!(rig.counts(1), (0, 1, 0));
    rig.pass(4);
    assert!(rig.entry_of(1).is_none());
    assert_eq!(rig.counts(1), (0, 0, 0));
}

#[test]
fn error_that_nobody_is_there_for_goes_nowhere() {
    let mut rig = Rig::new(&["-A -t 203.0.113.10:80 -s rr"]);
    rig.knob("schedule_icmp", "1");
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Drop);
    assert_eq!(rig.reason("icmp_no_dest"), 1);
}

/// A router on the real servers' side speaks of a packet that a client's connection, which is over by now, led there.
#[test]
fn error_opens_a_connection_where_an_answer_was_due_once() {
    let mut rig = Rig::new(&MASQ[..2]);
    rig.knob("schedule_icmp", "1");
    let sent = rig.send(C0, syn(1));
    let quoted = sent.frame;
    let service = client(1);
    rig.ipvsadm(&format!("-A -t {service} -s rr -p 300"));
    rig.ipvsadm(&format!("-a -t {service} -r {} -m", real(2, 80)));
    rig.clock_moves(61);
    let error = IcmpError::about(&quoted, ROUTER, PORT_UNREACHABLE);
    let out = report(&mut rig, R1, error);
    assert_eq!(link(&out), Some(R2));
}
