//! Frames of the oracle: made from a scenario's packets, read for what the director chose, and told apart from equal ones.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::Ipv4HeaderSlice;
use ipvs_common::{Mac, Proto};

use super::{place::Place, scenario};
use crate::packet::{ETHERNET, Packet, checksum, chunk};

/// Protocols for experiments (RFC 3692): no director takes such packets.
const MARKER: u8 = 253;
const IPIP: u8 = 4;
const ICMP: u8 = 1;
const TCP: u8 = 6;

/// A client's packet, without its Ethernet addresses.
pub(super) fn from_client(packet: &scenario::Packet, place: Place, id: u16) -> Packet {
    let client = SocketAddrV4::new(place.client(packet.client), packet.client_port);
    let service = SocketAddrV4::new(place.vip(packet.vip), packet.port);
    between(packet, client, service, id)
}

/// The same packet's answer by a real server.
pub(super) fn from_real(
    packet: &scenario::Packet,
    place: Place,
    real: SocketAddrV4,
    id: u16,
) -> Packet {
    let client = SocketAddrV4::new(place.client(packet.client), packet.client_port);
    between(packet, real, client, id)
}

fn between(packet: &scenario::Packet, src: SocketAddrV4, dst: SocketAddrV4, id: u16) -> Packet {
    let made = match packet.proto() {
        Proto::Tcp => Packet::tcp(src, dst, packet.bits()),
        Proto::Udp => Packet::udp(src, dst),
        Proto::Sctp => Packet::sctp(src, dst, packet.chunk.unwrap_or_default()),
    };
    let bundled = if packet.aborts {
        vec![chunk::ABORT]
    } else {
        Vec::new()
    };
    Packet {
        id,
        bundled,
        ..made
    }
    .data(packet.data)
}

/// A packet that is routed through the director and nothing else, to tell that all before it are through.
pub(super) fn marker(from: Mac, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, number: u16) -> Vec<u8> {
    let packet = Packet {
        id: number,
        ..Packet::udp(SocketAddrV4::new(src, 1), SocketAddrV4::new(dst, 1))
    };
    let mut frame = packet.between(from, to).frame();
    frame[ETHERNET + 9] = MARKER;
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = checksum(&frame[ETHERNET..ETHERNET + 20]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The number of a marker.
pub(super) fn marker_number(frame: &[u8]) -> Option<u16> {
    let ip = ipv4(frame)?;
    (ip.protocol().0 == MARKER).then(|| ip.identification())
}

pub(super) fn is_ipv4(frame: &[u8]) -> bool {
    ipv4(frame).is_some()
}

fn ipv4(frame: &[u8]) -> Option<Ipv4HeaderSlice<'_>> {
    let is_ip = frame.get(12..14) == Some(&[8, 0]);
    let header = is_ip.then(|| Ipv4HeaderSlice::from_slice(&frame[ETHERNET..]));
    header?.ok()
}

/// Ends of a packet of TCP, UDP or SCTP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ends {
    pub(super) proto: u8,
    pub(super) src: SocketAddrV4,
    pub(super) dst: SocketAddrV4,
}

pub(super) fn ends(frame: &[u8]) -> Option<Ends> {
    let ip = ipv4(frame)?;
    let proto = Proto::from_number(ip.protocol().0)?;
    let data = frame.get(ETHERNET + ip.slice().len()..)?;
    let [a, b, c, d] = *data.first_chunk()?;
    let (sport, dport) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Ends {
        proto: proto as u8,
        src: SocketAddrV4::new(ip.source().into(), sport),
        dst: SocketAddrV4::new(ip.destination().into(), dport),
    })
}

/// The frame without what is drawn by lot: the identification of packets that the director made itself, if their checksum
/// is right.
pub(super) fn comparable(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let Some(ip) = ipv4(frame) else {
        return bytes;
    };
    let made_here = matches!(ip.protocol().0, IPIP | ICMP) || is_own_reset(frame, &ip);
    if made_here && checksum(ip.slice()) == 0 {
        for field in [4..6, 10..12] {
            bytes[ETHERNET + field.start..ETHERNET + field.end].fill(0);
        }
    }
    bytes
}

/// The stack answers for a virtual address without a service; such a reset acknowledges and has no data.
fn is_own_reset(frame: &[u8], ip: &Ipv4HeaderSlice<'_>) -> bool {
    let flags = frame.get(ETHERNET + 33).copied().unwrap_or_default();
    ip.protocol().0 == TCP && ip.total_len() == 40 && flags & 4 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_told_from_other_packets() {
        let (a, b) = (Ipv4Addr::new(192, 0, 2, 254), Ipv4Addr::new(10, 0, 1, 250));
        let frame = marker([2; 6], [4; 6], a, b, 77);
        assert_eq!(marker_number(&frame), Some(77));
        assert_eq!(ends(&frame), None);
    }

    #[test]
    fn forwarded_packets_are_compared_with_their_identification() {
        let ends = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7);
        let frame = Packet {
            id: 9,
            ..Packet::tcp(ends, ends, 2)
        }
        .frame();
        assert_eq!(comparable(&frame), frame);
        let mut tunnelled = frame;
        tunnelled[ETHERNET + 9] = IPIP;
        tunnelled[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = checksum(&tunnelled[ETHERNET..ETHERNET + 20]);
        tunnelled[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        assert_ne!(comparable(&tunnelled), tunnelled);
    }
}
