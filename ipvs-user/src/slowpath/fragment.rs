//! Fragmentation (RFC 791, 3.2; RFC 8200, 4.5), for the packets that are too long once they are tunneled. Packets of IPv6 are
//! fragmented by their senders alone: that is the director where they carry one of IPv4.

mod six;

use super::frame::ETHERNET;

const MIN_HEADER: usize = 20;
/// Do not fragment.
const DF: u16 = 0x4000;
/// More fragments.
const MF: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Fragments start at multiples of this.
const UNIT: usize = 8;

/// Cuts an Ethernet frame's IPv4 packet so that no piece is longer than `mtu`; a packet that fits comes back whole. One
/// without an identification gets `id`. Empty if the frame holds no IP packet, or if the MTU leaves no room for data.
///
/// Whether the packet may be fragmented at all was decided before.
#[must_use]
pub fn fragment(frame: &[u8], mtu: usize, id: u16) -> Vec<Vec<u8>> {
    cut(frame, mtu, id).unwrap_or_default()
}

fn cut(frame: &[u8], mtu: usize, id: u16) -> Option<Vec<Vec<u8>>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let first = *packet.first()?;
    if first >> 4 == 6 {
        let packet = packet.get(..length_v6(packet)?)?;
        if packet.len() > mtu {
            return six::cut(ethernet, packet, mtu, id);
        }
        return Some(vec![[ethernet, packet].concat()]);
    }
    let header_len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header_len < MIN_HEADER {
        return None;
    }
    // What follows the packet is padding of the frame.
    let packet = packet.get(..usize::from(word(packet, 2)?))?;
    let (header, data) = packet.split_at_checked(header_len)?;
    if packet.len() <= mtu {
        return Some(vec![[ethernet, packet].concat()]);
    }
    let later = later_header(header);
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let header = if pieces.is_empty() { header } else { &later };
        let room = mtu.checked_sub(header.len())?;
        let take = match rest.len() {
            all if all <= room => all,
            _ => room / UNIT * UNIT,
        };
        if take == 0 {
            return None;
        }
        let start = data.len() - rest.len();
        let (piece, after) = rest.split_at(take);
        let header = finish(header, piece.len(), start, !after.is_empty(), id)?;
        pieces.push([ethernet, &header, piece].concat());
        rest = after;
    }
    Some(pieces)
}

/// A fragment's header. A packet that was a fragment itself keeps its place in the whole, and its identification whatever it is.
fn finish(header: &[u8], data: usize, start: usize, more: bool, id: u16) -> Option<Vec<u8>> {
    let before = word(header, 6)?;
    let offset = usize::from(before & OFFSET) + start / UNIT;
    let flags = before & !OFFSET | if more { MF } else { 0 };
    let id = match word(header, 4)? {
        0 if before & (MF | OFFSET) == 0 => id,
        own => own,
    };
    let mut header = header.to_vec();
    header[0] = 0x40 | (header.len() / 4) as u8;
    let total = u16::try_from(header.len() + data).ok()?;
    put(&mut header, 2, total);
    put(&mut header, 4, id);
    put(&mut header, 6, flags | u16::try_from(offset).ok()?);
    put(&mut header, 10, 0);
    let sum = checksum(&header);
    put(&mut header, 10, sum);
    Some(header)
}

/// The header of all fragments but the first: of the options only those that say so are copied.
fn later_header(header: &[u8]) -> Vec<u8> {
    /// End of the list, and padding.
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let (fixed, mut options) = header.split_at(MIN_HEADER);
    let mut later = fixed.to_vec();
    while let [kind, after @ ..] = options
        && *kind != END
    {
        if *kind == NO_OPERATION {
            options = after;
            continue;
        }
        let len = after.first().map_or(0, |l| usize::from(*l));
        // An option that contradicts itself ends the list.
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len >= 2) else {
            break;
        };
        if kind & COPIED != 0 {
            later.extend_from_slice(option);
        }
        options = rest;
    }
    later.resize(later.len().next_multiple_of(4), END);
    later
}

/// Length of an IPv6 packet.
fn length_v6(packet: &[u8]) -> Option<usize> {
    const HEADER: usize = 40;
    Some(HEADER + usize::from(word(packet, 4)?))
}

/// A packet that says "do not fragment", or is one of IPv6, and is longer than `mtu`. (Of a tunnel's packet over IPv6 it is no
/// longer known whether the client forbids it.)
#[must_use]
pub(super) fn is_forbidden(frame: &[u8], mtu: usize) -> bool {
    let packet = frame.get(ETHERNET..).unwrap_or_default();
    if packet.first().is_some_and(|first| first >> 4 == 6) {
        return length_v6(packet).is_some_and(|length| length > mtu);
    }
    let (Some(length), Some(flags)) = (word(packet, 2), word(packet, 6)) else {
        return false;
    };
    flags & DF != 0 && usize::from(length) > mtu
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Checksum of a header (RFC 1071) whose own checksum field is zero.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let sum: u32 = words
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    // A header has 30 words at most: two folds take up every carry.
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests;
