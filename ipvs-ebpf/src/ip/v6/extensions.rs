//! IPv6's extension headers, as far as they are followed.

use core::hint::black_box;

use ipvs_common::{PassReason, hdr::Ipv6};

use crate::{frame::Frame, parse::Piece};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Extension headers that are followed, and how far.
const MOST_HEADERS: u32 = 6;
const FARTHEST: usize = 0x1ff;
/// Bits of an offset in a frame that one of them may have.
pub(super) const ANYWHERE: usize = 0x3ff;
/// More fragments.
const MORE: u16 = 1;
/// Bits of a fragment's place; the first one of a packet has its ports.
pub(crate) const OFFSET: u16 = 0xfff8;
pub(crate) const IS_FRAGMENT: u16 = OFFSET | MORE;
/// Bytes of a fragment header.
pub(super) const FRAGMENT_HEADER: usize = 8;

pub(crate) const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// What is behind the extension headers, in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found(pub u64);

impl Found {
    /// `more`: there are more fragments (1), or none (0).
    const fn at(offset: usize, proto: u8, more: u16) -> Self {
        Self((more as u64) << 31 | (offset as u64) << 8 | proto as u64)
    }

    /// For a header at this offset.
    const fn refused(reason: PassReason, offset: usize) -> Self {
        Self(1 << 32 | (offset as u64) << 8 | reason as u64)
    }

    #[inline(always)]
    pub(crate) const fn proto(self) -> u8 {
        self.0 as u8
    }

    /// Of a packet that has a transport header.
    #[inline(always)]
    pub(crate) const fn piece(self) -> Piece {
        if self.0 & 1 << 31 == 0 {
            Piece::Whole
        } else {
            Piece::First
        }
    }

    /// Offset of the transport header, or of the header that ended the search, for that of IP's header.
    #[inline(always)]
    pub(crate) const fn offset(self, l3: usize) -> usize {
        l3 + size_of::<Ipv6>() + ((self.0 >> 8) as usize & FARTHEST)
    }

    #[inline(always)]
    pub(crate) fn refusal(self) -> Option<PassReason> {
        if self.0 >> 32 == 0 {
            return None;
        }
        Some(if self.0 as u8 == PassReason::Fragment as u8 {
            PassReason::Fragment
        } else if self.0 as u8 == PassReason::Malformed as u8 {
            PassReason::Malformed
        } else {
            PassReason::Extensions
        })
    }
}

/// Follows the extension headers of an IPv6 header at an offset. A fragment header with one of these bits ends that.
#[inline(always)]
pub fn behind_extensions<F: Frame>(f: &mut F, l3: usize, fragment: u16) -> Found {
    let Ok(mut next) = f.at::<Ipv6>(l3).map(|ip| ip.0.next_hdr) else {
        return Found::refused(PassReason::Malformed, 0);
    };
    let (behind, mut at, mut more) = (l3 + size_of::<Ipv6>(), 0, 0);
    for _ in 0..MOST_HEADERS {
        if !is_extension(next) {
            return Found::at(at, next, more);
        }
        let Ok([following, units, high, low]) = f.at::<[u8; 4]>(behind + at).copied() else {
            return Found::refused(PassReason::Malformed, 0);
        };
        if next == FRAGMENT {
            let place = u16::from_be_bytes([high, low]);
            if place & fragment != 0 {
                return Found::refused(PassReason::Fragment, at);
            }
            // Boxed: the verifier need not tell the two apart.
            more |= black_box(place) & MORE;
        }
        let length = match next {
            FRAGMENT => FRAGMENT_HEADER,
            AUTHENTICATION => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        if at + length > FARTHEST {
            return Found::refused(PassReason::Extensions, 0);
        }
        // The mask changes nothing, but gives the verifier the same to go on with, whatever the header was.
        at = black_box(at + length) & FARTHEST;
        next = following;
    }
    if is_extension(next) {
        return Found::refused(PassReason::Extensions, 0);
    }
    Found::at(at, next, more)
}
