//! Connection entries, persistence templates, and the next hop that both cache.
#![expect(
    clippy::multiple_bound_locations,
    reason = "a derived where clause repeats the bound"
)]

use bytemuck::{Pod, Zeroable};

use crate::net::{Addr, Address, Mac};

/// Key of a connection entry: one direction of a flow exactly as its packets look on arrival.
///
/// A masqueraded connection has two entries, one for each direction; others have the client's alone.
/// All fields are in network byte order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Zeroable)]
pub struct FlowKey<A: Address = [u8; 4]> {
    pub src: A,
    pub dst: A,
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    pub proto: u8,
    pub pad: [u8; 3],
    pub pad_to: [A::Word; 0],
}

// SAFETY: two addresses, which are plain bytes, then eight bytes: no padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for FlowKey<A> {}

impl<A: Address> FlowKey<A> {
    #[must_use]
    #[inline(always)]
    pub const fn new(proto: u8, src: A, sport: [u8; 2], dst: A, dport: [u8; 2]) -> Self {
        Self {
            src,
            dst,
            sport,
            dport,
            proto,
            pad: [0; 3],
            pad_to: [],
        }
    }

    /// With addresses that have room for both families.
    #[must_use]
    #[inline(always)]
    pub fn wide(&self) -> FlowKey<Addr> {
        FlowKey::new(
            self.proto,
            self.src.wide(),
            self.sport,
            self.dst.wide(),
            self.dport,
        )
    }

    /// Back from there.
    #[must_use]
    #[inline(always)]
    pub fn narrow(key: &FlowKey<Addr>) -> Self {
        Self::new(
            key.proto,
            A::narrow(key.src),
            key.sport,
            A::narrow(key.dst),
            key.dport,
        )
    }
}

impl FlowKey<Addr> {
    /// Whether it is about IPv4.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.src.is_v4()
    }
}

impl FlowKey {
    /// The same, written in whole words: the kernel hashes words, and would wait for one that was written in pieces.
    #[must_use]
    #[inline(always)]
    pub fn in_words(proto: u8, src: [u8; 4], sport: [u8; 2], dst: [u8; 4], dport: [u8; 2]) -> Self {
        let ports = bytemuck::cast([sport, dport]);
        let words = [src, dst, ports, [proto, 0, 0, 0]];
        bytemuck::cast(words.map(u32::from_ne_bytes))
    }
}

/// Key of either family.
pub type Flow = FlowKey<Addr>;
/// Entry of either family.
pub type Entry = Conn<Addr>;
/// Key of a template of either family.
pub type Tie = TemplateKey<Addr>;

/// Bits of [`Status::flags`].
pub struct ConnFlags;

impl ConnFlags {
    /// The entry is keyed by the packets of the real server (masq only).
    pub const REPLY: u8 = 1;
    /// No packet of the real server was seen; for ever so with droute and tunnel.
    pub const NO_OUTPUT: u8 = 2;
    /// Counted as active at its real server, else as inactive.
    pub const ACTIVE: u8 = 4;
    /// Made through a persistence template, whose count of children holds it.
    pub const CHILD: u8 = 8;
    /// The template's key has port 0 in the place of the virtual port.
    pub const TEMPLATE_PORT0: u8 = 16;
    /// The template's key has the firewall mark in the place of address, port and protocol.
    pub const TEMPLATE_FWMARK: u8 = 32;
    /// The entry is on its way out (expired) or to the other table (promoted): forward by it, but change nothing.
    pub const LEAVING: u8 = 64;
    /// Of one datagram that is scheduled by itself: in no table, and over when that is forwarded.
    pub const ONE_PACKET: u8 = 128;
}

