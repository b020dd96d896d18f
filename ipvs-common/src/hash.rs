//! The hash functions that decide where a packet goes, to the bit as in ip_vs: user space fills tables by them, the datapath
//! looks them up.

/// Buckets of dh and sh.
pub const BUCKETS: u32 = 256;

/// Multiplicative hash of `dh` and `sh` (the kernel's `hash_32` with 8 bits).
#[must_use]
#[inline(always)]
pub const fn hash32(v: u32) -> u32 {
    v.wrapping_mul(0x61c8_8647) >> 24
}

/// Keys of Maglev's two hash functions, each used for both halves of the key.
pub const MAGLEV_OFFSET: u64 = 2_654_435_761;
pub const MAGLEV_SKIP: u64 = 2_654_446_892;

/// Low half of SipHash-1-3 of one little-endian word, under a key of two equal halves.
#[must_use]
#[inline(always)]
pub const fn siphash13(word: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    // The last block of a message: its length in the highest byte.
    let block = (4 << 56) | word as u64;
    v[3] ^= block;
    v = round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}
