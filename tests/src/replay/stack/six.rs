//! The same of IPv6.

use std::net::Ipv6Addr;

use etherparse::Ipv6HeaderSlice;

use super::{Stack, TCP, UDP};
use crate::{
    packet::{ETHERNET, checksum, ethernet, flag},
    trace::Way6,
};

const ICMP: u8 = 58;
const HEADER: usize = 40;
const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// Longest ICMP error.
const LONGEST: usize = 1280;

/// Type and code of the errors.
const PORT_UNREACHABLE: (u8, u8) = (1, 4);
const TOO_BIG: (u8, u8) = (2, 0);
const TIME_EXCEEDED: (u8, u8) = (3, 0);

/// A packet to the stack, taken apart.
struct Received<'a> {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    proto: u8,
    hop_limit: u8,
    packet: &'a [u8],
    data: &'a [u8],
}

/// Returns what leaves because of the frame: link and frame.
pub(super) fn receive(stack: &Stack, link: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let left = take_apart(&frame[ETHERNET..]).and_then(|r| match stack.network.way6(r.dst) {
        Way6::Local => refuse(stack, &r),
        Way6::Link(to, next_hop) => forward(stack, link, &r, to, next_hop),
    });
    left.into_iter().collect()
}

fn forward(
    stack: &Stack,
    from: usize,
    r: &Received<'_>,
    to: usize,
    next_hop: Ipv6Addr,
) -> Option<(usize, Vec<u8>)> {
    let mtu = stack.network.links[to].mtu;
    let own = stack.network.links[from].addr6;
    if r.hop_limit <= 1 {
        return error(stack, own, r, TIME_EXCEEDED, 0);
    }
    if r.packet.len() > usize::from(mtu) {
        return error(stack, own, r, TOO_BIG, mtu);
    }
    let mut packet = r.packet.to_vec();
    packet[7] -= 1;
    Some((to, on_wire(stack, to, next_hop, &packet)?))
}

/// The answer to a packet that nobody waits for.
fn refuse(stack: &Stack, r: &Received<'_>) -> Option<(usize, Vec<u8>)> {
    match r.proto {
        TCP => send(stack, r, TCP, r.dst, 16, reset(r.data)?),
        UDP => error(stack, r.dst, r, PORT_UNREACHABLE, 0),
        ICMP if r.data.first() == Some(&ECHO) => {
            let reply = [&[ECHO_REPLY, 0, 0, 0], r.data.get(4..)?].concat();
            send(stack, r, ICMP, r.dst, 2, reply)
        }
        _ => None,
    }
}

/// RFC 9293, 3.5.2, group 1.
fn reset(segment: &[u8]) -> Option<Vec<u8>> {
    let tcp = segment.first_chunk::<20>()?;
    let flags = tcp[13];
    if flags & flag::RST != 0 {
        return None;
    }
    let mut reply = [tcp[2], tcp[3], tcp[0], tcp[1]].to_vec();
    if flags & flag::ACK != 0 {
        reply.extend(&tcp[8..12]);
        reply.extend([0, 0, 0, 0, 0x50, flag::RST]);
    } else {
        let counted = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        let data = segment.len() as u32 - u32::from(tcp[12] >> 4) * 4;
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        reply.extend([0; 4]);
        reply.extend((seq + counted + data).to_be_bytes());
        reply.extend([0x50, flag::RST | flag::ACK]);
    }
    reply.extend([0; 6]);
    Some(reply)
}

fn error(
    stack: &Stack,
    source: Ipv6Addr,
    r: &Received<'_>,
    (kind, code): (u8, u8),
    mtu: u16,
) -> Option<(usize, Vec<u8>)> {
    let quoted = &r.packet[..r.packet.len().min(LONGEST - HEADER - 8)];
    let message = [&[kind, code, 0, 0, 0, 0], &mtu.to_be_bytes()[..], quoted].concat();
    send(stack, r, ICMP, source, 2, message)
}

/// Sends to where a packet came from; the checksum belongs at an offset.
fn send(
    stack: &Stack,
    r: &Received<'_>,
    proto: u8,
    source: Ipv6Addr,
    check_at: usize,
    mut data: Vec<u8>,
) -> Option<(usize, Vec<u8>)> {
    let Way6::Link(link, next_hop) = stack.network.way6(r.src) else {
        return None;
    };
    let mut all = [source.octets(), r.src.octets()].concat();
    all.extend((data.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, proto]);
    all.extend(&data);
    data[check_at..check_at + 2].copy_from_slice(&checksum(&all).to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((data.len() as u16).to_be_bytes());
    packet.extend([proto, 64]);
    packet.extend(source.octets());
    packet.extend(r.src.octets());
    packet.extend(data);
    Some((link, on_wire(stack, link, next_hop, &packet)?))
}

fn on_wire(stack: &Stack, link: usize, next_hop: Ipv6Addr, packet: &[u8]) -> Option<Vec<u8>> {
    let neighbours = stack.network.neighbours6();
    let to = neighbours.iter().find(|n| n.1 == next_hop)?.2;
    let mut frame = ethernet(stack.network.links[link].mac, to, 0x86dd);
    frame.extend(packet);
    Some(frame)
}

fn take_apart(packet: &[u8]) -> Option<Received<'_>> {
    let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
    let packet = packet.get(..HEADER + usize::from(header.payload_length()))?;
    Some(Received {
        src: header.source_addr(),
        dst: header.destination_addr(),
        proto: header.next_header().0,
        hop_limit: header.hop_limit(),
        packet,
        data: packet.get(HEADER..)?,
    })
}
