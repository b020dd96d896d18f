//! What differs between the two versions of IP. Everything else is written once, for tables of either width.

pub(crate) mod v4;
pub mod v6;

use ipvs_common::{Addr, Address, DropReason, FlowKey, Hop, Iface, ServiceKey};

use crate::{
    exit::Exit,
    frame::Frame,
    fwd::Tunnel,
    icmp,
    parse::{
        Fragmented, Packet,
        error::{Message, Quoted},
    },
    rewrite::l4::End,
};

/// An address, and the headers that carry it.
pub trait Ip: Address {
    /// The other version.
    type Other: Ip<Other = Self>;

    /// IP's number of its ICMP.
    const ICMP: u8;
    /// Bytes of a header without options.
    const HEADER: usize;
    /// IP's number of a packet of this kind within another.
    const WITHIN: u8;
    /// Ethernet's number of its packets, in network order.
    const ETHERTYPE: [u8; 2];
    /// What every link carries at least.
    const LEAST_MTU: u16;
    /// IP length of the longest error of its ICMP.
    const LONGEST_ERROR: usize;
    /// Bytes by which a header is longer because the packet is a fragment.
    const FRAGMENT_HEADER: u16;
    /// Type of service of its errors.
    const ERROR_TOS: u8;
    /// A packet that is too long is never fragmented by a router.
    const NEVER_FRAGMENTED: bool;

    /// What is kept of a packet and its connection leaves less of the stack: [`crate::pipeline::slow`] gives finished work to
    /// [`crate::pipeline::born`].
    const LONG: bool;

    /// That some service of the family is there, and those of certain kinds ([`ipvs_common::SettingsFlags`]).
    const HAS_SERVICES: u32;
    const HAS_FWMARK: u32;
    const HAS_PORT0: u32;
    const HAS_FTP: u32;
    const HAS_MATCHES: u32;

    /// Key of the service of a firewall mark.
    #[must_use]
    fn marked(mark: u32) -> ServiceKey;

    /// Whether the addresses are some that a service may have, and cannot be taken for those of the other family, where tables
    /// have room for both.
    #[must_use]
    fn is_of_its_own(key: &FlowKey<Self>) -> bool;

    /// Reads the headers. Whatever is not a whole TCP or UDP packet for this station passes, or goes to another stage, as SCTP does.
    fn packet<F: Frame>(f: &mut F, iface: &Iface) -> Result<Packet<Self>, Exit>;

    /// The same for the stages behind the first one, of whose frames it is known that they are for this station. First fragments are
    /// packets, too; others go to their stage. SCTP is read as well.
    fn any_packet<F: Frame>(f: &mut F) -> Result<Packet<Self>, Exit>;

    /// Reads a fragment there, as far as any fragment tells. One of no protocol that is balanced passes, a packet that is none goes on.
    fn fragmented<F: Frame>(f: &mut F) -> Result<Fragmented<Self>, Exit>;

    /// Identification and offset of a fragment with data at `l4`, mixed: of fragments on their way at once no two have the same.
    fn place_of_fragment<F: Frame>(f: &mut F, l4: usize) -> Result<u32, DropReason>;

    /// A key that stands in a frame.
    fn key_at<F: Frame>(f: &mut F, off: usize) -> Result<FlowKey<Self>, DropReason>;

    /// Sum of the words of an address.
    #[must_use]
    fn sum(self) -> u32;

    /// Takes one from the time to live.
    fn age<F: Frame>(f: &mut F) -> Result<(), DropReason>;

    fn set_src<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason>;

    fn set_dst<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason>;

    /// Writes Ethernet's type and a header without options for a packet of the director's own.
    fn put_header<F: Frame>(f: &mut F, header: &Header<Self>) -> Result<(), DropReason>;

    /// The way over a neighbour whose link-layer address is not known; its own address stands in the place of what such a way
    /// has not, as it is asked anew for every packet.
    #[must_use]
    fn unresolved(ifindex: u32, xmit: u8, next_hop: Self) -> Hop;

    /// That address.
    #[must_use]
    fn next_hop(hop: &Hop) -> Addr;

    /// Type and code of an error in this family's ICMP.
    #[must_use]
    fn error(error: icmp::Error) -> (u8, u8);

    /// What the checksum of its ICMP begins with.
    #[must_use]
    fn icmp_pseudo(src: Self, dst: Self, len: usize) -> u32;

    /// Reads an error of its ICMP that is whole. Any other message passes.
    fn message<F: Frame>(f: &mut F, iface: &Iface) -> Result<Message<Self>, Exit>;

    /// Reads a quoted packet at an offset, in a message with such an end.
    fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted<Self>, Exit>;

    /// Writes an address of a quoted packet.
    fn requote<F: Frame>(f: &mut F, q: &Quoted<Self>, end: End, to: Self)
    -> Result<(), DropReason>;

    /// No way to a real server is believed to take less, whatever a router says, where its tunnel takes so many bytes.
    #[must_use]
    fn least_path(overhead: u8) -> u16;

    /// Whether an error of this type and code is about a packet that was too long for a link.
    #[must_use]
    fn says_too_big(kind: u8, code: u8) -> bool;

    /// What a client hears of an error about the tunnel that its packet was in, in the form of [`icmp::Error::of_tunnel`].
    #[must_use]
    fn told(kind: u8, code: u8) -> (u8, u8);

    /// The same for a client of the other family.
    #[must_use]
    fn told_across(kind: u8, code: u8) -> (u8, u8);

    /// Outer header of a packet of this kind that travels within another one.
    #[must_use]
    fn outer(p: &Packet<Self>, tunnel: Tunnel<Self>, df: bool) -> Header<Self> {
        Header {
            src: tunnel.src,
            dst: tunnel.dst,
            proto: Self::WITHIN,
            len: p.len.saturating_add(Self::HEADER as u16),
            tos: outer_tos(p.tos),
            ttl: p.ttl.wrapping_sub(1),
            df,
            id: [0; 2],
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<A> {
    pub src: A,
    pub dst: A,
    pub proto: u8,
    /// Of the packet, this header included.
    pub len: u16,
    /// Type of service, or traffic class.
    pub tos: u8,
    pub ttl: u8,
    /// Must not be fragmented.
    pub df: bool,
    /// Identification, for one that may be. None: [0, 0].
    pub id: [u8; 2],
}

/// The inner service class, but "congestion experienced" becomes "capable" outside (RFC 3168, 9.1.1, full functionality).
#[inline(always)]
pub(crate) const fn outer_tos(inner: u8) -> u8 {
    const CE: u8 = 3;
    const ECT0: u8 = 2;
    if inner & CE == CE {
        (inner & !CE) | ECT0
    } else {
        inner
    }
}
