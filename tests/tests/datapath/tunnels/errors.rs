//! ICMP errors about packets in tunnels, and such that go through them.

use std::net::{IpAddr, Ipv4Addr};

use ipvs_common::{AttachMode, unpack::Kind};
use ipvs_tests::{
    backend::{Backend as _, Outcome, Verdict},
    packet::{ETHERNET, IcmpError, Packet, flag},
    six::six,
};

use super::{Way, lengths::told};
use crate::{
    icmp::report,
    rig::{C0, R1, Rig, ack, client, link, syn, vip},
};

/// In the outer family.
fn router(way: Way) -> IpAddr {
    let behind = Ipv4Addr::new(10, 0, 1, 77);
    if way.outer_is_six() {
        six(behind).into()
    } else {
        behind.into()
    }
}

/// Type and code in the outer and in the client's family.
fn kinds(way: Way, four: (u8, u8), over_six: (u8, u8)) -> ((u8, u8), (u8, u8)) {
    let of = |is_six: bool| if is_six { over_six } else { four };
    (of(way.outer_is_six()), of(way.six))
}

fn said(way: Way, out: &Outcome) -> (u8, u8) {
    assert_eq!(link(out), Some(C0), "{way:?}");
    let header = if way.six { 40 } else { 20 };
    let message = &out.frame[ETHERNET + header..];
    (message[0], message[1])
}

/// A packet of 1400 bytes and its tunnel's.
fn long(way: Way) -> (Packet, usize) {
    let len = 1400;
    (ack(1).data(len - 20 - if way.six { 40 } else { 20 }), len)
}

#[test]
fn narrow_way_is_learned_and_told_less_what_the_tunnel_takes() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let (packet, len) = long(way);
        let sent = rig.send(C0, packet.clone()).frame;
        assert_eq!(sent.len(), ETHERNET + len + way.overhead());
        let (kind, _) = kinds(way, (3, 4), (2, 0));
        let narrow = 1390;
        let error = IcmpError {
            mtu: narrow,
            ..IcmpError::about(&sent, router(way), kind)
        };
        for out in [report(&mut rig, R1, error), rig.send(C0, packet)] {
            assert_eq!(link(&out), Some(C0), "{way:?}");
            assert_eq!(told(way, &out.frame), usize::from(narrow) - way.overhead());
        }
        assert_eq!(rig.reason("path_mtu"), 1);
    }
}

#[test]
fn no_router_makes_a_tunnel_so_narrow_that_nothing_fits() {
    for way in Way::all().filter(|way| way.outer_is_six()) {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let sent = rig.send(C0, long(way).0).frame;
        let error = IcmpError {
            mtu: 700,
            ..IcmpError::about(&sent, router(way), (2, 0))
        };
        let out = report(&mut rig, R1, error);
        assert_eq!(told(way, &out.frame), 1280, "{way:?}");
        assert_eq!(rig.leaves_by(ack(1).data(1200)), Some(R1));
    }
}

#[test]
fn what_becomes_of_a_tunnels_packet_is_told_its_client() {
    for way in Way::all() {
        // Nobody at the port, prohibited, the last hop.
        for (four, over_six) in [((3, 3), (1, 4)), ((3, 13), (1, 1)), ((11, 0), (3, 0))] {
            let (kind, expected) = kinds(way, four, over_six);
            let mut rig = way.rig(AttachMode::Native);
            let sent = rig.send(C0, syn(1)).frame;
            let error = IcmpError::about(&sent, router(way), kind);
            let told = said(way, &report(&mut rig, R1, error));
            let crossed = if way.across && !way.six && four == (3, 13) {
                (3, 10)
            } else {
                expected
            };
            assert_eq!(told, crossed, "{way:?}");
        }
    }
}

/// Changes one byte of what is quoted.
fn forged(error: &IcmpError, at: usize) -> IcmpError {
    let mut error = error.clone();
    error.quoted[at] ^= 1;
    error
}

#[test]
fn error_about_another_tunnel_or_none_changes_nothing() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let sent = rig.send(C0, long(way).0).frame;
        let (kind, _) = kinds(way, (3, 4), (2, 0));
        let error = IcmpError {
            mtu: 1390,
            ..IcmpError::about(&sent, router(way), kind)
        };
        let outer = way.overhead() - way.own;
        // The real server's address, the director's, the client's port.
        let (dst, src) = if outer == 40 { (39, 23) } else { (19, 15) };
        let port = way.overhead() + if way.six { 41 } else { 21 };
        let mut places = vec![dst, src, port];
        if way.kind == Kind::Gue {
            // The tunnel's port, GUE's version.
            places.extend([outer + 3, outer + 8]);
        }
        if way.kind == Kind::Gre {
            // GRE's version.
            places.push(outer + 1);
        }
        for at in places {
            let out = report(&mut rig, R1, forged(&error, at));
            assert_eq!(out.verdict, Verdict::Pass, "{way:?} {at}");
        }
        assert_eq!(rig.reason("path_mtu"), 0);
    }
}

#[test]
fn stranger_of_udp_still_opens_a_connection() {
    let mut rig = Rig::new(&[
        "-A -u 203.0.113.10:53 -s rr",
        "-a -u 203.0.113.10:53 -r 10.0.1.10 -i --tun-type gue --tun-port 6080",
    ]);
    rig.knob("schedule_icmp", "1");
    let answer = Packet::udp(vip(53), client(1)).data(20).frame();
    let error = IcmpError::about(&answer, Ipv4Addr::new(192, 0, 2, 254), (3, 3));
    let out = report(&mut rig, C0, error);
    assert_eq!(link(&out), Some(R1));
    assert_eq!(rig.reason("icmp_relayed"), 1);
}

#[test]
fn error_goes_through_every_tunnel() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let answer = rig.address(C0, Packet::tcp(vip(80), client(1), flag::ACK));
        let far = Ipv4Addr::new(192, 0, 2, 254);
        let (from, kind): (IpAddr, _) = if way.six {
            (six(far).into(), (1, 4))
        } else {
            (far.into(), (3, 3))
        };
        let error = IcmpError::about(&answer.frame(), from, kind);
        let mac = rig.host.setup().network.links[C0].mac;
        let sent = error.clone().between([2, 0, 0, 9, 9, 9], mac).frame();
        let out = report(&mut rig, C0, error);
        assert_eq!(link(&out), Some(R1), "{way:?}");
        assert_eq!(way.unpack(&out.frame), super::aged(&sent));
    }
}
