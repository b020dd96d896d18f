//! What IPv6 has of its own among what can be wrong with a packet.

use std::net::SocketAddrV4;

use etherparse::Ipv6HeaderSlice;
use fastrand::Rng;
use ipvs_common::Proto;

use super::{
    flaw::{LONGEST, SHORTEST, damage, set, set_type, tag},
    ports,
};
use crate::{packet::ETHERNET, six::four};

/// Numbers of extension headers, and of others.
const HEADERS: [u8; 8] = [0, 43, 44, 51, 60, 59, 50, 135];
const FRAGMENT: u8 = 44;

/// Some extension headers, most of which are right.
pub(super) fn extensions(rng: &mut Rng) -> Vec<(u8, Vec<u8>)> {
    let count = if rng.u8(..8) == 0 { 9 } else { rng.usize(1..5) };
    (0..count).map(|_| extension(rng)).collect()
}

fn extension(rng: &mut Rng) -> (u8, Vec<u8>) {
    // Seldom one that nobody follows.
    let of = if rng.u8(..16) == 0 { 8 } else { 5 };
    let number = HEADERS[rng.usize(..of)];
    let units = if rng.u8(..12) == 0 {
        rng.u8(..)
    } else {
        rng.u8(..3)
    };
    let len = match number {
        FRAGMENT => 8,
        51 => (usize::from(units) + 2) * 4,
        _ => (usize::from(units) + 1) * 8,
    };
    let mut body = vec![0; len];
    body[1] = units;
    if number == FRAGMENT && rng.bool() {
        // One that is whole all the same, or not.
        body[3] = rng.u8(..) & 6;
        body[2..4].copy_from_slice(&rng.u16(..).to_be_bytes());
    }
    (number, body)
}

/// Type and code of a message of ICMPv6, mostly of an error.
pub(super) fn kind(rng: &mut Rng) -> (u8, u8) {
    match rng.u8(..16) {
        0..5 => (1, rng.u8(..8)),
        5..10 => (2, 0),
        10..13 => (3, rng.u8(..2)),
        13 => (4, rng.u8(..4)),
        14 => (rng.u8(..), rng.u8(..3)),
        _ => (rng.u8(..6), rng.u8(..)),
    }
}

/// Broken, or of another kind.
pub(super) fn of_frame(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.u8(..32) {
        0 => frame.truncate(rng.usize(SHORTEST..frame.len())),
        1 => set(frame, 4, rng.u16(..)),
        2 => {
            let len = frame.len() as u16;
            set(frame, 4, rng.u16(len.saturating_sub(60)..len + 10));
        }
        3 => frame[ETHERNET] = rng.u8(..),
        4 => tag(frame),
        5 => set_type(frame, *rng.choice(&[0x0806, 0x0800, 0x88a8]).unwrap_or(&0)),
        6 => frame[ETHERNET + 6] = rng.u8(..),
        7 => frame.extend((0..rng.usize(1..50)).map(|_| rng.u8(..))),
        8 => mapped(rng, frame),
        9..12 => damage(rng, frame),
        _ => {}
    }
    frame.truncate(LONGEST);
}

/// An address in the form that stands for one of IPv4.
fn mapped(rng: &mut Rng, frame: &mut [u8]) {
    let at = ETHERNET + if rng.bool() { 8 } else { 24 };
    if frame.len() < at + 16 {
        return;
    }
    frame[at..at + 10].fill(0);
    frame[at + 10..at + 12].fill(0xff);
    frame[at + 12..at + 16].copy_from_slice(&[203, 0, 113, 10]);
}

/// Protocol, source and destination of a frame, as those whose twins they are.
pub(super) fn seen(sent: &[u8]) -> Option<(Proto, SocketAddrV4, SocketAddrV4)> {
    let header = Ipv6HeaderSlice::from_slice(sent.get(ETHERNET..)?).ok()?;
    let proto = Proto::from_number(header.next_header().0)?;
    let (sport, dport) = ports(sent, ETHERNET + header.slice().len())?;
    Some((
        proto,
        SocketAddrV4::new(four(header.source_addr())?, sport),
        SocketAddrV4::new(four(header.destination_addr())?, dport),
    ))
}
