//! Tunnels of every kind, for packets of both families over both families: what is sent unpacks to what came, with right lengths
//! and checksums; what is too long is told so, by the number of bytes that fit; errors about the tunnel reach the client.

mod errors;
mod lengths;
mod sctp;

use std::{collections::BTreeSet, net::SocketAddrV4};

use bytemuck::Pod;
use ipvs_common::{
    AttachMode, Proto,
    unpack::{Kind, Role, Tunnel},
};
use ipvs_datapath::unpack::{Peek, look};
use ipvs_tests::{
    backend::{Backend, Verdict},
    packet::{ETHERNET, Packet, checksum, flag},
};
use ipvs_user::slowpath::fragment;
use proptest::prelude::*;

use crate::rig::{C0, R1, Rig, ack, client, datagram, link, syn, vip};

/// A tunnel of a rig.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    /// The client's family.
    six: bool,
    /// The real server is of the other one.
    across: bool,
    options: &'static str,
    kind: Kind,
    /// Bytes of its header between the two of IP.
    own: usize,
    checksum: bool,
}

const PORT: u16 = 6080;
const OPTIONS: [(&str, Kind, usize, bool); 6] = [
    ("", Kind::Ipip, 0, false),
    ("--tun-type gre", Kind::Gre, 4, false),
    ("--tun-type gre --tun-csum", Kind::Gre, 8, true),
    ("--tun-type gue --tun-port 6080", Kind::Gue, 12, false),
    (
        "--tun-type gue --tun-port 6080 --tun-csum",
        Kind::Gue,
        12,
        true,
    ),
    (
        "--tun-type gue --tun-port 6080 --tun-remcsum",
        Kind::Gue,
        12,
        true,
    ),
];

impl Way {
    fn all() -> impl Iterator<Item = Self> {
        let families = [(false, false), (true, false), (false, true), (true, true)];
        families.into_iter().flat_map(|(six, across)| {
            OPTIONS.map(|(options, kind, own, checksum)| Self {
                six,
                across,
                options,
                kind,
                own,
                checksum,
            })
        })
    }

    fn outer_is_six(self) -> bool {
        self.six != self.across
    }

    fn overhead(self) -> usize {
        self.own + if self.outer_is_six() { 40 } else { 20 }
    }

    fn rig(self, mode: AttachMode) -> Rig {
        let mut rig = Rig::with(|s| s.mode = mode, &[]);
        rig.six = self.six;
        let real = if self.across {
            "~10.0.1.10"
        } else {
            "10.0.1.10"
        };
        for service in ["-t 203.0.113.10:80", "-u 203.0.113.10:53"] {
            rig.ipvsadm(&format!("-A {service} -s rr"));
            rig.ipvsadm(&format!("-a {service} -r {real} -i {}", self.options));
        }
        rig
    }

    /// The packet inside a frame that was sent; every header before it is right.
    fn unpack(self, frame: &[u8]) -> Vec<u8> {
        let tunnel = Tunnel {
            kind: self.kind as u8,
            unused: 0,
            port: PORT.to_be_bytes(),
        };
        let seen = look(&Bytes(frame), tunnel, |_| Role::OWN | Role::VIP);
        assert_eq!(seen.bytes() as usize, self.overhead(), "{self:?}");
        self.has_right_outside(&frame[ETHERNET..]);
        frame[ETHERNET + self.overhead()..].to_vec()
    }

    fn has_right_outside(self, packet: &[u8]) {
        let header = if self.outer_is_six() {
            assert_eq!(word(packet, 4), packet.len() - 40);
            40
        } else {
            assert_eq!(word(packet, 2), packet.len());
            assert_eq!(checksum(&packet[..20]), 0);
            20
        };
        let (head, body) = packet.split_at(header);
        match self.kind {
            Kind::Ipip => {}
            Kind::Gre if self.checksum => assert_eq!(checksum(body), 0),
            Kind::Gre => assert_eq!(body[..2], [0, 0]),
            Kind::Gue => {
                assert_eq!(word(body, 2), usize::from(PORT));
                assert_eq!(word(body, 4), body.len());
                assert_eq!(word(body, 6) != 0, self.checksum);
                if self.checksum {
                    assert_eq!(checksum(&with_pseudo(head, body)), 0, "{self:?}");
                }
            }
        }
    }
}

