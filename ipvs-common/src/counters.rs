//! Traffic counters.

use bytemuck::{Pod, Zeroable};

/// Traffic of one real server on one CPU; those of a service and of the whole are sums of these.
///
/// Bytes are IP total lengths, before encapsulation and after translation.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Stats {
    pub conns: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

impl Stats {
    /// Sum of two, field by field.
    #[must_use]
    pub const fn plus(self, o: Self) -> Self {
        Self {
            conns: self.conns.wrapping_add(o.conns),
            in_packets: self.in_packets.wrapping_add(o.in_packets),
            out_packets: self.out_packets.wrapping_add(o.out_packets),
            in_bytes: self.in_bytes.wrapping_add(o.in_bytes),
            out_bytes: self.out_bytes.wrapping_add(o.out_bytes),
        }
    }
}
