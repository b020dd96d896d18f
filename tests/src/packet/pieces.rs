//! A packet cut into fragments, and put together again.

use super::{ETHERNET, check::checksum};

const HEADER: usize = 20;
const HEADER6: usize = 40;
const FRAGMENT: u8 = 44;
const MORE: u16 = 0x2000;

/// Fragments start at multiples of this.
pub const UNIT: usize = 8;

/// Offset of what is cut in a frame without options or extension headers.
#[must_use]
pub const fn data_at(six: bool) -> usize {
    ETHERNET + if six { HEADER6 } else { HEADER }
}

/// The fragments of a frame's packet, which end at these offsets of its data and at its end.
///
/// # Panics
/// If the ends are not in order, or not at multiples of [`UNIT`].
#[must_use]
pub fn pieces(frame: &[u8], six: bool, ends: &[usize], id: u32) -> Vec<Vec<u8>> {
    let data = &frame[data_at(six)..];
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in ends.iter().copied().chain([data.len()]) {
        assert!(start < end && (end == data.len() || end % UNIT == 0));
        let more = end < data.len();
        let head = &frame[..data_at(six)];
        let piece = &data[start..end];
        pieces.push(if six {
            piece_of_six(head, piece, start, more, id)
        } else {
            piece_of_four(head, piece, start, more, id)
        });
        start = end;
    }
    pieces
}

fn piece_of_four(head: &[u8], piece: &[u8], start: usize, more: bool, id: u32) -> Vec<u8> {
    let mut bytes = [head, piece].concat();
    let header = &mut bytes[ETHERNET..ETHERNET + HEADER];
    let place = (start / UNIT) as u16 | if more { MORE } else { 0 };
    header[2..4].copy_from_slice(&((HEADER + piece.len()) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&(id as u16).to_be_bytes());
    header[6..8].copy_from_slice(&place.to_be_bytes());
    mend(header);
    bytes
}

fn piece_of_six(head: &[u8], piece: &[u8], start: usize, more: bool, id: u32) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let header = &mut bytes[ETHERNET..];
    let next = std::mem::replace(&mut header[6], FRAGMENT);
    header[4..6].copy_from_slice(&((UNIT + piece.len()) as u16).to_be_bytes());
    let [high, low] = (start as u16 | u16::from(more)).to_be_bytes();
    bytes.extend([next, 0, high, low]);
    bytes.extend(id.to_be_bytes());
    bytes.extend(piece);
    bytes
}

/// The whole packet of frames with all its fragments, in order, as its receiver makes it.
#[must_use]
pub fn whole(pieces: &[Vec<u8>], six: bool) -> Vec<u8> {
    let at = data_at(six);
    let skip = if six { UNIT } else { 0 };
    let mut bytes = pieces[0][..at].to_vec();
    if six {
        bytes[ETHERNET + 6] = pieces[0][at];
    }
    for piece in pieces {
        bytes.extend(&piece[at + skip..]);
    }
    let len = bytes.len() - ETHERNET;
    let header = &mut bytes[ETHERNET..at];
    if six {
        header[4..6].copy_from_slice(&((len - HEADER6) as u16).to_be_bytes());
    } else {
        header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        header[6..8].fill(0);
        mend(header);
    }
    bytes
}

fn mend(header: &mut [u8]) {
    header[10..12].fill(0);
    let check = checksum(header);
    header[10..12].copy_from_slice(&check.to_be_bytes());
}
