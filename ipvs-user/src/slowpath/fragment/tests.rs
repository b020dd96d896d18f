//! Fragments against what ip_vs was seen to send, and against what RFC 791 asks.

use proptest::prelude::*;

use super::*;

/// A frame with these header options and this much data, each byte of which tells its place.
fn frame(options: &[u8], data: usize, id: u16, flags: u16) -> Vec<u8> {
    let header_len = MIN_HEADER + options.len();
    let mut header = vec![0; MIN_HEADER];
    header[0] = 0x40 | (header_len / 4) as u8;
    put(&mut header, 2, (header_len + data) as u16);
    put(&mut header, 4, id);
    put(&mut header, 6, flags);
    header[8..10].copy_from_slice(&[63, 4]);
    header[12..20].copy_from_slice(&[10, 0, 1, 1, 10, 0, 1, 10]);
    header.extend_from_slice(options);
    let sum = checksum(&header);
    put(&mut header, 10, sum);
    let data: Vec<u8> = (0..data).map(|i| (i / UNIT) as u8).collect();
    [&[0xee; ETHERNET][..], &header, &data].concat()
}

fn packet(frame: &[u8]) -> &[u8] {
    &frame[ETHERNET..]
}

fn header_of(packet: &[u8]) -> &[u8] {
    &packet[..usize::from(packet[0] & 0xf) * 4]
}

fn field(frame: &[u8], at: usize) -> u16 {
    word(packet(frame), at).unwrap()
}

/// The sum over a header with its checksum in place is all ones.
fn is_sound(frame: &[u8]) -> bool {
    checksum(header_of(packet(frame))) == 0
}

#[test]
fn a_tunneled_packet_of_full_size_leaves_as_1500_and_40_bytes() {
    // As ip_vs was seen to do it: inner packet of 1500 bytes without DF, MTU 1500.
    let pieces = fragment(&frame(&[], 1500, 0x2aa6, 0), 1500, 9);
    let lengths: Vec<_> = pieces.iter().map(|p| field(p, 2)).collect();
    assert_eq!(lengths, [1500, 40]);
    let offsets: Vec<_> = pieces.iter().map(|p| field(p, 6)).collect();
    assert_eq!(offsets, [MF, 0xb9]);
    assert!(pieces.iter().all(|p| field(p, 4) == 0x2aa6 && is_sound(p)));
}

#[test]
fn first_golden_fragment_has_the_header_that_ip_vs_wrote() {
    let golden = [
        0x45, 0x00, 0x05, 0xdc, 0x2a, 0xa6, 0x20, 0x00, 0x3f, 0x04, 0x15, 0x6e, 0x0a, 0x00, 0x01,
        0x01, 0x0a, 0x00, 0x01, 0x0a,
    ];
    let pieces = fragment(&frame(&[], 1500, 0x2aa6, 0), 1500, 9);
    assert_eq!(header_of(packet(&pieces[0])), golden);
}

#[test]
fn a_packet_that_fits_stays_whole_but_for_the_padding_of_the_frame() {
    let whole = frame(&[], 10, 1, 0);
    let padded = [&whole[..], &[0; 16]].concat();
    assert_eq!(fragment(&padded, 1500, 9), [whole]);
}

#[test]
fn a_packet_without_identification_gets_one() {
    let pieces = fragment(&frame(&[], 3000, 0, 0), 1500, 77);
    assert!(pieces.iter().all(|p| field(p, 4) == 77));
}

#[test]
fn only_options_marked_as_copied_go_with_later_fragments() {
    // Record route (not copied), no operation, stream identifier (copied), end.
    let options = [7, 3, 4, 1, 0x88, 4, 0xab, 0xcd, 0, 0, 0, 0];
    let pieces = fragment(&frame(&options, 2000, 5, 0), 1500, 9);
    assert_eq!(header_of(packet(&pieces[0]))[20..], options);
    assert_eq!(header_of(packet(&pieces[1]))[20..], [0x88, 4, 0xab, 0xcd]);
    assert!(pieces.iter().all(|p| is_sound(p)));
}

#[test]
fn a_fragment_of_a_fragment_keeps_its_place() {
    let middle = frame(&[], 1000, 5, MF | 0x64);
    let pieces = fragment(&middle, 524, 9);
    let offsets: Vec<_> = pieces.iter().map(|p| field(p, 6)).collect();
    assert_eq!(offsets, [MF | 0x64, MF | 0xa3]);
}

#[test]
fn what_is_no_packet_gives_nothing() {
    assert!(fragment(&[], 1500, 1).is_empty());
    assert!(fragment(&[0x60; 60], 1500, 1).is_empty());
    assert!(
        fragment(&frame(&[], 100, 1, 0)[..60], 1500, 1).is_empty(),
        "cut short"
    );
    assert!(
        fragment(&frame(&[], 100, 1, 0), 24, 1).is_empty(),
        "no room for data"
    );
}

proptest! {
    #[test]
    fn the_pieces_make_the_whole_again(data in 1_usize..4000, mtu in 68_usize..2000, options in 0_usize..=10) {
        let frame = frame(&vec![1; options * 4], data, 5, 0);
        let pieces = fragment(&frame, mtu, 9);
        let mut whole = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert!(packet(piece).len() <= mtu);
            prop_assert!(is_sound(piece));
            prop_assert_eq!(usize::from(field(piece, 2)), packet(piece).len());
            prop_assert_eq!(usize::from(field(piece, 6) & OFFSET) * UNIT, whole.len());
            prop_assert_eq!(field(piece, 6) & MF != 0, i + 1 < pieces.len());
            whole.extend_from_slice(&packet(piece)[header_of(packet(piece)).len()..]);
        }
        prop_assert_eq!(whole, &frame[frame.len() - data..]);
    }

    #[test]
    fn no_frame_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300), mtu in 0_usize..400) {
        let _ = fragment(&bytes, mtu, 1);
    }
}
