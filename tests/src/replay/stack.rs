//! What the kernel's stack does with a frame that the program passes to it, as far as traces show it: forwards what is for
//! others, and refuses what is for the director, on which nobody listens.

mod six;

use std::net::Ipv4Addr;

use etherparse::Ipv4HeaderSlice;
use ipvs_user::slowpath::fragment;

use crate::{
    packet::{ETHERNET, checksum, ethernet, flag},
    trace::{Network, Way},
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// ICMP questions that are answered; the answer to a timestamp has the type after it.
const ECHO: u8 = 8;
const TIMESTAMP: u8 = 13;
/// Longest ICMP error.
const LONGEST: usize = 576;

/// Type and code of the errors.
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PROTOCOL_UNREACHABLE: (u8, u8) = (3, 2);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const TIME_EXCEEDED: (u8, u8) = (11, 0);

pub(super) struct Stack {
    pub(super) network: Network,
    /// By link.
    marks: [u32; 4],
    id: u16,
}

/// A packet to the stack, taken apart.
struct Received<'a> {
    header: Ipv4HeaderSlice<'a>,
    packet: &'a [u8],
    data: &'a [u8],
}

impl Stack {
    pub(super) const fn new(network: Network, marks: [u32; 4]) -> Self {
        Self {
            network,
            marks,
            id: 1,
        }
    }

    pub(super) const fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// Returns what leaves because of the frame: link and frame.
    pub(super) fn receive(&mut self, link: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        if frame.first_chunk() != Some(&self.network.links[link].mac) {
            return Vec::new();
        }
        match frame[12..14] {
            [8, 0] => {}
            [0x86, 0xdd] => return six::receive(self, link, frame),
            _ => return Vec::new(),
        }
        let Some(received) = take_apart(&frame[ETHERNET..]) else {
            return Vec::new();
        };
        match self.network.way(received.header.destination_addr()) {
            _ if self.network.is_local_by_mark(self.marks[link]) => {
                self.refuse(&received).into_iter().collect()
            }
            Way::Local => self.refuse(&received).into_iter().collect(),
            Way::Link(to, next_hop) => self.forward(link, &received, to, next_hop),
        }
    }

    fn forward(
        &mut self,
        from: usize,
        r: &Received<'_>,
        to: usize,
        next_hop: Ipv4Addr,
    ) -> Vec<(usize, Vec<u8>)> {
        let mtu = self.network.links[to].mtu;
        if r.header.ttl() <= 1 {
            return self.error(from, r, TIME_EXCEEDED, 0).into_iter().collect();
        }
        if r.header.dont_fragment() && r.packet.len() > usize::from(mtu) {
            let error = self.error(from, r, FRAGMENTATION_NEEDED, mtu);
            return error.into_iter().collect();
        }
        let mut packet = r.packet.to_vec();
        packet[8] -= 1;
        finish(&mut packet, r.header.slice().len());
        let Some(frame) = self.frame(to, next_hop, &packet) else {
            return Vec::new();
        };
        let id = self.next_id();
        let pieces = fragment(&frame, mtu.into(), id);
        pieces.into_iter().map(|p| (to, p)).collect()
    }

    /// The answer to a packet that nobody waits for.
    fn refuse(&mut self, r: &Received<'_>) -> Option<(usize, Vec<u8>)> {
        if r.header.is_fragmenting_payload() {
            // Waits for the other pieces.
            return None;
        }
        match r.header.protocol().0 {
            TCP => self.reset(r),
            UDP => self.error(0, r, PORT_UNREACHABLE, 0),
            ICMP if matches!(r.data.first(), Some(&(ECHO | TIMESTAMP))) => {
                let mut reply = r.data.to_vec();
                reply[..4].fill(0);
                if r.data[0] == TIMESTAMP {
                    reply[0] = TIMESTAMP + 1;
                }
                let check = checksum(&reply);
                reply[2..4].copy_from_slice(&check.to_be_bytes());
                let id = self.next_id();
                self.send(
                    r,
                    ICMP,
                    r.packet[1],
                    id,
                    r.header.destination_addr(),
                    &reply,
                )
            }
            ICMP => None,
            _ => self.error(0, r, PROTOCOL_UNREACHABLE, 0),
        }
    }

