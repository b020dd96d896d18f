//! Internet checksum arithmetic (RFC 1071, RFC 1624). Words are big-endian, as on the wire.

use crate::Ip;

/// Folds a sum of 16-bit words to 16 bits.
#[must_use]
#[inline(always)]
pub const fn fold(mut s: u32) -> u16 {
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    s as u16
}

#[must_use]
#[inline(always)]
pub const fn word(b: [u8; 2]) -> u32 {
    u16::from_be_bytes(b) as u32
}

/// Sum of the TCP and UDP pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
#[must_use]
#[inline(always)]
pub fn pseudo<A: Ip>(src: A, dst: A, proto: u8, l4_len: u16) -> u32 {
    src.sum() + dst.sum() + u32::from(proto) + u32::from(l4_len)
}

/// A checksum after words that summed to `old` were replaced by words that sum to `new` (RFC 1624, equation 3).
///
/// `old` and `new` are sums of fewer than 65,536 words each.
#[must_use]
#[inline(always)]
pub const fn patch(check: [u8; 2], old: u32, new: u32) -> [u8; 2] {
    let s = (!u16::from_be_bytes(check)) as u32 + (!fold(old)) as u32 + new;
    (!fold(s)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_gives_the_example_of_rfc_1624() {
        // RFC 1624, section 4: 0xDD2F, 0x5555 replaced by 0x3285 gives 0x0000.
        assert_eq!(patch([0xdd, 0x2f], 0x5555, 0x3285), [0, 0]);
    }

    #[test]
    fn fold_keeps_every_carry() {
        assert_eq!(fold(0xffff_ffff), 0xffff);
        assert_eq!(fold(0x0001_ffff), 1);
    }
}
