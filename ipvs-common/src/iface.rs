//! Facts of an interface: those that are compiled into its program, and those asked about an egress.

use bytemuck::{Pod, Zeroable};

use crate::net::Mac;

/// How the program hangs on the interface.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachMode {
    /// In the driver: a forwarded frame loses checksum offload and segmentation state.
    Native = 0,
    /// In the stack: a frame keeps both, and may be a 64 KB super packet.
    Generic = 1,
}

/// Constants of the program of one interface. They stand in its read-only data, so the verifier removes what they rule out; the
/// later stages, which interfaces share, find them where the first one left them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Iface {
    /// Frames to other unicast addresses are not the director's; all zero: do not look.
    pub mac: Mac,
    /// An [`AttachMode`].
    pub mode: u8,
    /// 1: the driver sends a frame back out of the interface (`XDP_TX`); 0: redirect there (veth).
    pub tx: u8,
    pub ifindex: u32,
    /// Every packet that enters here carries this firewall mark; 0: none.
    pub mark: u32,
    /// Longest IP packet that can be one packet of the wire; longer ones are aggregates.
    pub mtu: u32,
    /// Half-open connections kept, a power of two, less 1.
    pub half_open_mask: u32,
    /// The same of IPv6.
    pub half_open6_mask: u32,
    /// 1: the clock is the value in the `CLOCK` map (tests in virtual time).
    pub test_clock: u32,
    /// 1: the frame did not come in just now; the daemon held it, has the program look at it again, and sends what becomes of it.
    pub held: u32,
}

/// What is known of an interface that frames may be sent to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Egress {
    /// 1: it takes frames from a native XDP program (`ndo_xdp_xmit`).
    pub xdp_xmit: u32,
}