    /// RFC 9293, 3.5.2, group 1.
    fn reset(&mut self, r: &Received<'_>) -> Option<(usize, Vec<u8>)> {
        let tcp = r.data.first_chunk::<20>()?;
        let flags = tcp[13];
        if flags & flag::RST != 0 {
            return None;
        }
        let mut reply = [tcp[2], tcp[3], tcp[0], tcp[1]].to_vec();
        if flags & flag::ACK != 0 {
            reply.extend(&tcp[8..12]);
            reply.extend([0, 0, 0, 0, 0x50, flag::RST]);
        } else {
            let counted = (flags & flag::SYN != 0) as u32 + (flags & flag::FIN != 0) as u32;
            let data = r.data.len() as u32 - u32::from(tcp[12] >> 4) * 4;
            let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            reply.extend([0; 4]);
            reply.extend((seq + counted + data).to_be_bytes());
            reply.extend([0x50, flag::RST | flag::ACK]);
        }
        reply.extend([0; 6]);
        let mut pseudo = [r.header.destination(), r.header.source()].concat();
        pseudo.extend([0, TCP, 0, reply.len() as u8]);
        pseudo.extend(&reply);
        reply[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        self.send(r, TCP, 0, 0, r.header.destination_addr(), &reply)
    }

    /// An ICMP error about a packet that came in by `link`.
    fn error(
        &mut self,
        link: usize,
        r: &Received<'_>,
        (kind, code): (u8, u8),
        mtu: u16,
    ) -> Option<(usize, Vec<u8>)> {
        let source = match self.network.way(r.header.destination_addr()) {
            Way::Local => r.header.destination_addr(),
            Way::Link(..) => self.network.links[link].addr,
        };
        let quoted = &r.packet[..r.packet.len().min(LONGEST - 28)];
        let mut message = [&[kind, code, 0, 0, 0, 0], &mtu.to_be_bytes()[..], quoted].concat();
        let check = checksum(&message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        let tos = (r.packet[1] & 0x1e) | 0xc0;
        let id = self.next_id();
        self.send(r, ICMP, tos, id, source, &message)
    }

    /// Sends to where a packet came from. Packets without an identification must not be fragmented.
    fn send(
        &self,
        r: &Received<'_>,
        proto: u8,
        tos: u8,
        id: u16,
        source: Ipv4Addr,
        data: &[u8],
    ) -> Option<(usize, Vec<u8>)> {
        let to = r.header.source_addr();
        let Way::Link(link, next_hop) = self.network.way(to) else {
            return None;
        };
        let df = if id == 0 { 0x40 } else { 0 };
        let mut packet = vec![0x45, tos];
        packet.extend((20 + data.len() as u16).to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend([df, 0, 64, proto, 0, 0]);
        packet.extend(source.octets());
        packet.extend(to.octets());
        packet.extend(data);
        finish(&mut packet, 20);
        Some((link, self.frame(link, next_hop, &packet)?))
    }

    fn frame(&self, link: usize, next_hop: Ipv4Addr, packet: &[u8]) -> Option<Vec<u8>> {
        let to = self.network.mac_of(next_hop)?;
        let mut frame = ethernet(self.network.links[link].mac, to, 0x0800);
        frame.extend(packet);
        Some(frame)
    }
}

fn take_apart(packet: &[u8]) -> Option<Received<'_>> {
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let packet = packet.get(..header.total_len().into())?;
    let data = packet.get(header.slice().len()..)?;
    (checksum(header.slice()) == 0).then_some(Received {
        header,
        packet,
        data,
    })
}

/// Writes the checksum of a header.
fn finish(packet: &mut [u8], header: usize) {
    packet[10..12].fill(0);
    let check = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
}
