//! Tunnels' packets made by hand, and what is cut off them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 5);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const PORT: u16 = 6080;

struct Bytes(Vec<u8>);

impl Peek for Bytes {
    fn peek<T: Pod>(&self, at: usize) -> T {
        let bytes = self.0.get(at..at + size_of::<T>());
        bytes.map_or_else(T::zeroed, bytemuck::pod_read_unaligned)
    }

    fn length(&self) -> usize {
        self.0.len()
    }
}

fn v4(to: Ipv4Addr, proto: u8, inside: &[u8]) -> Vec<u8> {
    let length = (20 + inside.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend(DIRECTOR.octets());
    packet.extend(to.octets());
    packet.extend(inside);
    packet
}

fn v6(to: Ipv6Addr, proto: u8, inside: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, proto, 64];
    packet[4..6].copy_from_slice(&(inside.len() as u16).to_be_bytes());
    packet.extend(CLIENT6.octets());
    packet.extend(to.octets());
    packet.extend(inside);
    packet
}

fn gre(flags: [u8; 2], carried: [u8; 2], inside: &[u8]) -> Vec<u8> {
    let checksum: &[u8] = if flags[0] & 0x80 == 0 {
        &[]
    } else {
        &[1, 2, 0, 0]
    };
    [&flags, &carried, checksum, inside].concat()
}

fn gue(port: u16, head: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let length = (12 + inside.len()) as u16;
    let udp = [40000, port, length, 0].map(u16::to_be_bytes).concat();
    [&udp, &head[..], inside].concat()
}

fn frame(ether_type: [u8; 2], packet: &[u8]) -> Bytes {
    let mut bytes = vec![2; 12];
    bytes.extend(ether_type);
    bytes.extend(packet);
    Bytes(bytes)
}

fn role(address: &Addr) -> u8 {
    let mine = [(IpAddr::V4(OWN), Role::OWN), (OWN6.into(), Role::OWN)];
    let vips = [(IpAddr::V4(VIP), Role::VIP), (VIP6.into(), Role::VIP)];
    let all = mine.iter().chain(&vips);
    all.filter(|(a, _)| Addr::from(*a) == *address)
        .map(|(_, r)| *r)
        .sum()
}

fn tunnel(kind: Kind) -> Tunnel {
    Tunnel {
        kind: kind as u8,
        unused: 0,
        port: PORT.to_be_bytes(),
    }
}

fn of(kind: Kind, frame: &Bytes) -> Look {
    look(frame, tunnel(kind), role)
}

fn tcp() -> Vec<u8> {
    v4(VIP, 6, &[7; 20])
}

fn tcp6() -> Vec<u8> {
    v6(VIP6, 6, &[7; 20])
}

#[test]
fn every_family_in_every_tunnel_is_unpacked() {
    let (a, b) = (tcp(), tcp6());
    let head = |proto| [0, proto, 0, 0];
    let cases: [(Kind, u8, Vec<u8>, usize, bool); 7] = [
        (Kind::Ipip, 4, a.clone(), 0, false),
        (Kind::Ipip, 41, b.clone(), 0, true),
        (Kind::Gre, 47, gre([0, 0], ETHERTYPE_IPV4, &a), 4, false),
        (Kind::Gre, 47, gre([0x80, 0], ETHERTYPE_IPV4, &a), 8, false),
        (Kind::Gre, 47, gre([0, 0], ETHERTYPE_IPV6, &b), 4, true),
        (Kind::Gue, 17, gue(PORT, head(4), &a), 12, false),
        (Kind::Gue, 17, gue(PORT, head(41), &b), 12, true),
    ];
    for (kind, proto, inside, own, is_v6) in cases {
        let over_v4 = of(kind, &frame(ETHERTYPE_IPV4, &v4(OWN, proto, &inside)));
        assert_eq!(over_v4, Look::cut(20 + own, is_v6), "{kind:?} over IPv4");
        assert_eq!(over_v4.bytes() as usize, 20 + own);
        let over_v6 = of(kind, &frame(ETHERTYPE_IPV6, &v6(OWN6, proto, &inside)));
        assert_eq!(over_v6, Look::cut(40 + own, is_v6), "{kind:?} over IPv6");
        let type_after = if is_v6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        };
        assert_eq!(over_v6.ethertype(), type_after);
        assert!(!over_v6.drops());
    }
}

