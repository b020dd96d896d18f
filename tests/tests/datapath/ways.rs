//! Where packets go, how long they may be, and which are left alone.

use std::net::SocketAddrV4;

use ipvs_common::{Addr, PuntReason};
use ipvs_tests::{
    backend::{Backend, Verdict},
    packet::{ETHERNET, Packet, checksums_are_right, describe, flag},
};

use crate::rig::{C0, DROUTE, MASQ, R1, Rig, TUNNEL, ack, client, link, real, syn, vip};

#[test]
fn changed_route_is_taken_with_the_next_packet() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    let new = [2, 0, 0, 7, 7, 7];
    rig.host
        .tables()
        .four
        .neighbours
        .insert([10, 0, 1, 10], new);
    assert_ne!(rig.send(C0, ack(1)).frame[..6], new, "a cached way");
    rig.console.director().routes_changed().unwrap();
    assert_eq!(rig.send(C0, ack(1)).frame[..6], new);
}

#[test]
fn way_is_asked_again_after_a_second() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    let new = [2, 0, 0, 7, 7, 7];
    rig.host
        .tables()
        .four
        .neighbours
        .insert([10, 0, 1, 10], new);
    rig.pass(2);
    assert_eq!(rig.send(C0, ack(1)).frame[..6], new);
}

#[test]
fn packet_to_an_unresolved_neighbour_goes_to_the_daemon() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.host.tables().four.neighbours.remove(&[10, 0, 1, 10]);
    let out = rig.send(C0, syn(1));
    let (header, frame) = out.handed.unwrap();
    assert_eq!(header.reason, PuntReason::Neighbour as u32);
    assert_eq!(header.next_hop, Addr::v4([10, 0, 1, 10]));
    assert!(checksums_are_right(&frame));
}

#[test]
fn too_long_packet_is_answered_with_the_tunnels_mtu() {
    let mut rig = Rig::new(&TUNNEL);
    rig.send(C0, syn(1));
    let out = rig.send(C0, ack(1).data(1480 - 40 + 1));
    assert_eq!(link(&out), Some(C0));
    let icmp = &out.frame[ETHERNET + 20..];
    assert_eq!(icmp[..2], [3, 4]);
    assert_eq!(icmp[6..8], 1480_u16.to_be_bytes());
    assert_eq!(rig.leaves_by(ack(1).data(1480 - 40)), Some(R1));
}

#[test]
fn packet_that_may_be_fragmented_goes_to_the_daemon() {
    let mut rig = Rig::new(&TUNNEL);
    rig.send(C0, syn(1));
    let long = Packet {
        df: false,
        ..ack(1).data(1460)
    };
    let (header, frame) = rig.send(C0, long).handed.unwrap();
    assert_eq!(header.reason, PuntReason::Fragment as u32);
    assert_eq!(header.mtu, 1500);
    assert_eq!(frame.len(), ETHERNET + 20 + 1500);
}

#[test]
fn tunnel_starts_at_the_address_towards_the_real_server() {
    let mut rig = Rig::new(&TUNNEL);
    let out = rig.send(C0, syn(1));
    let outer = &out.frame[ETHERNET..];
    assert_eq!(outer[9], 4);
    assert_eq!(outer[12..20], [10, 0, 1, 1, 10, 0, 1, 10]);
}

#[test]
fn icmp_errors_are_limited_in_a_second() {
    let mut rig = Rig::new(&["-A -t 203.0.113.10:80 -s rr"]);
    rig.console
        .director()
        .adjust_settings(|s| s.icmp_rate = 3)
        .unwrap();
    let sent = |rig: &mut Rig| (0..10).filter(|n| rig.leaves_by(syn(*n)).is_some()).count();
    assert_eq!(sent(&mut rig), 3);
    rig.pass(1);
    assert_eq!(sent(&mut rig), 3);
}

#[test]
fn packet_for_others_passes_untouched() {
    let mut rig = Rig::new(&DROUTE);
    let packets = [
        Packet::tcp(client(1), vip(81), flag::SYN),
        Packet::tcp(client(1), real(1, 80), flag::SYN),
        ack(2),
        Packet {
            src: SocketAddrV4::new(*client(1).ip(), 20),
            ..syn(1)
        },
    ];
    for packet in packets {
        let frame = rig.address(C0, packet).frame();
        let out = rig.host.run(C0, &frame).unwrap();
        assert_eq!(out.verdict, Verdict::Pass, "{}", describe(&frame));
        assert_eq!(out.frame, frame);
    }
}

#[test]
fn frame_to_another_station_passes_untouched() {
    let mut rig = Rig::new(&DROUTE);
    let frame = syn(1).between([2; 6], [4; 6]).frame();
    let out = rig.host.run(C0, &frame).unwrap();
    assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &frame));
    assert!(rig.entry_of(1).is_none());
}

#[test]
fn reply_that_may_not_go_on_is_not_counted() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let reply = Packet {
        ttl: 1,
        ..Packet::tcp(real(1, 8080), client(1), flag::RST)
    };
    assert_eq!(rig.send(R1, reply).verdict, Verdict::Pass);
    let tables = rig.host.snapshot(1).unwrap();
    assert_eq!(tables.dest_stats[&0].out_packets, 0);
    assert_eq!(tables.dest_states[&0].active, 1);
}

#[test]
fn masqueraded_reply_carries_the_virtual_address() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    let reply = Packet::tcp(real(1, 8080), client(1), flag::SYN | flag::ACK);
    let out = rig.send(R1, reply);
    assert_eq!(link(&out), Some(C0));
    assert_eq!(
        out.frame[ETHERNET + 12..ETHERNET + 16],
        vip(80).ip().octets()
    );
    assert_eq!(
        out.frame[ETHERNET + 20..ETHERNET + 22],
        80_u16.to_be_bytes()
    );
    assert!(checksums_are_right(&out.frame));
}
