//! ICMPv6 errors: to whom they go, and what they quote there.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, IcmpError, Packet, checksum_of_six, flag},
    six::six,
};

use crate::rig::{C0, DROUTE, MASQ, R1, Rig, TUNNEL, ack, client, datagram, link, real, syn, vip};

const PORT_UNREACHABLE: (u8, u8) = (1, 4);
const ADDRESS_UNREACHABLE: (u8, u8) = (1, 3);
const TOO_BIG: (u8, u8) = (2, 0);
const TIME_EXCEEDED: (u8, u8) = (3, 0);
const PARAMETER_PROBLEM: (u8, u8) = (4, 1);
const ERRORS: [(u8, u8); 4] = [PORT_UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM];

/// Length of an IPv6 header, and of one with that of ICMP.
const HEADER: usize = 40;
const HEADERS: usize = HEADER + 8;
const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;

fn router() -> Ipv6Addr {
    six(Ipv4Addr::new(192, 0, 2, 254))
}

/// A router on the first real server's link.
fn router_behind() -> Ipv6Addr {
    six(Ipv4Addr::new(10, 0, 1, 77))
}

/// The director's address there.
fn own() -> Ipv6Addr {
    six(Ipv4Addr::new(10, 0, 1, 1))
}

/// Puts an error on a link and runs it.
pub(crate) fn report(rig: &mut Rig, link: usize, error: IcmpError) -> Outcome {
    let mac = rig.host.setup().network.links[link].mac;
    let frame = error.between([2, 0, 0, 9, 9, 9], mac).frame();
    rig.host.run(link, &frame).unwrap()
}

fn over_six(packet: Packet) -> Packet {
    Packet {
        six: true,
        ..packet
    }
}

/// An answer of the virtual address to a client's segment.
fn answer(n: u16) -> Packet {
    over_six(Packet::tcp(vip(80), client(n), flag::ACK))
}

pub(crate) fn about_answer(n: u16) -> IcmpError {
    IcmpError::about(&answer(n).frame(), router(), PORT_UNREACHABLE)
}

/// Source and destination of an IPv6 packet.
fn ends(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    let at = |from| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[from..from + 16]).unwrap());
    (at(8), at(24))
}

fn ports(packet: &[u8]) -> (u16, u16) {
    let at = |from| u16::from_be_bytes([packet[HEADER + from], packet[HEADER + from + 1]]);
    (at(0), at(2))
}

/// The packet that an error in a frame quotes; the error's checksum is right.
fn quoted(frame: &[u8]) -> &[u8] {
    let packet = &frame[ETHERNET..];
    let (src, dst) = ends(packet);
    assert_eq!(checksum_of_six(src, dst, &packet[HEADER..]), 0);
    &packet[HEADERS..]
}

fn said(frame: &[u8]) -> (u8, u8) {
    (frame[ETHERNET + HEADER], frame[ETHERNET + HEADER + 1])
}

#[test]
fn error_of_any_kind_about_a_masqueraded_answer_reaches_its_real_server() {
    for kind in ERRORS {
        let mut rig = Rig::over_six(&MASQ);
        rig.send(C0, syn(1));
        let error = IcmpError {
            mtu: 1300,
            ..IcmpError::about(&answer(1).frame(), router(), kind)
        };
        let out = report(&mut rig, C0, error);
        assert_eq!(link(&out), Some(R1), "{kind:?}");
        let server = real(1, 8080);
        assert_eq!(ends(&out.frame[ETHERNET..]), (router(), six(*server.ip())));
        assert_eq!(said(&out.frame), kind);
        let message = &out.frame[ETHERNET + HEADER..];
        assert_eq!(message[4..8], 1300_u32.to_be_bytes());
        let inside = quoted(&out.frame);
        assert_eq!(ends(inside), (six(*server.ip()), six(*client(1).ip())));
        assert_eq!(ports(inside), (8080, client(1).port()));
        assert_eq!(rig.reason("icmp_relayed"), 1);
    }
}

#[test]
fn error_about_a_masqueraded_request_comes_from_the_virtual_address() {
    let mut rig = Rig::over_six(&MASQ);
    let sent = rig.send(C0, datagram(1)).frame;
    for from in [six(*real(1, 0).ip()), router_behind()] {
        for kind in ERRORS {
            let out = report(&mut rig, R1, IcmpError::about(&sent, from, kind));
            assert_eq!(link(&out), Some(C0));
            let (src, dst) = ends(&out.frame[ETHERNET..]);
            assert_eq!((src, dst), (six(*vip(53).ip()), six(*client(1).ip())));
            let inside = quoted(&out.frame);
            assert_eq!(ends(inside), (dst, src));
            assert_eq!(ports(inside), (client(1).port(), 53));
        }
    }
}