/// A UDP packet behind what its checksum also covers.
fn with_pseudo(head: &[u8], body: &[u8]) -> Vec<u8> {
    let ends = if head.len() == 40 {
        &head[8..]
    } else {
        &head[12..]
    };
    let mut all = ends.to_vec();
    all.extend([0, Proto::Udp as u8]);
    all.extend((body.len() as u16).to_be_bytes());
    all.extend_from_slice(body);
    all
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

struct Bytes<'a>(&'a [u8]);

impl Peek for Bytes<'_> {
    fn peek<T: Pod>(&self, at: usize) -> T {
        let bytes = self.0.get(at..at + size_of::<T>());
        bytes.map_or(T::zeroed(), bytemuck::pod_read_unaligned)
    }

    fn length(&self) -> usize {
        self.0.len()
    }
}

/// The IP packet of a frame with one less to live.
fn aged(frame: &[u8]) -> Vec<u8> {
    let mut packet = frame[ETHERNET..].to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
        return packet;
    }
    packet[8] -= 1;
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 0xf) * 4;
    let check = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet
}

fn of_proto(udp: bool, n: u16) -> Packet {
    if udp { datagram(n) } else { ack(n) }
}

/// Opens the connection, so that what follows takes the fast way.
fn open(rig: &mut Rig, udp: bool, n: u16) {
    if udp {
        rig.send(C0, datagram(n));
    } else {
        rig.send(C0, syn(n));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_tunnel_carries_the_packet_as_it_was(
        udp: bool,
        len in 0_usize..1300,
        tos: u8,
        ttl in 2_u8..,
        df: bool,
        established: bool,
    ) {
        for way in Way::all() {
            let mut rig = way.rig(AttachMode::Native);
            if established {
                open(&mut rig, udp, 1);
                rig.send(C0, of_proto(udp, 1));
            } else if !udp {
                rig.send(C0, syn(1));
            }
            let packet = Packet { tos, ttl, df, ..of_proto(udp, 1) }.data(len);
            let sent = rig.address(C0, packet.clone()).frame();
            let out = rig.send(C0, packet);
            prop_assert_eq!(link(&out), Some(R1), "{:?}", way);
            prop_assert_eq!(way.unpack(&out.frame), aged(&sent));
            let outer = &out.frame[ETHERNET..];
            let expected = if tos & 3 == 3 { tos - 1 } else { tos };
            if way.outer_is_six() {
                prop_assert_eq!(outer[0] << 4 | outer[1] >> 4, expected);
                prop_assert_eq!((outer[7], &outer[1] & 0xf), (ttl - 1, 0));
            } else {
                prop_assert_eq!((outer[1], outer[8]), (expected, ttl - 1));
                prop_assert_eq!(outer[6..8] == [0x40, 0], df && !way.six);
            }
        }
    }
}

#[test]
fn partial_checksum_is_completed_before_it_is_covered() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let packet = rig.address(C0, ack(1).data(700));
        let frame = packet.frame_with_partial_checksum();
        let out = rig.host.run(C0, &frame).unwrap();
        assert_eq!(way.unpack(&out.frame), aged(&packet.frame()), "{way:?}");
        assert_eq!(rig.reason("checksum_completed"), 1);
    }
}

#[test]
fn partial_checksum_that_the_card_completes_is_covered_as_if_it_were() {
    for way in Way::all().filter(|way| way.kind != Kind::Ipip) {
        let mut rig = way.rig(AttachMode::Generic);
        rig.send(C0, syn(1));
        let packet = rig.address(C0, ack(1).data(701));
        let out = rig.host.run(C0, &packet.frame_with_partial_checksum());
        let mut frame = out.unwrap().frame;
        let at = packet.checksum_at() + way.overhead();
        let partial = packet.partial_checksum().to_be_bytes();
        assert_eq!(frame[at..at + 2], partial, "{way:?}");
        let whole = packet.frame();
        let complete = &whole[packet.checksum_at()..][..2];
        frame[at..at + 2].copy_from_slice(complete);
        assert_eq!(way.unpack(&frame), aged(&whole));
    }
}

/// Source port of the GUE packet that a client's packet leaves in.
fn source_port(rig: &mut Rig, packet: Packet) -> u16 {
    let out = rig.send(C0, packet);
    assert_eq!(link(&out), Some(R1));
    let header = if out.frame[ETHERNET] >> 4 == 6 {
        40
    } else {
        20
    };
    word(&out.frame[ETHERNET..], header) as u16
}

