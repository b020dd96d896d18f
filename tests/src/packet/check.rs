//! Checksums, the obvious way, to compare the fast way with.

use etherparse::{Ipv4HeaderSlice, NetSlice, SlicedPacket};

use super::ETHERNET;

/// The Internet checksum, the obvious way (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let word = |w: &[u8]| u64::from(w[0]) << 8 | u64::from(w.get(1).copied().unwrap_or(0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// CRC-32C, the obvious way (RFC 9260, appendix A).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x1edc_6f41;
    let mut register = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let carry = register >> 31 != u32::from(byte >> bit & 1);
            register = register << 1 ^ if carry { POLYNOMIAL } else { 0 };
        }
    }
    (!register).reverse_bits()
}

fn crc_is_right(packet: &[u8]) -> bool {
    let Some(check) = packet.get(8..12) else {
        return false;
    };
    let mut without = packet.to_vec();
    without[8..12].fill(0);
    crc32c(&without).to_le_bytes() == check
}

/// Whether IP and, for TCP, UDP and SCTP, transport checksum of a frame are right.
#[must_use]
pub fn checksums_are_right(frame: &[u8]) -> bool {
    if frame.get(12..14) == Some(&[0x86, 0xdd]) {
        return checksum_of_six_is_right(frame);
    }
    let Some(header) = frame
        .get(ETHERNET..)
        .and_then(|p| Ipv4HeaderSlice::from_slice(p).ok())
    else {
        return false;
    };
    if checksum(header.slice()) != 0 {
        return false;
    }
    let len = usize::from(header.total_len());
    let Some(data) = frame.get(ETHERNET + header.slice().len()..ETHERNET + len) else {
        return false;
    };
    let proto = header.protocol().0;
    if proto == 132 {
        return crc_is_right(data);
    }
    if !matches!(proto, 6 | 17) || (proto == 17 && data.get(6..8) == Some(&[0, 0])) {
        return true;
    }
    let mut all = [header.source(), header.destination()].concat();
    all.extend([0, proto]);
    all.extend((data.len() as u16).to_be_bytes());
    all.extend_from_slice(data);
    checksum(&all) == 0
}

fn checksum_of_six_is_right(frame: &[u8]) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return false;
    };
    let Some(NetSlice::Ipv6(ip)) = packet.net else {
        return false;
    };
    let payload = ip.payload();
    if payload.ip_number.0 == 132 {
        return crc_is_right(payload.payload);
    }
    if !matches!(payload.ip_number.0, 6 | 17) {
        return true;
    }
    let mut all = [ip.header().source(), ip.header().destination()].concat();
    all.extend((payload.payload.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, payload.ip_number.0]);
    all.extend_from_slice(payload.payload);
    checksum(&all) == 0
}