/// What [`Hop::kind`] says of the way to the next hop.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopKind {
    /// Never asked.
    Unknown = 0,
    /// Send the frame out of `ifindex` with these addresses.
    Send = 1,
    /// The neighbour's address is not known (yet). `ifindex` is, and the next hop's own: of IPv4 in the place of `learned`, of
    /// IPv6 as [`Hop::next_hop`] finds it.
    Unresolved = 3,
    /// The address is the director's own, or there is no route to it.
    Local = 4,
    /// A route that refuses: blackhole, unreachable, prohibit.
    Refused = 5,
}

/// Answer of the routing table for one destination, kept until it is too old or the epoch of the settings moves on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Hop {
    /// Interface to send on.
    pub ifindex: u32,
    pub dst_mac: Mac,
    pub src_mac: Mac,
    /// Largest IP packet the route takes; 0: not known.
    pub mtu: u16,
    /// A [`HopKind`].
    pub kind: u8,
    /// How the interface takes frames from a native XDP program ([`crate::Egress::xmit`]).
    pub xmit: u8,
    /// Low 32 bits of the clock when the route was asked, in ticks.
    pub learned: u32,
    /// [`crate::Settings::epoch`] at that time.
    pub epoch: u32,
}

impl Hop {
    /// The way over an IPv6 neighbour whose link-layer address is not known. Its own address stands where otherwise the
    /// link-layer addresses and the time are, which such a hop has not: it is asked anew for every packet.
    #[must_use]
    #[inline(always)]
    pub fn unresolved(ifindex: u32, xmit: u8, next_hop: Addr) -> Self {
        // In words: bytes would fill the registers and then the stack of a kernel program.
        let [a, b, c, d]: [u32; 4] = bytemuck::cast(next_hop);
        let kind = u32::from_ne_bytes([0, 0, HopKind::Unresolved as u8, xmit]);
        bytemuck::cast([ifindex, a, b, c, kind, d, 0])
    }

    /// That address.
    #[must_use]
    #[inline(always)]
    pub fn next_hop(&self) -> Addr {
        let [_, a, b, c, _, d, _]: [u32; 7] = bytemuck::cast(*self);
        bytemuck::cast([a, b, c, d])
    }
}

/// One direction of a connection, 64 bytes (80 with IPv6).
///
/// The two entries of a masqueraded connection carry the same state; each has its own deadline, and the connection lives
/// until the later one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Zeroable)]
pub struct Conn<A: Address = [u8; 4]> {
    /// Deadline, in ticks of [`crate::Settings::hz`].
    pub expires: u64,
    /// Index of the real server in the dest tables; `u32::MAX` for a connection that bypasses them.
    pub dest: u32,
    /// Firewall mark of the service, host order; 0 without.
    pub mark: u32,
    /// Changed as a whole, by compare and swap on the client's entry, so that no count is lost between CPUs.
    pub status: Status,
    /// Place in the ring of half-open connections; see [`RingSlot`].
    pub seq: u32,
    /// Client's direction: the real server. Reply direction: the virtual address. Network order.
    pub to_addr: A,
    pub to_port: [u8; 2],
    /// Client's direction: packets seen, up to [`Conn::MANY`]. None yet: an announced connection whose client's port is not
    /// known; its key has 0 there.
    pub packets: u8,
    /// [`TemplateKey::generation`] of the template.
    pub generation: u8,
    /// Way back to the client in the reply direction, onwards in one that bypasses the real servers. (The way to a real server
    /// is kept with the real server.)
    pub hop: Hop,
    /// 0, or 1: another director told of it.
    pub told: u32,
    pub pad: A::Pad,
}

// SAFETY: plain data without padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for Conn<A> {}

impl Conn {
    /// As many packets as are counted: a connection with more is never dropped to make room (ip_vs's `drop_entry`).
    pub const MANY: u8 = 9;
}

