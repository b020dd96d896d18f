//! Header layouts of network-types as plain old data of alignment 1, so that a frame can lend them out.
//!
//! Layouts only: nothing here knows what a field means to the director.

use bytemuck::{Pod, Zeroable};
use network_types::{
    eth::EthHdr,
    icmp::Icmpv4Hdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
};

macro_rules! header {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[repr(C, packed)]
        #[derive(Clone, Copy)]
        pub struct $name(pub $inner);

        // SAFETY: `$inner` is a `repr(C)` struct of integers and byte arrays, for which all zeros are a value.
        unsafe impl Zeroable for $name {}
        // SAFETY: as above: any bytes are a value, and a packed struct has no padding of its own; `layout.rs` asserts
        // that the size is the sum of the header's fields, so the inner struct has none either.
        unsafe impl Pod for $name {}
    };
}

header!(
    /// Ethernet II.
    Eth(EthHdr)
);
header!(
    /// IPv4 without options (RFC 791).
    Ipv4(Ipv4Hdr)
);
header!(
    /// IPv6 without extension headers (RFC 8200).
    Ipv6(Ipv6Hdr)
);
header!(
    /// TCP without options (RFC 9293).
    Tcp(TcpHdr)
);
header!(
    /// UDP (RFC 768).
    Udp(UdpHdr)
);
header!(
    /// ICMP (RFC 792).
    Icmp(Icmpv4Hdr)
);

/// Source and destination port, at the same place in TCP, UDP and SCTP. Network order.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub struct Ports {
    pub src: [u8; 2],
    pub dst: [u8; 2],
}

/// Offset of the checksum in TCP.
pub const TCP_CHECK: usize = core::mem::offset_of!(TcpHdr, check);
/// Offset of the checksum in UDP.
pub const UDP_CHECK: usize = core::mem::offset_of!(UdpHdr, check);
/// Offset of the flag byte in TCP (CWR to FIN).
pub const TCP_FLAGS: usize = core::mem::offset_of!(TcpHdr, _bitfield_1) + 1;
