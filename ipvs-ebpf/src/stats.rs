//! Counting packets and bytes of a real server. As in ip_vs nothing is counted of a deleted one, whose connections may go on.

use ipvs_common::{DestFlags, Stats};

use crate::{
    Ip,
    parse::{Packet, Piece},
    tables::Tables,
};

#[inline(always)]
pub fn connection<T: Tables>(t: &mut T, dest: u32) {
    t.count(
        dest,
        &Stats {
            conns: 1,
            ..Stats::default()
        },
    );
}

/// For who knows that the real server is listed.
#[inline(always)]
pub fn inbound<T: Tables>(t: &mut T, dest: u32, p: &Packet<T::A>) {
    t.count(
        dest,
        &Stats {
            in_packets: packets(p),
            in_bytes: bytes(p),
            ..Stats::default()
        },
    );
}

/// For who does not.
#[inline(always)]
pub fn inbound_if_listed<T: Tables>(t: &mut T, dest: u32, p: &Packet<T::A>) {
    if is_listed(t, dest) {
        inbound(t, dest, p);
    }
}

#[inline(always)]
pub fn outbound<T: Tables>(t: &mut T, dest: u32, len: u16) {
    outbound_of(t, dest, 1, u64::from(len));
}

/// The same for a packet that may be a fragment.
#[inline(always)]
pub fn outbound_piece<T: Tables>(t: &mut T, dest: u32, p: &Packet<T::A>) {
    outbound_of(t, dest, packets(p), bytes(p));
}

#[inline(always)]
fn outbound_of<T: Tables>(t: &mut T, dest: u32, packets: u64, bytes: u64) {
    if !is_listed(t, dest) {
        return;
    }
    t.count(
        dest,
        &Stats {
            out_packets: packets,
            out_bytes: bytes,
            ..Stats::default()
        },
    );
}

/// ip_vs sees packets whole: of a fragment behind the first one only the data count, and of that one no header of fragments.
#[inline(always)]
const fn packets<A: Ip>(p: &Packet<A>) -> u64 {
    if p.is_later() { 0 } else { 1 }
}

#[inline(always)]
const fn bytes<A: Ip>(p: &Packet<A>) -> u64 {
    (match p.piece {
        Piece::Whole => p.len,
        Piece::First => p.len.saturating_sub(A::FRAGMENT_HEADER),
        Piece::Later => p.l4_len,
    }) as u64
}

#[inline(always)]
fn is_listed<T: Tables>(t: &T, dest: u32) -> bool {
    t.dest(dest)
        .is_some_and(|d| d.flags & DestFlags::AVAILABLE != 0)
}
