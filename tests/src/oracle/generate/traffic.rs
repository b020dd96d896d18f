//! What clients and real servers send: conversations that begin, go on in any order, end well or badly, and packets that
//! nobody waits for.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Kind, Service};
use crate::oracle::scenario::{Packet, Step};

const CLIENTS: std::ops::RangeInclusive<u8> = 1..=40;
const FIRST_PORT: u16 = 1024;
const UNSERVED: u16 = 9;
/// Segments of a client's, and how likely they are.
const SEGMENTS: [(&str, u8); 7] = [
    ("A", 40),
    ("PA", 25),
    ("FA", 15),
    ("R", 6),
    ("RA", 4),
    ("S", 8),
    ("SA", 2),
];
const ANSWERS: [(&str, u8); 5] = [("SA", 40), ("A", 20), ("PA", 20), ("FA", 14), ("R", 6)];

/// Conversations so far.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The first packet of each.
    begun: Vec<Packet>,
    /// Clients send SYNs on connections that they have.
    pub(super) reuses_ports: bool,
}

impl Traffic {
    pub(super) fn step(
        &mut self,
        rng: &mut Rng,
        services: &[Service],
        about: &mut BTreeSet<String>,
    ) -> Step {
        let roll = rng.u8(..100);
        if self.begun.is_empty() || roll < 40 {
            return self.begin(rng, services);
        }
        let packet = self.begun[rng.usize(..self.begun.len())].clone();
        if roll < 62 {
            about.insert("replies".to_owned());
            return Step::Reply(go_on(rng, packet, &ANSWERS));
        }
        let mut packet = go_on(rng, packet, &SEGMENTS);
        if packet.flags.starts_with('S') && !self.reuses_ports {
            "A".clone_into(&mut packet.flags);
        }
        if packet.flags.starts_with('R') {
            about.insert("resets".to_owned());
        }
        Step::Packet(packet)
    }

    fn begin(&mut self, rng: &mut Rng, services: &[Service]) -> Step {
        let service = &services[rng.usize(..services.len())];
        let port = match service.port {
            _ if rng.u8(..100) < 3 => UNSERVED,
            0 => rng.u16(20..120),
            port => port,
        };
        let udp = match service.kind {
            Kind::Tcp => false,
            Kind::Udp => true,
            Kind::Marked => rng.bool(),
        };
        let packet = Packet {
            udp,
            marked: service.kind == Kind::Marked || rng.u8(..100) < 3,
            client: rng.u8(CLIENTS),
            client_port: FIRST_PORT + self.begun.len() as u16,
            vip: service.vip,
            port,
            flags: if udp { "" } else { "S" }.to_owned(),
            chunk: None,
            data: if udp { rng.usize(1..60) } else { 0 },
        };
        self.begun.push(packet.clone());
        Step::Packet(packet)
    }
}

fn go_on(rng: &mut Rng, packet: Packet, segments: &[(&str, u8)]) -> Packet {
    if packet.udp {
        let data = rng.usize(1..200);
        return Packet { data, ..packet };
    }
    let mut roll = rng.u8(..100);
    let drawn = segments.iter().find(|(_, likely)| {
        let here = roll < *likely;
        roll = roll.saturating_sub(*likely);
        here
    });
    let flags = drawn.map_or("A", |(flags, _)| flags).to_owned();
    let data = if flags == "PA" { rng.usize(1..200) } else { 0 };
    Packet {
        flags,
        data,
        ..packet
    }
}
