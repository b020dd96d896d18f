//! Ethernet frames as bytes.

use ipvs_common::{Mac, PuntHeader};

/// Bytes before the IP header.
pub(super) const ETHERNET: usize = 14;

/// The frame with these addresses; those that are all zero stay as they are.
pub(super) fn address(frame: &[u8], dst: Mac, src: Mac) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for (at, mac) in [(0, dst), (6, src)] {
        if mac != Mac::default()
            && let Some(place) = frame.get_mut(at..at + mac.len())
        {
            place.copy_from_slice(&mac);
        }
    }
    frame
}

/// The frame as it came in: with the tags that were taken off.
pub(super) fn tagged(frame: &[u8], header: &PuntHeader) -> Vec<u8> {
    const ADDRESSES: usize = 12;
    let mut frame = frame.to_vec();
    let (tags, len) = header.tags();
    if let Some(tags) = tags.get(..len)
        && frame.len() >= ADDRESSES
    {
        frame.splice(ADDRESSES..ADDRESSES, tags.iter().copied());
    }
    frame
}
