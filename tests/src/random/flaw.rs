//! What can be wrong with a packet, or unusual about it.

use fastrand::Rng;
use ipvs_common::Proto;

use crate::packet::{ETHERNET, Packet, checksum};

/// The kernel's test run takes no shorter frames, and no longer ones without fragments.
pub(super) const SHORTEST: usize = 14;
pub(super) const LONGEST: usize = 3400;

/// Unusual, but right.
pub(super) fn of_packet(rng: &mut Rng, packet: &mut Packet) {
    match rng.u8(..40) {
        0 => packet.ttl = rng.u8(..3),
        1 | 2 if packet.six => packet.extensions = super::six::extensions(rng),
        1 => packet.options = (0..4 * rng.usize(1..=10)).map(|_| 1).collect(),
        2 => packet.options = (0..4 * rng.usize(1..=10)).map(|_| rng.u8(..)).collect(),
        3 => packet.src.set_port(20),
        4 => packet.to = [0xff; 6],
        5 => packet.to[5] ^= 1,
        _ => {}
    }
}

/// The frame, with a checksum that is complete, partial, absent or wrong.
pub(super) fn frame(rng: &mut Rng, packet: &Packet) -> Vec<u8> {
    let at = packet.checksum_at();
    match rng.u8(..16) {
        0..4 => packet.frame_with_partial_checksum(),
        4 if packet.proto == Proto::Udp => {
            let mut frame = packet.frame();
            frame[at..at + 2].fill(0);
            frame
        }
        5 => {
            let mut frame = packet.frame();
            frame[at] ^= 1 << rng.u8(..8);
            frame
        }
        _ => packet.frame(),
    }
}

/// Broken, or of another kind.
pub(super) fn of_frame(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.u8(..32) {
        0 => fragment(rng, frame),
        1 => frame.truncate(rng.usize(SHORTEST..frame.len())),
        2 => set(frame, 2, rng.u16(..)),
        3 => {
            let len = frame.len() as u16;
            set(frame, 2, rng.u16(len.saturating_sub(40)..len + 10));
        }
        4 => frame[ETHERNET] = rng.u8(..),
        5 => tag(frame),
        6 => set_type(frame, *rng.choice(&[0x0806, 0x86dd, 0x88a8]).unwrap_or(&0)),
        7 => frame[ETHERNET + 9] = rng.u8(..),
        8 => frame.extend((0..rng.usize(1..50)).map(|_| rng.u8(..))),
        9..12 => damage(rng, frame),
        _ => {}
    }
    if rng.bool() {
        mend_header(frame);
    }
    frame.truncate(LONGEST);
}

/// Flips bytes, most of them where headers are.
pub(super) fn damage(rng: &mut Rng, frame: &mut [u8]) {
    for _ in 0..rng.usize(1..8) {
        let end = if rng.u8(..4) == 0 {
            frame.len()
        } else {
            frame.len().min(60)
        };
        let at = rng.usize(..end);
        frame[at] = rng.u8(..);
    }
}

fn fragment(rng: &mut Rng, frame: &mut [u8]) {
    let offset = if rng.bool() { rng.u16(..0x2000) } else { 0 };
    let more = if rng.bool() { 0x2000 } else { 0 };
    set(frame, 6, offset | more);
}

/// Puts a VLAN tag in.
pub(super) fn tag(frame: &mut Vec<u8>) {
    frame.splice(12..12, [0x81, 0, 0, 7]);
}

pub(super) fn set(frame: &mut [u8], at: usize, value: u16) {
    frame[ETHERNET + at..ETHERNET + at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(super) fn set_type(frame: &mut [u8], value: u16) {
    frame[12..14].copy_from_slice(&value.to_be_bytes());
}

/// Makes the checksum of the IP header right again, as if it had been sent so.
fn mend_header(frame: &mut [u8]) {
    let Some(first) = frame.get(ETHERNET) else {
        return;
    };
    let end = ETHERNET + usize::from(first & 15) * 4;
    if let Some(header) = frame.get_mut(ETHERNET..end)
        && header.len() >= 20
    {
        header[10..12].fill(0);
        let check = checksum(header);
        header[10..12].copy_from_slice(&check.to_be_bytes());
    }
}
