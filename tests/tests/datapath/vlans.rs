//! Frames of VLANs: which device they come in by, what they get when they leave, and that others stay as they are.

use ipvs_common::PuntReason;
use ipvs_tests::{
    backend::{Backend, Outcome, TestVlan, Verdict, untagged, with_tags},
    packet::{ETHERNET, Packet, checksums_are_right, flag, pieces},
};

use crate::matches::{rule, set};
use crate::rig::{C0, DROUTE, MASQ, R1, R2, Rig, TUNNEL, ack, datagram, real, syn};

/// The clients' link is VLAN 10 on the first real server's, and the second real server's is in two tags there.
const CLIENTS: TestVlan = TestVlan::one(C0, R1, 10, true);
const SECOND: TestVlan = TestVlan::two(R2, R1, 100, 7, true);

fn rig(commands: &[&str]) -> Rig {
    Rig::with(|setup| setup.vlans = vec![CLIENTS, SECOND], commands)
}

/// Puts a client's packet on the port, in its VLAN.
fn from_client(rig: &mut Rig, packet: Packet) -> (Vec<u8>, Outcome) {
    let frame = rig.address(C0, packet).frame();
    let frame = CLIENTS.frame(&frame, 5);
    let out = rig.host.run(R1, &frame).unwrap();
    (frame, out)
}

/// The tags of a frame that leaves by a link.
fn leaves(out: &Outcome, by: usize) -> Vec<u8> {
    assert_eq!(out.verdict, Verdict::Redirect(Some(by)));
    let (frame, tags) = untagged(&out.frame);
    assert!(checksums_are_right(&frame));
    tags
}

#[test]
fn clients_in_a_vlan_reach_a_real_server_without_and_one_in_two_tags() {
    let mut rig = rig(&DROUTE);
    let mut tags = Vec::new();
    for n in 1..=2 {
        for packet in [syn(n), ack(n), ack(n).data(100)] {
            let out = from_client(&mut rig, packet).1;
            tags.push(leaves(&out, R1));
        }
    }
    let plain = tags.iter().filter(|t| t.is_empty()).count();
    let two = tags.iter().filter(|t| **t == SECOND.tags).count();
    assert_eq!((plain, two), (3, 3), "no priority is taken along");
}

#[test]
fn replies_of_masqueraded_servers_come_and_go_in_their_vlans() {
    let mut rig = rig(&[
        "-A -t 203.0.113.10:80 -s rr",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:8080 -m",
    ]);
    assert_eq!(leaves(&from_client(&mut rig, syn(1)).1, R1), SECOND.tags);
    for _ in 0..2 {
        let reply = Packet::tcp(real(2, 8080), crate::rig::client(1), flag::SYN | flag::ACK);
        let frame = rig.address(R2, reply).frame();
        let out = rig.host.run(R1, &SECOND.frame(&frame, 0)).unwrap();
        assert_eq!(leaves(&out, R1), CLIENTS.tags[..4]);
    }
}

#[test]
fn a_tunnel_may_leave_by_a_vlan() {
    let mut rig = Rig::with(
        |setup| setup.vlans = vec![TestVlan::one(R1, C0, 20, true)],
        &TUNNEL,
    );
    rig.send(C0, syn(1));
    let out = rig.send(C0, ack(1).data(100));
    assert_eq!(leaves(&out, C0), [0x81, 0, 0, 20]);
    let outer = &untagged(&out.frame).0[ETHERNET..];
    assert_eq!(outer[9], 4, "IP in IP");
}

#[test]
fn whoever_can_sends_back_by_the_same_port() {
    let mut rig = Rig::with(
        |setup| {
            setup.vlans = vec![CLIENTS, SECOND];
            setup.sends_back = true;
        },
        &DROUTE,
    );
    // To the real server without tags, then to that with two.
    for _ in 0..2 {
        let tags = [1, 2].map(|n| {
            let out = from_client(&mut rig, syn(n)).1;
            assert_eq!(out.verdict, Verdict::Tx);
            untagged(&out.frame).1
        });
        assert!(tags.contains(&Vec::new()), "{tags:?}");
        assert!(tags.contains(&SECOND.tags.to_vec()), "{tags:?}");
    }
}

#[test]
fn what_is_not_the_directors_keeps_its_tags() {
    let mut rig = rig(&DROUTE);
    let stranger = Packet::tcp(crate::rig::client(1), crate::rig::vip(81), flag::SYN);
    let (frame, out) = from_client(&mut rig, stranger);
    assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &frame));
    assert_eq!(rig.reason("no_service"), 1);
    let (frame, out) = from_client(
        &mut rig,
        Packet {
            ttl: 1,
            ..datagram(1)
        },
    );
    assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &frame));
}

#[test]
fn frames_of_other_vlans_are_not_looked_into() {
    let mut rig = rig(&DROUTE);
    let frame = rig.address(C0, syn(1)).frame();
    let own = CLIENTS.frame(&frame, 0);
    let others = [
        TestVlan::one(C0, R1, 11, true).frame(&frame, 0),
        // The outer one is known; in it another one than is known.
        TestVlan::two(C0, R1, 100, 8, true).frame(&frame, 3),
        CLIENTS.frame(&own, 0),
        SECOND.frame(&own, 0),
    ];
    for other in others {
        let out = rig.host.run(R1, &other).unwrap();
        assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &other));
    }
    assert_eq!(rig.reason("vlan_unknown"), 4);
    // Known, but not there.
    let out = rig.host.run(R2, &own).unwrap();
    assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &own));
    assert_eq!(rig.reason("vlan_unknown"), 5);
}

