//! What clients and real servers send: conversations that begin, go on in any order, end well or badly, and packets that
//! nobody waits for.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Kind, Service};
use crate::{
    oracle::scenario::{Packet, Step},
    packet::chunk,
};

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

/// The same of SCTP: chunks, of which some follow another in their packet.
const CHUNKS: [(u8, u8); 10] = [
    (chunk::COOKIE_ECHO, 34),
    (chunk::DATA, 20),
    (chunk::INIT, 8),
    (chunk::SHUTDOWN, 10),
    (chunk::SHUTDOWN_ACK, 6),
    (chunk::SHUTDOWN_COMPLETE, 6),
    (chunk::ABORT, 5),
    (chunk::COOKIE_ACK, 4),
    (chunk::INIT_ACK, 3),
    (chunk::ERROR, 4),
];
const SCTP_ANSWERS: [(u8, u8); 10] = [
    (chunk::INIT_ACK, 30),
    (chunk::COOKIE_ACK, 28),
    (chunk::DATA, 12),
    (chunk::SHUTDOWN, 8),
    (chunk::SHUTDOWN_ACK, 6),
    (chunk::SHUTDOWN_COMPLETE, 4),
    (chunk::ABORT, 4),
    (chunk::INIT, 3),
    (chunk::COOKIE_ECHO, 2),
    (chunk::ERROR, 3),
];

/// Conversations so far.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The first packet of each.
    begun: Vec<Packet>,
    /// Some are of SCTP.
    pub(super) sctp: bool,
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
            return Step::Reply(go_on(rng, packet, &ANSWERS, &SCTP_ANSWERS));
        }
        let mut packet = go_on(rng, packet, &SEGMENTS, &CHUNKS);
        if packet.chunk == Some(chunk::INIT) && !self.reuses_ports {
            packet.chunk = Some(chunk::DATA);
        }
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
            Kind::Tcp | Kind::Sctp => false,
            Kind::Udp => true,
            Kind::Marked => rng.bool(),
        };
        let sctp = service.kind == Kind::Sctp
            || self.sctp && service.kind == Kind::Marked && !udp && rng.bool();
        let packet = Packet {
            udp,
            marked: service.kind == Kind::Marked || rng.u8(..100) < 3,
            client: rng.u8(CLIENTS),
            client_port: FIRST_PORT + self.begun.len() as u16,
            vip: service.vip,
            port,
            flags: if udp || sctp { "" } else { "S" }.to_owned(),
            chunk: sctp.then_some(chunk::INIT),
            aborts: false,
            data: if udp { rng.usize(1..60) } else { 0 },
        };
        self.begun.push(packet.clone());
        Step::Packet(packet)
    }
}

fn go_on(
    rng: &mut Rng,
    packet: Packet,
    segments: &[(&'static str, u8)],
    chunks: &[(u8, u8)],
) -> Packet {
    if packet.udp {
        let data = rng.usize(1..200);
        return Packet { data, ..packet };
    }
    if packet.chunk.is_some() {
        let chunk = Some(draw(rng, chunks).unwrap_or(chunk::DATA));
        let data = rng.usize(..200);
        let aborts = rng.u8(..100) < 4;
        return Packet {
            chunk,
            aborts,
            data,
            ..packet
        };
    }
    let flags = draw(rng, segments).unwrap_or("A").to_owned();
    let data = if flags == "PA" { rng.usize(1..200) } else { 0 };
    Packet {
        flags,
        data,
        ..packet
    }
}

/// One of these, as likely as they are.
fn draw<T: Copy>(rng: &mut Rng, from: &[(T, u8)]) -> Option<T> {
    let mut roll = rng.u8(..100);
    let drawn = from.iter().find(|(_, likely)| {
        let here = roll < *likely;
        roll = roll.saturating_sub(*likely);
        here
    });
    drawn.map(|(drawn, _)| *drawn)
}