#[test]
fn error_goes_by_direct_routing_as_it_is() {
    let mut rig = Rig::over_six(&DROUTE[..2]);
    rig.send(C0, syn(1));
    let error = about_answer(1);
    let before = error.frame();
    let out = report(&mut rig, C0, error);
    assert_eq!(link(&out), Some(R1));
    let (got, hop_limit) = (&out.frame[ETHERNET..], ETHERNET + 7);
    assert_eq!(out.frame[hop_limit], before[hop_limit] - 1);
    assert_eq!(got[8..], before[ETHERNET + 8..]);
}

#[test]
fn error_goes_through_a_tunnel() {
    let mut rig = Rig::over_six(&TUNNEL);
    rig.send(C0, syn(1));
    let out = report(&mut rig, C0, about_answer(1));
    assert_eq!(link(&out), Some(R1));
    let packet = &out.frame[ETHERNET..];
    assert_eq!(ends(packet), (own(), six(*real(1, 0).ip())));
    assert_eq!(ends(&packet[HEADER..]), (router(), six(*vip(80).ip())));
    quoted(&out.frame[HEADER..]);
}

#[test]
fn error_and_what_it_quotes_may_have_extension_headers() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    let options = || (DESTINATION_OPTIONS, vec![0; 8]);
    let answer = Packet {
        extensions: vec![options(), options()],
        ..answer(1)
    };
    let error = IcmpError {
        extensions: vec![options()],
        ..IcmpError::about(&answer.frame(), router(), PORT_UNREACHABLE)
    };
    let out = report(&mut rig, C0, error);
    assert_eq!(link(&out), Some(R1));
    let packet = &out.frame[ETHERNET..];
    let (src, dst) = ends(packet);
    assert_eq!(checksum_of_six(src, dst, &packet[HEADER + 8..]), 0);
    let inside = &packet[HEADERS + 8..];
    assert_eq!(ends(inside).0, six(*real(1, 0).ip()));
    assert_eq!(ports(&inside[16..]), (8080, client(1).port()));
}

#[test]
fn first_piece_of_an_answer_is_known_by_its_ports_and_the_others_are_not() {
    let mut rig = Rig::over_six(&DROUTE[..2]);
    rig.send(C0, syn(1));
    for (place, leaves) in [(1, Some(R1)), (8, None)] {
        let piece = Packet {
            extensions: vec![(FRAGMENT, vec![0, 0, 0, place, 0, 0, 0, 7])],
            ..answer(1)
        };
        let error = IcmpError::about(&piece.frame(), router(), TIME_EXCEEDED);
        assert_eq!(link(&report(&mut rig, C0, error)), leaves);
    }
    assert_eq!(rig.reason("icmp_stranger"), 1);
}

#[test]
fn error_moves_neither_state_nor_timer() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    let before = rig.entry_of(1).unwrap();
    rig.pass(1);
    report(&mut rig, C0, about_answer(1));
    assert_eq!(rig.entry_of(1).unwrap(), before);
}

#[test]
fn error_about_a_connection_that_is_over_is_nobodys() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    rig.clock_moves(61);
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Pass);
    assert_eq!(rig.reason("icmp_stranger"), 1);
}

#[test]
fn error_about_a_connection_that_its_real_server_keeps_alive_goes_on() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, datagram(1));
    rig.clock_moves(200);
    rig.send(R1, Packet::udp(real(1, 5353), client(1)));
    rig.clock_moves(200);
    let answer = over_six(Packet::udp(vip(53), client(1))).frame();
    let error = IcmpError::about(&answer, router(), PORT_UNREACHABLE);
    assert_eq!(link(&report(&mut rig, C0, error)), Some(R1));
}

#[test]
fn error_with_a_wrong_checksum_goes_nowhere() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    let mac = rig.host.setup().network.links[C0].mac;
    let frame = about_answer(1).between([2; 6], mac).frame();
    // The addresses are among what the checksum is of.
    for at in [ETHERNET + HEADER + 2, ETHERNET + 20] {
        let mut frame = frame.clone();
        frame[at] ^= 1;
        assert_eq!(rig.host.run(C0, &frame).unwrap().verdict, Verdict::Drop);
    }
    assert_eq!(rig.reason("icmp_checksum"), 2);
}

#[test]
fn error_that_may_go_no_farther_ends_in_silence() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    let error = IcmpError {
        ttl: 1,
        ..about_answer(1)
    };
    assert_eq!(report(&mut rig, C0, error).verdict, Verdict::Drop);
    assert_eq!(rig.reason("icmp_ttl_exceeded"), 1);
    let long = answer(1).data(1460).frame();
    let error = IcmpError::about(&long, router(), PORT_UNREACHABLE);
    assert_eq!(report(&mut rig, C0, error).verdict, Verdict::Drop);
    assert_eq!(rig.reason("icmp_too_big"), 1);
}

#[test]
fn other_messages_and_strangers_pass_untouched() {
    let mut rig = Rig::over_six(&MASQ);
    rig.send(C0, syn(1));
    let of_kind = |kind| IcmpError {
        kind,
        code: 0,
        ..about_answer(1)
    };
    // Echo, the four of neighbour discovery, redirect.
    let others = [128, 129, 133, 134, 135, 136, 137].map(of_kind);
    for error in others.into_iter().chain([about_answer(2)]) {
        let mac = rig.host.setup().network.links[C0].mac;
        let frame = error.between([2; 6], mac).frame();
        let out = rig.host.run(C0, &frame).unwrap();
        assert_eq!((out.verdict, out.frame), (Verdict::Pass, frame));
    }
}

