//! Packets of IPv6 without extension headers, as the director's own are.

use super::{UNIT, put};

const HEADER: usize = 40;
/// Of a fragment.
const EXTENSION: usize = 8;
const NEXT_HEADER: usize = 6;
const PAYLOAD: usize = 4;
const FRAGMENT: u8 = 44;
const MORE: u16 = 1;

/// Cuts a packet that is longer than `mtu`. `None`: that leaves no room for data.
pub(super) fn cut(ethernet: &[u8], packet: &[u8], mtu: usize, id: u16) -> Option<Vec<Vec<u8>>> {
    let (header, data) = packet.split_at_checked(HEADER)?;
    let room = mtu.checked_sub(HEADER + EXTENSION)? / UNIT * UNIT;
    if room == 0 {
        return None;
    }
    let piece = |(n, piece): (usize, &[u8])| {
        let start = n * room;
        let more = if start + piece.len() < data.len() {
            MORE
        } else {
            0
        };
        let mut header = header.to_vec();
        let next = std::mem::replace(&mut header[NEXT_HEADER], FRAGMENT);
        put(&mut header, PAYLOAD, (EXTENSION + piece.len()) as u16);
        // The offset counts units, above three bits.
        let mut extension = [next, 0, 0, 0, 0, 0, 0, 0];
        put(&mut extension, 2, start as u16 | more);
        put(&mut extension, 6, id);
        [ethernet, &header, &extension, piece].concat()
    };
    Some(data.chunks(room).enumerate().map(piece).collect())
}
