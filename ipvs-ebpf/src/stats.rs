//! Counting packets and bytes of a real server.

use ipvs_common::Stats;

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

#[inline(always)]
pub fn outbound<T: Tables>(t: &mut T, dest: u32, len: u16) {
    t.count(
        dest,
        &Stats {
            out_packets: 1,
            out_bytes: u64::from(len),
            ..Stats::default()
        },
    );
}
