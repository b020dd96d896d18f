//! Packets cut into fragments, which come in any order and with others between them.

use fastrand::Rng;

use super::Arrival;
use crate::packet::{UNIT, data_at, pieces};

/// The fragments of a frame's packet in the order in which they arrive; empty if it has too little to be cut.
pub(super) fn cut(rng: &mut Rng, link: usize, frame: &[u8], six: bool) -> Vec<Arrival> {
    let len = frame.len().saturating_sub(data_at(six));
    if len <= UNIT {
        return Vec::new();
    }
    let (mut ends, mut end) = (Vec::new(), 0);
    loop {
        // Now and then too short for a transport header.
        let least = if rng.u8(..16) == 0 { 1 } else { 3 };
        end += rng.usize(least..least + 20) * UNIT;
        if end >= len {
            break;
        }
        ends.push(end);
    }
    let cut = pieces(frame, six, &ends, rng.u32(..));
    let mut cut: Vec<_> = cut
        .into_iter()
        .map(|frame| Arrival { link, frame })
        .collect();
    match rng.u8(..4) {
        0 => rng.shuffle(&mut cut),
        1 => cut.reverse(),
        _ => {}
    }
    // Some get lost.
    if rng.u8(..8) == 0 {
        cut.remove(rng.usize(..cut.len()));
    }
    cut
}