impl<A: Address> Conn<A> {
    /// With an address that has room for both families.
    #[must_use]
    pub fn wide(&self) -> Conn<Addr> {
        Conn {
            expires: self.expires,
            dest: self.dest,
            mark: self.mark,
            status: self.status,
            seq: self.seq,
            to_addr: self.to_addr.wide(),
            to_port: self.to_port,
            packets: self.packets,
            generation: self.generation,
            hop: self.hop,
            told: self.told,
            pad: [0; 4],
        }
    }

    /// Back from there.
    #[must_use]
    pub fn narrow(conn: &Conn<Addr>) -> Self {
        Self {
            expires: conn.expires,
            dest: conn.dest,
            mark: conn.mark,
            status: conn.status,
            seq: conn.seq,
            to_addr: A::narrow(conn.to_addr),
            to_port: conn.to_port,
            packets: conn.packets,
            generation: conn.generation,
            hop: conn.hop,
            told: conn.told,
            pad: A::Pad::default(),
        }
    }
}

/// The part of a connection that moves: four bytes, aligned, so that the CPU can swap them in one step.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Status {
    /// A [`crate::State`].
    pub state: u8,
    /// [`ConnFlags`].
    pub flags: u8,
    /// A [`crate::ForwardingMethod`], fixed when the connection was made.
    pub method: u8,
    /// Prefix length of the template's client network.
    pub template_prefix: u8,
}

/// A place in the ring that holds half-open connections in the order of their arrival.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Zeroable)]
pub struct RingSlot<A: Address = [u8; 4]> {
    pub key: FlowKey<A>,
    /// [`Conn::seq`] of the entry that took the place; another value there means that the entry is a later one.
    pub seq: u32,
    /// 1 once the place was used.
    pub used: u32,
}

// SAFETY: a key and eight bytes: no padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for RingSlot<A> {}

/// Key of a persistence template; network byte order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Zeroable)]
pub struct TemplateKey<A = [u8; 4]> {
    /// Client address under the service's mask.
    pub client: A,
    /// Virtual address; for a firewall mark service the mark ([`Address::of_number`]).
    pub vip: A,
    /// Virtual port; 0 for port-0 and firewall mark services.
    pub vport: [u8; 2],
    /// Protocol; 0 for firewall mark services.
    pub proto: u8,
    /// 0, unless templates of the same client and service before it still wait for their connections to end.
    pub generation: u8,
}

// SAFETY: two addresses, which are plain bytes, then four bytes: no padding, as `layout.rs` asserts of both widths.
unsafe impl<A: Address> Pod for TemplateKey<A> {}

impl TemplateKey {
    /// Templates of one client and service.
    pub const GENERATIONS: u8 = 8;
}

impl<A: Address> TemplateKey<A> {
    /// With addresses that have room for both families.
    #[must_use]
    pub fn wide(&self) -> TemplateKey<Addr> {
        TemplateKey {
            client: self.client.wide(),
            vip: self.vip.wide(),
            vport: self.vport,
            proto: self.proto,
            generation: self.generation,
        }
    }

    /// Back from there.
    #[must_use]
    pub fn narrow(key: &TemplateKey<Addr>) -> Self {
        Self {
            client: A::narrow(key.client),
            vip: A::narrow(key.vip),
            vport: key.vport,
            proto: key.proto,
            generation: key.generation,
        }
    }
}

impl TemplateKey<Addr> {
    /// Whether it is about IPv4.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.vip.is_v4()
    }
}

/// A client (network) tied to a real server for a time.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Template {
    /// Deadline in ticks.
    pub expires: u64,
    /// What the timer is set to next, in ticks; one minute once it fired with children alive.
    pub timeout: u64,
    /// `u32::MAX`: it ended, and only keeps its place because a later generation is there.
    pub dest: u32,
    /// Connections made through it that still live.
    pub children: u32,
    /// 0, or 1: a connection under it got established.
    pub assured: u32,
    /// 0, or 1: it was found unfit for new connections, and no longer answers to its name.
    pub renamed: u16,
    /// 0, or 1: another director told of it.
    pub told: u16,
}
