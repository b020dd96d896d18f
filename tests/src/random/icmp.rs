//! ICMP errors about what clients and the director sent, and some about nothing.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::{Flow, Generator};
use crate::{
    packet::{ETHERNET, IcmpError, Packet},
    trace::Way,
};

/// As much of a packet as is remembered.
const QUOTED: usize = 160;
/// Packets of the director that are remembered.
const SENT: usize = 64;

impl Generator {
    /// An ICMP error and the link it comes in by.
    pub(super) fn icmp(&mut self) -> (usize, Vec<u8>) {
        let about_sent = !self.sent.is_empty() && self.rng.bool();
        let (link, error) = if about_sent {
            self.on_real_side()
        } else {
            let flow = self.flow();
            (flow.link, self.on_client_side(flow))
        };
        let mac = self.network.links[link].mac;
        let mut frame = error.between(self.network.gateway_mac, mac).frame();
        if self.rng.u8(..16) == 0 {
            frame[ETHERNET + 22] ^= 1;
        }
        (link, frame)
    }

    /// About an answer from the virtual address.
    fn on_client_side(&mut self, flow: Flow) -> IcmpError {
        let answer = Packet {
            proto: flow.proto,
            ..Packet::udp(flow.virt, flow.client)
        };
        let answer = answer.data(self.rng.usize(..30)).frame();
        let from = if self.rng.bool() {
            *flow.client.ip()
        } else {
            Ipv4Addr::new(192, 0, 2, 254)
        };
        self.error(&answer, from)
    }

    /// About a packet that the director sent, from where it went to or from a router before that.
    fn on_real_side(&mut self) -> (usize, IcmpError) {
        let sent = self.sent[self.rng.usize(..self.sent.len())].clone();
        let at = ETHERNET + 16;
        let real = Ipv4Addr::new(sent[at], sent[at + 1], sent[at + 2], sent[at + 3]);
        let link = match self.network.way(real) {
            Way::Link(link, _) => link,
            Way::Local => 1,
        };
        let from = if self.rng.bool() {
            real
        } else {
            Ipv4Addr::new(10, 0, link as u8, 77)
        };
        (link, self.error(&sent, from))
    }

    fn error(&mut self, about: &[u8], from: Ipv4Addr) -> IcmpError {
        let mut error = IcmpError::about(about, from, kind(&mut self.rng));
        error.mtu = match self.rng.u8(..4) {
            0 => self.rng.u16(..),
            _ => self.rng.u16(500..1500),
        };
        if self.rng.u8(..16) == 0 {
            error.ttl = self.rng.u8(..3);
        }
        let len = error.quoted.len();
        let least = if self.rng.u8(..8) == 0 {
            0
        } else {
            len.min(28)
        };
        error.quoted.truncate(self.rng.usize(least..=len));
        error
    }

    /// Learns of a packet, mostly to a real server.
    pub(super) fn remember(&mut self, sent: &[u8]) {
        let sent = sent[..sent.len().min(QUOTED)].to_vec();
        if self.sent.len() < SENT {
            self.sent.push(sent);
        } else {
            let place = self.rng.usize(..SENT);
            self.sent[place] = sent;
        }
    }
}

/// Type and code, mostly of errors.
fn kind(rng: &mut Rng) -> (u8, u8) {
    match rng.u8(..16) {
        0..6 => (3, rng.u8(..16)),
        6..11 => (3, 4),
        11 => (4, 0),
        12..15 => (11, rng.u8(..2)),
        _ => (rng.u8(..20), rng.u8(..3)),
    }
}