#[test]
fn error_to_a_client_of_direct_routing_counts_and_passes() {
    let mut rig = Rig::over_six(&DROUTE[..2]);
    let sent = rig.send(C0, syn(1)).frame;
    let error = IcmpError::about(&sent, router_behind(), PORT_UNREACHABLE);
    assert_eq!(report(&mut rig, R1, error).verdict, Verdict::Pass);
    assert_eq!(rig.reason("icmp_of_request"), 1);
}

#[test]
fn narrow_way_of_a_tunnel_is_remembered_for_ten_minutes() {
    let mut rig = Rig::over_six(&TUNNEL);
    rig.send(C0, syn(1));
    let long = || ack(1).data(1430 - 60);
    let sent = rig.send(C0, long()).frame;
    let mut error = IcmpError::about(&sent, router_behind(), TOO_BIG);
    error.mtu = 1400;
    let told = report(&mut rig, R1, error.clone());
    let answered = rig.send(C0, long());
    for out in [&told, &answered] {
        assert_eq!(link(out), Some(C0));
        assert_eq!(said(&out.frame), TOO_BIG);
        let message = &out.frame[ETHERNET + HEADER..];
        assert_eq!(message[4..8], 1360_u32.to_be_bytes());
        let packet = &out.frame[ETHERNET..];
        assert_eq!(ends(packet), (six(*vip(80).ip()), six(*client(1).ip())));
        let inside = quoted(&out.frame);
        assert_eq!(ends(inside), (six(*client(1).ip()), six(*vip(80).ip())));
    }
    assert_eq!(rig.leaves_by(ack(1).data(1360 - 60)), Some(R1));
    rig.pass(599);
    assert_eq!(rig.leaves_by(long()), Some(C0));
    // A wider way is no news.
    error.mtu = 1450;
    report(&mut rig, R1, error);
    assert_eq!(rig.leaves_by(long()), Some(C0));
    rig.pass(3);
    assert_eq!(rig.leaves_by(long()), Some(R1));
}

#[test]
fn no_router_makes_a_tunnel_narrower_than_ipv6_allows() {
    let mut rig = Rig::over_six(&TUNNEL);
    rig.send(C0, syn(1));
    let sent = rig.send(C0, ack(1).data(1300)).frame;
    let error = IcmpError {
        mtu: 600,
        ..IcmpError::about(&sent, router_behind(), TOO_BIG)
    };
    let out = report(&mut rig, R1, error);
    let message = &out.frame[ETHERNET + HEADER..];
    assert_eq!(message[4..8], 1280_u32.to_be_bytes());
    assert_eq!(rig.leaves_by(ack(1).data(1280 - 60)), Some(R1));
    assert_eq!(rig.leaves_by(ack(1).data(1281 - 60)), Some(C0));
}

#[test]
fn nobody_but_the_way_itself_makes_a_tunnel_narrow() {
    let mut rig = Rig::over_six(&TUNNEL);
    rig.send(C0, syn(1));
    let sent = rig.send(C0, ack(1).data(1340)).frame;
    let error = IcmpError {
        mtu: 1350,
        ..IcmpError::about(&sent, router_behind(), TOO_BIG)
    };
    let mut other_real = error.clone();
    other_real.quoted[39] ^= 1;
    let mut other_director = error.clone();
    other_director.dst = six(Ipv4Addr::new(10, 0, 1, 2)).into();
    let mut other_flow = error.clone();
    other_flow.quoted[2 * HEADER + 1] ^= 1;
    for forged in [other_real, other_director, other_flow] {
        assert_eq!(report(&mut rig, R1, forged).verdict, Verdict::Pass);
        assert_eq!(rig.reason("path_mtu"), 0);
    }
    report(&mut rig, R1, error);
    assert_eq!(rig.reason("path_mtu"), 1);
}

#[test]
fn end_of_a_tunnels_packet_is_told_its_client() {
    for (kind, told) in [
        (PORT_UNREACHABLE, PORT_UNREACHABLE),
        (TIME_EXCEEDED, TIME_EXCEEDED),
        // What is wrong is not the client's header.
        (PARAMETER_PROBLEM, ADDRESS_UNREACHABLE),
    ] {
        let mut rig = Rig::over_six(&TUNNEL);
        let sent = rig.send(C0, syn(1)).frame;
        let out = report(&mut rig, R1, IcmpError::about(&sent, router_behind(), kind));
        assert_eq!(link(&out), Some(C0));
        let packet = &out.frame[ETHERNET..];
        assert_eq!(ends(packet), (six(*vip(80).ip()), six(*client(1).ip())));
        assert_eq!(said(&out.frame), told);
        assert_eq!(quoted(&out.frame).len(), 60);
    }
}
