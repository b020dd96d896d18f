//! Transport ports and checksums, partial checksums included.
//!
//! A sender on the same machine (another namespace, a guest) leaves the checksum to its card: the field then holds the sum
//! of the pseudo header, not inverted, and the packet's metadata says so. A frame that leaves by a native XDP redirect loses
//! the metadata, so the checksum has to be completed here; a packet that goes on as an skb keeps it, so there the field has
//! to stay partial. A complete checksum looks like a partial one in 1 of 65,536 packets; completing that is harmless, and
//! taking it for partial where the stack carries on would not be, so
//! there the data decides ([`Partial::Keep`]).
//!
//! Whoever cuts a packet into fragments completes its checksum first, so that of a fragment is never partial, and where it is absent it
//! stays so, as no fragment has all that it is of.

use core::hint::black_box;

use ipvs_common::{
    Event, Proto,
    hdr::{Ports, TCP_CHECK, UDP_CHECK},
};

use super::{csum, sctp};
use crate::{
    Ip,
    exit::Exit,
    frame::Frame,
    parse::{L3, Packet},
    tables::Tables,
};

/// Bits of an offset in a frame that a transport header may have.
const ANYWHERE: usize = 0x3ff;

/// Which end of the packet a translation replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Source,
    Destination,
}

/// What to do with a partial checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Partial {
    /// The frame leaves without metadata: complete it.
    Complete,
    /// The packet goes on in the stack: keep it partial, but only after a look at the data, because a complete checksum
    /// may look like it.
    Keep,
    /// The same for an aggregate of segments, whose checksum is always partial.
    KeepAggregate,
}

/// A new address and port for one end, network order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation<A> {
    pub end: End,
    pub addr: A,
    pub port: [u8; 2],
    pub partial: Partial,
}

/// What the checksum field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// UDP without a checksum.
    Absent,
    /// The sum of the pseudo header.
    Partial,
    Complete,
}

#[inline(always)]
const fn check_offset<A: Ip>(p: &Packet<A>) -> usize {
    p.l4 + if p.is_tcp() { TCP_CHECK } else { UDP_CHECK }
}

#[inline(always)]
fn found<T: Tables>(t: &mut T, p: &Packet<T::A>, check: [u8; 2]) -> Found {
    if !p.is_tcp() && check == [0, 0] {
        return Found::Absent;
    }
    if !p.is_whole() {
        return Found::Complete;
    }
    let pseudo = csum::pseudo(p.key.src, p.key.dst, p.key.proto, p.l4_len);
    if u16::from_be_bytes(check) == csum::fold(pseudo) {
        t.event(Event::ChecksumPartial);
        return Found::Partial;
    }
    Found::Complete
}

/// Completes a partial checksum, for a packet whose addresses and ports stay.
#[inline(always)]
pub fn complete<F: Frame, T: Tables>(f: &mut F, t: &mut T, p: &Packet<T::A>) -> Result<(), Exit> {
    if !p.is_whole() {
        return Ok(());
    }
    if F::SCTP && p.is_sctp() {
        return sctp::complete(f, t, p);
    }
    let check = *f.at::<[u8; 2]>(check_offset(p))?;
    if found(t, p, check) == Found::Partial {
        compute(f, p, p.key.src, p.key.dst)?;
        t.event(Event::ChecksumCompleted);
    }
    Ok(())
}

/// Sum of the words of a packet, as they are on the wire: what a card is to complete (`keeps`) counts as done.
#[inline(always)]
pub fn sum<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>, keeps: bool) -> Result<u16, Exit> {
    if F::SCTP && keeps && p.is_whole() && p.is_sctp() {
        let missing = sctp::missing(f, p)?;
        return Ok(csum::fold(f.sum(L3, usize::from(p.len))? + missing));
    }
    if keeps && p.is_whole() {
        // Boxed, lest the compiler make one pointer of this and of what was read before, in a way that the verifier does not follow.
        // The mask changes nothing.
        let at = black_box(check_offset(p)) & ANYWHERE;
        let check = *f.at::<[u8; 2]>(at)?;
        let pseudo = csum::fold(csum::pseudo(p.key.src, p.key.dst, p.key.proto, p.l4_len));
        if u16::from_be_bytes(check) == pseudo {
            // With a right checksum what it covers sums to zero, together with the pseudo header.
            let before = f.sum(L3, p.l4 - L3)?;
            return Ok(csum::fold(before + u32::from(!pseudo)));
        }
    }
    Ok(csum::fold(f.sum(L3, usize::from(p.len))?))
}

/// Writes a port and brings the checksum in line with it and with the address that replaces the same end.
#[inline(always)]
pub fn translate<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet<T::A>,
    to: &Translation<T::A>,
) -> Result<(), Exit> {
    if p.is_later() {
        return Ok(());
    }
    if F::SCTP && p.is_sctp() {
        return sctp::translate(f, t, p, to);
    }
    let k = &p.key;
    let (src, dst, old_addr, old_port) = match to.end {
        End::Source => (to.addr, k.dst, k.src, k.sport),
        End::Destination => (k.src, to.addr, k.dst, k.dport),
    };
    let check = *f.at::<[u8; 2]>(check_offset(p))?;
    let mut found = found(t, p, check);
    if found == Found::Partial && to.partial == Partial::Keep && is_valid(f, p)? {
        found = Found::Complete;
    }
    let ports = f.at::<Ports>(p.l4)?;
    match to.end {
        End::Source => ports.src = to.port,
        End::Destination => ports.dst = to.port,
    }
    let new = match (found, to.partial) {
        (Found::Absent, _) if !p.is_whole() => return Ok(()),
        (Found::Absent, _) | (Found::Partial, Partial::Complete) => {
            if found == Found::Partial {
                t.event(Event::ChecksumCompleted);
            }
            return compute(f, p, src, dst);
        }
        (Found::Partial, Partial::Keep | Partial::KeepAggregate) => {
            csum::fold(csum::pseudo(src, dst, k.proto, p.l4_len)).to_be_bytes()
        }
        (Found::Complete, _) => {
            let old = old_addr.sum() + csum::word(old_port);
            never_zero(
                p,
                csum::patch(check, old, to.addr.sum() + csum::word(to.port)),
            )
        }
    };
    *f.at::<[u8; 2]>(check_offset(p))? = new;
    Ok(())
}

/// Whether the checksum is complete and right.
#[inline(always)]
fn is_valid<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>) -> Result<bool, Exit> {
    let sum = f.sum(p.l4, usize::from(p.l4_len))?;
    Ok(csum::fold(sum + csum::pseudo(p.key.src, p.key.dst, p.key.proto, p.l4_len)) == 0xffff)
}

/// Computes the whole checksum, with these addresses in the pseudo header.
#[inline(always)]
fn compute<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>, src: A, dst: A) -> Result<(), Exit> {
    let at = check_offset(p);
    *f.at::<[u8; 2]>(at)? = [0, 0];
    let sum = f.sum(p.l4, usize::from(p.l4_len))? + csum::pseudo(src, dst, p.key.proto, p.l4_len);
    *f.at::<[u8; 2]>(at)? = never_zero(p, (!csum::fold(sum)).to_be_bytes());
    Ok(())
}

/// UDP's zero means "no checksum"; its other form says the same sum (RFC 768).
#[inline(always)]
const fn never_zero<A: Ip>(p: &Packet<A>, check: [u8; 2]) -> [u8; 2] {
    if p.key.proto == Proto::Udp as u8 && u16::from_be_bytes(check) == 0 {
        [0xff, 0xff]
    } else {
        check
    }
}
