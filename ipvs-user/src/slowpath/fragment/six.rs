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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EXTENSION, FRAGMENT, HEADER, UNIT};
    use crate::slowpath::fragment;

    const ETHERNET: usize = 14;
    const PROTOCOL: u8 = 4;

    fn frame(data: usize) -> Vec<u8> {
        let mut frame = vec![7; ETHERNET];
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((data as u16).to_be_bytes());
        frame.extend([PROTOCOL, 63]);
        frame.extend([9; 32]);
        frame.extend((0..data).map(|n| (n % 251) as u8));
        frame
    }

    fn word(bytes: &[u8], at: usize) -> usize {
        usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
    }

    proptest! {
        #[test]
        fn the_pieces_make_the_whole_again(data in 1_usize..4000, mtu in 1280_usize..2000) {
            let frame = frame(data);
            let pieces = fragment(&frame, mtu, 9);
            if HEADER + data <= mtu {
                prop_assert_eq!(pieces, vec![frame]);
                return Ok(());
            }
            let mut whole = Vec::new();
            for (i, piece) in pieces.iter().enumerate() {
                let packet = &piece[ETHERNET..];
                prop_assert!(packet.len() <= mtu);
                prop_assert_eq!(&piece[..ETHERNET + 4], &frame[..ETHERNET + 4]);
                prop_assert_eq!(word(packet, 4), packet.len() - HEADER);
                prop_assert_eq!((packet[6], packet[7]), (FRAGMENT, 63));
                prop_assert_eq!(&packet[8..HEADER], &frame[ETHERNET + 8..ETHERNET + HEADER]);
                let extension = &packet[HEADER..HEADER + EXTENSION];
                prop_assert_eq!((extension[0], word(extension, 6)), (PROTOCOL, 9));
                prop_assert_eq!(word(extension, 2) / UNIT * UNIT, whole.len());
                prop_assert_eq!(extension[3] & 1 != 0, i + 1 < pieces.len());
                whole.extend_from_slice(&packet[HEADER + EXTENSION..]);
            }
            prop_assert_eq!(whole, &frame[ETHERNET + HEADER..]);
        }
    }

    #[test]
    fn without_room_for_data_there_are_no_pieces() {
        assert!(fragment(&frame(100), HEADER + EXTENSION + UNIT - 1, 1).is_empty());
    }
}
