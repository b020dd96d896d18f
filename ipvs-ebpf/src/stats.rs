//! Counting packets and bytes of a real server. As in ip_vs nothing is counted of a deleted one, whose connections may go on.

use ipvs_common::{DestFlags, Stats};

use crate::{parse::Packet, tables::Tables};

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
            in_packets: 1,
            in_bytes: u64::from(p.len),
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
    if !is_listed(t, dest) {
        return;
    }
    t.count(
        dest,
        &Stats {
            out_packets: 1,
            out_bytes: u64::from(len),
            ..Stats::default()
        },
    );
}

#[inline(always)]
fn is_listed<T: Tables>(t: &T, dest: u32) -> bool {
    t.dest(dest)
        .is_some_and(|d| d.flags & DestFlags::AVAILABLE != 0)
}
