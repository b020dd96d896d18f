//! ICMP errors about what clients and the director sent, and some about nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;

use super::{Flow, Generator, six as flaw6};
use crate::{
    packet::{ETHERNET, IcmpError, Packet},
    six::{four, six},
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
            let header = if is_six(&frame) { 40 } else { 20 };
            frame[ETHERNET + header + 2] ^= 1;
        }
        (link, frame)
    }

    /// About an answer from the virtual address.
    fn on_client_side(&mut self, flow: Flow) -> IcmpError {
        let mut answer = Packet {
            proto: flow.proto,
            six: self.six,
            ..Packet::udp(flow.virt, flow.client)
        };
        if self.six && self.rng.u8(..8) == 0 {
            answer.extensions = flaw6::extensions(&mut self.rng);
        }
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
        let real = receiver(&sent);
        let way = real.map(|real| self.network.way(real));
        let link = match way {
            Some(Way::Link(link, _)) => link,
            Some(Way::Local) | None => 1,
        };
        let behind = Ipv4Addr::new(10, 0, link as u8, 77);
        let from = match real {
            Some(real) if self.rng.bool() => real,
            Some(_) | None => behind,
        };
        (link, self.error(&sent, from))
    }

    /// An error of the family of what it is about, from an address or its twin.
    fn error(&mut self, about: &[u8], from: Ipv4Addr) -> IcmpError {
        let of_six = is_six(about);
        let (from, kind): (IpAddr, _) = if of_six {
            (six(from).into(), flaw6::kind(&mut self.rng))
        } else {
            (from.into(), kind(&mut self.rng))
        };
        let mut error = IcmpError::about(about, from, kind);
        error.mtu = match self.rng.u8(..4) {
            0 => self.rng.u16(..),
            _ => self.rng.u16(500..1500),
        };
        if self.rng.u8(..16) == 0 {
            error.ttl = self.rng.u8(..3);
        }
        if of_six && self.rng.u8(..16) == 0 {
            error.extensions = flaw6::extensions(&mut self.rng);
        }
        let len = error.quoted.len();
        let enough = if of_six { 48 } else { 28 };
        let least = if self.rng.u8(..8) == 0 {
            0
        } else {
            len.min(enough)
        };
        error.quoted.truncate(self.rng.usize(least..=len));
        if self.rng.u8(..64) == 0 {
            // More than any should quote.
            error.quoted.resize(self.rng.usize(1400..1600), 0);
        }
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

/// Whether a frame is one of IPv6.
fn is_six(frame: &[u8]) -> bool {
    frame.get(12..ETHERNET) == Some(&[0x86, 0xdd])
}

/// Whom a packet was sent to; of IPv6, whose twin.
fn receiver(sent: &[u8]) -> Option<Ipv4Addr> {
    if is_six(sent) {
        let to = sent.get(ETHERNET + 24..)?.first_chunk::<16>()?;
        return four(Ipv6Addr::from(*to));
    }
    let to = sent.get(ETHERNET + 16..)?.first_chunk::<4>()?;
    Some(Ipv4Addr::from(*to))
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