#[test]
fn connection_keeps_its_source_port_and_others_have_others() {
    const QUEUES: u16 = 16;
    for way in Way::all().filter(|way| way.kind == Kind::Gue) {
        let mut rig = way.rig(AttachMode::Native);
        let mut ports = BTreeSet::new();
        let mut queues = [0; QUEUES as usize];
        for n in 0..400 {
            let port = source_port(&mut rig, syn(n));
            assert_eq!(port, source_port(&mut rig, ack(n)));
            assert_eq!(port, source_port(&mut rig, ack(n).data(100)));
            assert!((32_768..60_999).contains(&port));
            ports.insert(port);
            queues[usize::from(port % QUEUES)] += 1;
        }
        assert!(ports.len() > 380, "{way:?}: {}", ports.len());
        // 25 on average; as many as that in one are seen once in a million times.
        assert!(queues.iter().all(|n| (5..55).contains(n)), "{queues:?}");
        let near = |host: u8| SocketAddrV4::new([198, 51, 100, host].into(), 5000);
        let from: BTreeSet<_> = (1..=200)
            .map(|host| source_port(&mut rig, Packet::tcp(near(host), vip(80), flag::SYN)))
            .collect();
        assert!(from.len() > 190, "{way:?}: {}", from.len());
    }
}

#[test]
fn packets_that_routers_may_fragment_are_told_apart() {
    for way in Way::all().filter(|way| !way.outer_is_six() && way.overhead() != 20) {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let ids: BTreeSet<_> = (0..50)
            .map(|n| {
                let packet = Packet {
                    df: false,
                    ..ack(1)
                };
                let mut frame = rig.address(C0, packet.data(n)).frame();
                let sequence = frame.len() - usize::from(n as u16) - 20 + 4;
                frame[sequence..sequence + 4].copy_from_slice(&(n as u32 * 1448).to_be_bytes());
                let out = rig.host.run(C0, &frame).unwrap();
                assert_eq!(link(&out), Some(R1));
                word(&out.frame[ETHERNET..], 4)
            })
            .collect();
        assert!(ids.len() > 45, "{way:?}: {ids:?}");
    }
}

#[test]
fn fragments_follow_the_first_one_into_every_tunnel() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        let packet = Packet {
            df: false,
            ..datagram(1)
        };
        let frame = rig.address(C0, packet.data(1500)).frame();
        let pieces = fragment(&frame, 600, 7);
        assert!(pieces.len() > 2);
        let mut ports = BTreeSet::new();
        for piece in pieces {
            let out = rig.host.run(C0, &piece).unwrap();
            assert_eq!(link(&out), Some(R1), "{way:?}");
            assert_eq!(way.unpack(&out.frame), aged(&piece));
            ports.insert(word(&out.frame[ETHERNET..], way.overhead() - way.own));
        }
        if way.kind == Kind::Gue {
            assert_eq!(ports.len(), 1);
        }
    }
}

#[test]
fn last_hop_is_told_to_the_client() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let out = rig.send(C0, Packet { ttl: 1, ..ack(1) });
        assert_eq!(link(&out), Some(C0), "{way:?}");
        assert_eq!(rig.reason("ttl_exceeded"), 1);
    }
}

#[test]
fn real_server_on_the_director_itself_gets_the_packet_as_it_is() {
    for six in [false, true] {
        let mut rig = Rig::new(&[]);
        rig.six = six;
        rig.ipvsadm("-A -t 203.0.113.10:80 -s rr");
        rig.ipvsadm("-a -t 203.0.113.10:80 -r ~10.0.1.1 -i");
        let sent = rig.address(C0, syn(1)).frame();
        let out = rig.send(C0, syn(1));
        assert_eq!((out.verdict, &out.frame), (Verdict::Pass, &sent));
        assert_eq!(rig.reason("localnode"), 1);
    }
}

#[test]
fn connection_over_the_other_family_is_listed_with_its_real_server() {
    let way = Way::all().find(|way| way.across && !way.six).unwrap();
    let mut rig = way.rig(AttachMode::Native);
    rig.send(C0, syn(1));
    let listed = rig.console.director().connections().unwrap();
    assert_eq!(listed[0].real.to_string(), "[2001:db8:a00:1::a]:80");
    assert_eq!(listed[0].client, client(1).into());
}
