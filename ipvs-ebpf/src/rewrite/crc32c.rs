//! CRC-32C, the checksum of SCTP (RFC 9260, appendix A): of bytes, and of what a change among them does to it.
//!
//! It is linear: the sum of a changed packet is the old one, exclusive or that of the change, moved over the zeros behind it.

use core::hint::black_box;

/// The polynomial 0x1EDC6F41, its bits turned round.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a byte adds, with so many more of the same word behind it.
static BYTES: [[u32; 256]; 4] = bytes();

/// What zeros do to half a byte of a sum, by the logarithm of their number and the place of the half.
static ZEROS: [[[u32; 16]; 8]; 16] = zeros();

const fn bytes() -> [[u32; 256]; 4] {
    let mut all = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 == 0 { 0 } else { POLYNOMIAL };
            bit += 1;
        }
        all[0][byte] = sum;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = all[behind - 1][byte];
            all[behind][byte] = before >> 8 ^ all[0][before as usize & 0xff];
            byte += 1;
        }
        behind += 1;
    }
    all
}

const fn zeros() -> [[[u32; 16]; 8]; 16] {
    let of_a_byte = bytes();
    let mut all = [[[0; 16]; 8]; 16];
    // What becomes of each bit.
    let mut bits = [0; 32];
    let mut bit = 0;
    while bit < 32 {
        let sum = 1_u32 << bit;
        bits[bit] = sum >> 8 ^ of_a_byte[0][sum as usize & 0xff];
        bit += 1;
    }
    let mut log = 0;
    while log < 16 {
        let mut half = 0;
        while half < 32 {
            let value = half & 15;
            let mut place = 0;
            while place < 8 {
                all[log][place][value] = of_bits(&bits, (value as u32) << (4 * place));
                place += 1;
            }
            half += 1;
        }
        // Twice as many.
        let once = bits;
        let mut bit = 0;
        while bit < 32 {
            bits[bit] = of_bits(&once, once[bit]);
            bit += 1;
        }
        log += 1;
    }
    all
}

const fn of_bits(bits: &[u32; 32], sum: u32) -> u32 {
    let (mut moved, mut bit) = (0, 0);
    while bit < 32 {
        if sum >> bit & 1 != 0 {
            moved ^= bits[bit];
        }
        bit += 1;
    }
    moved
}

/// What the sum of bytes begins with.
pub const START: u32 = u32::MAX;

/// The sum with one more byte.
#[must_use]
#[inline(always)]
pub fn byte(sum: u32, byte: u8) -> u32 {
    // Boxed, lest the compiler know the bounds and leave out the mask: old verifiers (6.1) know none of an exclusive or.
    let place = black_box(sum ^ u32::from(byte)) & 0xff;
    sum >> 8 ^ BYTES[0][place as usize]
}

/// The same with four bytes, in the order of a little-endian number.
#[must_use]
#[inline(always)]
pub const fn word(sum: u32, word: u32) -> u32 {
    let [a, b, c, d] = (sum ^ word).to_le_bytes();
    BYTES[3][a as usize] ^ BYTES[2][b as usize] ^ BYTES[1][c as usize] ^ BYTES[0][d as usize]
}

/// The same with so many zeros.
#[must_use]
#[inline(always)]
pub fn over_zeros(mut sum: u32, mut zeros: u16) -> u32 {
    for halves in &ZEROS {
        if zeros & 1 != 0 {
            let mut moved = 0;
            let mut rest = sum;
            for values in halves {
                moved ^= values[(rest & 15) as usize];
                rest >>= 4;
            }
            sum = moved;
        }
        zeros >>= 1;
    }
    sum
}

/// The checksum as it stands in a packet.
#[must_use]
#[inline(always)]
pub const fn field(sum: u32) -> [u8; 4] {
    (!sum).to_le_bytes()
}

/// A checksum after two bytes were replaced that `behind` more follow.
#[must_use]
#[inline(always)]
pub fn patch(check: [u8; 4], old: [u8; 2], new: [u8; 2], behind: u16) -> [u8; 4] {
    let ([old_first, old_second], [new_first, new_second]) = (old, new);
    let change = byte(byte(0, old_first ^ new_first), old_second ^ new_second);
    (u32::from_le_bytes(check) ^ over_zeros(change, behind)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u32 {
        bytes.iter().fold(START, |sum, b| byte(sum, *b))
    }

    #[test]
    fn known_bytes_have_the_sums_of_rfc_3720() {
        // RFC 3720, B.4.
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(field(of(&[0; 32])), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(field(of(&[0xff; 32])), [0x43, 0xab, 0xa8, 0x62]);
        assert_eq!(field(of(&rising)), [0x4e, 0x79, 0xdd, 0x46]);
        assert_eq!(field(of(b"123456789")), 0xe306_9283_u32.to_le_bytes());
    }

    #[test]
    fn a_word_is_four_bytes() {
        let sum = of(b"before");
        let bytes = b"word".iter().fold(sum, |sum, b| byte(sum, *b));
        assert_eq!(word(sum, u32::from_le_bytes(*b"word")), bytes);
    }

    #[test]
    fn zeros_are_passed_as_one_by_one() {
        for zeros in [0, 1, 2, 3, 7, 63, 64, 1460, 8191, 65_535] {
            let sum = of(b"something");
            let one_by_one = (0..zeros).fold(sum, |sum, _| byte(sum, 0));
            assert_eq!(over_zeros(sum, zeros), one_by_one, "{zeros}");
        }
    }
}