#[test]
fn tagged_frames_that_end_early_pass_as_they_are() {
    let mut rig = rig(&DROUTE);
    let frame = CLIENTS.frame(&rig.address(C0, syn(1)).frame(), 7);
    for len in 14..18 + 40 {
        let short = &frame[..len];
        let out = rig.host.run(R1, short).unwrap();
        assert_eq!((out.verdict, &out.frame[..]), (Verdict::Pass, short));
    }
}

#[test]
fn arp_in_a_vlan_is_the_kernels() {
    let mut rig = rig(&DROUTE);
    let mut arp = CLIENTS.frame(&rig.address(C0, syn(1)).frame(), 0);
    arp[16..18].copy_from_slice(&[0x08, 0x06]);
    let out = rig.host.run(R1, &arp).unwrap();
    assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &arp));
    assert_eq!(rig.reason("not_ip"), 1);
}

#[test]
fn a_priority_without_a_vlan_changes_nothing() {
    let mut rig = Rig::with(
        |setup| setup.vlans = vec![TestVlan::one(C0, C0, 0, false)],
        &TUNNEL,
    );
    let frame = rig.address(C0, syn(1)).frame();
    let out = rig
        .host
        .run(C0, &with_tags(&frame, &[0x81, 0, 0xe0, 0]))
        .unwrap();
    assert_eq!(leaves(&out, R1), [0_u8; 0]);
}

#[test]
fn errors_go_back_with_the_tag_that_the_packet_came_with() {
    let mut rig = rig(&DROUTE);
    from_client(&mut rig, syn(1));
    let out = from_client(&mut rig, Packet { ttl: 1, ..ack(1) }).1;
    assert_eq!(leaves(&out, R1), CLIENTS.tags[..4]);
    assert_eq!(untagged(&out.frame).0[ETHERNET + 20], 11, "time exceeded");
}

#[test]
fn two_tags_leave_less_room_in_a_port() {
    let mut rig = rig(&[
        "-A -t 203.0.113.10:80 -s rr",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    from_client(&mut rig, syn(1));
    let out = from_client(&mut rig, ack(1).data(1496 - 40)).1;
    assert_eq!(leaves(&out, R1), SECOND.tags);
    let out = from_client(&mut rig, ack(1).data(1496 - 40 + 1)).1;
    let icmp = &untagged(&out.frame).0[ETHERNET + 20..];
    assert_eq!((icmp[0], &icmp[6..8]), (3, &1496_u16.to_be_bytes()[..]));
    // What may be cut is: by the daemon, who sends it by the device.
    let long = Packet {
        df: false,
        ..ack(1).data(1496 - 40 + 1)
    };
    let (header, frame) = from_client(&mut rig, long).1.handed.unwrap();
    assert_eq!(header.ifindex, rig.host.setup().network.links[R2].ifindex);
    assert_eq!(header.mtu, 1496);
    assert!(untagged(&frame).1.is_empty());
}

#[test]
fn fragments_that_come_early_are_held_with_their_tags() {
    let mut rig = rig(&MASQ);
    let long = Packet {
        df: false,
        id: 77,
        ..datagram(1).data(1600)
    };
    let whole = rig.address(C0, long).frame();
    let cut = pieces(&whole, false, &[800], 77);
    let later = CLIENTS.frame(&cut[1], 2);
    let out = rig.host.run(R1, &later).unwrap();
    let (header, frame) = out.handed.unwrap();
    assert_eq!(header.reason, PuntReason::Early as u32);
    assert_eq!(header.ifindex, rig.host.setup().network.links[R1].ifindex);
    let (tags, len) = header.tags();
    assert_eq!(with_tags(&frame, &tags[..len]), later);
    assert_eq!(
        rig.host.run_held(R1, &later).unwrap().verdict,
        Verdict::Waits
    );
    let first = rig.host.run(R1, &CLIENTS.frame(&cut[0], 2)).unwrap();
    assert_eq!(first.verdict, Verdict::Redirect(Some(R1)));
    let (header, _) = rig.host.run_held(R1, &later).unwrap().handed.unwrap();
    assert_eq!(header.reason, PuntReason::Fragment as u32);
}

#[test]
fn in_generic_mode_the_vlan_device_puts_the_tags_on() {
    let mut rig = Rig::with(
        |setup| {
            setup.vlans = vec![CLIENTS, SECOND];
            setup.mode = ipvs_common::AttachMode::Generic;
        },
        &[
            "-A -t 203.0.113.10:80 -s rr",
            "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
        ],
    );
    assert_eq!(leaves(&from_client(&mut rig, syn(1)).1, R2), [0_u8; 0]);
}

#[test]
fn rules_by_interface_speak_of_the_vlan_device() {
    let mut rig = rig(&["-A -f 7 -s rr", "-a -f 7 -r 10.0.2.10 -m"]);
    let of = |mark, name: &str| {
        let mut rule = rule(mark, "203.0.113.10", 80);
        rule.conditions.interface = Some(name.parse().unwrap());
        rule
    };
    let names = [R1, C0].map(|link| rig.host.setup().network.links[link].name);
    set(&rig, vec![of(8, names[0]), of(7, names[1])]);
    assert_eq!(leaves(&from_client(&mut rig, syn(1)).1, R1), SECOND.tags);
}