#[test]
fn packets_of_others_stay_as_they_are() {
    let not_ours = Look::count(Count::NotOurs);
    let to_another = frame(ETHERTYPE_IPV4, &v4(VIP, 4, &tcp()));
    assert_eq!(of(Kind::Ipip, &to_another), not_ours);
    let no_vip = frame(ETHERTYPE_IPV4, &v4(OWN, 4, &v4(OWN, 6, &[7; 20])));
    assert_eq!(of(Kind::Ipip, &no_vip), not_ours);
    assert_eq!(not_ours.bytes(), 0);
    assert!(!not_ours.drops());
}

#[test]
fn only_the_configured_tunnel_is_unpacked() {
    let ipip = frame(ETHERTYPE_IPV4, &v4(OWN, 4, &tcp()));
    assert_eq!(of(Kind::Gre, &ipip), Look::OTHER);
    assert_eq!(of(Kind::Gue, &ipip), Look::OTHER);
    let elsewhere = gue(PORT + 1, [0, 4, 0, 0], &tcp());
    for to in [OWN, VIP] {
        let udp = frame(ETHERTYPE_IPV4, &v4(to, 17, &elsewhere));
        assert_eq!(of(Kind::Gue, &udp), Look::OTHER);
    }
    let plain = frame(ETHERTYPE_IPV4, &v4(OWN, 6, &[7; 20]));
    for kind in [Kind::Ipip, Kind::Gue, Kind::Gre] {
        assert_eq!(of(kind, &plain), Look::OTHER);
    }
}

#[test]
fn what_cannot_be_unpacked_is_left_to_the_stack() {
    let unsupported = Look::count(Count::Unsupported);
    let mut fragment = v4(OWN, 4, &tcp());
    fragment[6] = 0x20;
    assert_eq!(
        of(Kind::Ipip, &frame(ETHERTYPE_IPV4, &fragment)),
        unsupported
    );
    fragment[6..8].copy_from_slice(&[0, 5]);
    assert_eq!(
        of(Kind::Ipip, &frame(ETHERTYPE_IPV4, &fragment)),
        unsupported
    );
    let keyed = v4(OWN, 47, &gre([0x20, 0], ETHERTYPE_IPV4, &tcp()));
    assert_eq!(of(Kind::Gre, &frame(ETHERTYPE_IPV4, &keyed)), unsupported);
    let ethernet = v4(OWN, 47, &gre([0, 0], [0x65, 0x58], &tcp()));
    assert_eq!(
        of(Kind::Gre, &frame(ETHERTYPE_IPV4, &ethernet)),
        unsupported
    );
    for head in [[2, 4, 0, 0], [0x20, 4, 0, 0], [0, 4, 0, 1], [0, 6, 0, 0]] {
        let options = v4(OWN, 17, &gue(PORT, head, &tcp()));
        assert_eq!(of(Kind::Gue, &frame(ETHERTYPE_IPV4, &options)), unsupported);
    }
}

#[test]
fn half_a_packet_inside_is_dropped() {
    let whole = v4(OWN, 4, &tcp());
    for cut in 1..=whole.len() - 20 {
        let look = of(
            Kind::Ipip,
            &frame(ETHERTYPE_IPV4, &whole[..whole.len() - cut]),
        );
        assert!(look.drops(), "without the last {cut} bytes");
    }
    let wrong = v4(OWN, 4, &tcp6());
    assert!(of(Kind::Ipip, &frame(ETHERTYPE_IPV4, &wrong)).drops());
    let mut short = tcp();
    short[0] = 0x44;
    assert!(of(Kind::Ipip, &frame(ETHERTYPE_IPV4, &v4(OWN, 4, &short))).drops());
    let whole = v6(OWN6, 41, &tcp6());
    let cut = frame(ETHERTYPE_IPV6, &whole[..whole.len() - 1]);
    assert!(of(Kind::Ipip, &cut).drops());
}

#[test]
fn bytes_behind_the_packet_are_padding() {
    let mut padded = v4(OWN, 4, &tcp());
    padded.extend([0; 6]);
    assert_eq!(
        of(Kind::Ipip, &frame(ETHERTYPE_IPV4, &padded)),
        Look::cut(20, false)
    );
}
