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
    /// 1: the driver sends a frame back out of the port (`XDP_TX`); 0: redirect there (veth).
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
    /// The interface that the program hangs on; another one than `ifindex` if that is a VLAN device on it.
    pub port: u32,
    /// Bytes of the tags that were taken off the frame; 0: it came without.
    pub tags_len: u32,
    /// Those tags, as they were.
    pub tags: Tags,
}

/// Tags of VLANs (IEEE 802.1Q), the outer one first, as they stand in a frame: a type and the control information each. One that
/// is not there is all zero.
pub type Tags = [u8; 8];

/// What is known of an interface that frames may be sent to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Egress {
    /// How it takes frames from a native XDP program: one of the numbers below.
    pub xmit: u32,
    /// A VLAN device: the interface that its frames leave by, and the tags that they get.
    pub port: u32,
    pub tags_len: u32,
    pub tags: Tags,
    /// Longest IP packet that the port takes with these tags; 0: not known.
    pub mtu: u32,
}

impl Egress {
    /// Not at all.
    pub const NOTHING: u32 = 0;
    /// As they are (`ndo_xdp_xmit`).
    pub const PLAIN: u32 = 1;
    /// By its port, with tags.
    pub const TAGGED: u32 = 2;
}

/// Where frames with these tags come in.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Pod, Zeroable)]
pub struct VlanKey {
    pub port: u32,
    /// Without priority and drop eligibility.
    pub tags: Tags,
}

impl VlanKey {
    /// Types of tags (`ETH_P_8021Q`, `ETH_P_8021AD`).
    pub const CUSTOMER: [u8; 2] = [0x81, 0x00];
    pub const SERVICE: [u8; 2] = [0x88, 0xa8];

    /// Whether this is the type of a tag, as it stands in a frame.
    #[must_use]
    #[inline(always)]
    pub const fn is_tag(ether_type: [u8; 2]) -> bool {
        matches!(ether_type, Self::CUSTOMER | Self::SERVICE)
    }

    #[must_use]
    #[inline(always)]
    pub const fn new(port: u32, tags: Tags) -> Self {
        let mut tags = tags;
        tags[2] &= 0x0f;
        tags[6] &= 0x0f;
        Self { port, tags }
    }
}
