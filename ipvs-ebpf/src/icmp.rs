//! ICMP errors that the director sends to clients, made in the place of the packet they are about.
//!
//! Source is the virtual address, type of service 0xC0, time to live 64, and as much of the packet is quoted as fits in
//! 576 bytes, as the kernel does it (RFC 1812, 4.3.2).

use ipvs_common::{
    DropReason, Event, Hop, HopKind, Iface,
    hdr::{Eth, Icmp, Ipv4},
};
use network_types::{icmp::Icmpv4Hdr, ip::Ipv4Hdr};

use crate::{
    egress,
    exit::Verdict,
    frame::Frame,
    parse::{L3, Packet},
    reset,
    rewrite::{csum, l3},
    tables::Tables,
};

const HEADERS: usize = size_of::<Ipv4>() + size_of::<Icmp>();
/// IP length of the longest error.
const LONGEST: usize = 576;

/// An error that the director has to report: type, code, and for "fragmentation needed" the length that would fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    kind: u8,
    mtu: u16,
}

impl Error {
    pub const PORT_UNREACHABLE: Self = Self { kind: 0, mtu: 0 };
    pub const TIME_EXCEEDED: Self = Self { kind: 1, mtu: 0 };
    /// No ICMP: a TCP reset; see [`crate::reset`].
    pub const RESET: Self = Self { kind: 3, mtu: 0 };
    /// Bit of `kind`: what a router said of a tunnel. The place of the type in [`TYPES`] and the code follow.
    const OF_TUNNEL: u8 = 0x80;

    #[must_use]
    #[inline(always)]
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Self { kind: 2, mtu }
    }

    /// Of this type and code, as a router said of the tunnel's packet.
    #[must_use]
    #[inline(always)]
    pub const fn of_tunnel(kind: u8, code: u8, mtu: u16) -> Self {
        let place = match kind {
            3 => 0,
            4 => 1,
            _ => 2,
        };
        Self {
            kind: Self::OF_TUNNEL | place << 4 | (code & 15),
            mtu,
        }
    }

    /// The error in 24 bits.
    #[inline(always)]
    pub(crate) const fn word(self) -> u32 {
        self.kind as u32 | (self.mtu as u32) << 8
    }

    #[inline(always)]
    pub(crate) const fn from_word(w: u32) -> Self {
        Self {
            kind: w as u8,
            mtu: (w >> 8) as u16,
        }
    }

    #[inline(always)]
    const fn type_and_code(self) -> (u8, u8) {
        if self.kind & Self::OF_TUNNEL != 0 {
            let kind = match self.kind >> 4 & 3 {
                0 => 3,
                1 => 4,
                _ => 11,
            };
            return (kind, self.kind & 15);
        }
        match self.kind {
            0 => (3, 3),
            1 => (11, 0),
            _ => (3, 4),
        }
    }

    /// Why the packet itself is dropped.
    #[inline(always)]
    const fn drop_reason(self) -> DropReason {
        if self.kind & Self::OF_TUNNEL != 0 {
            return DropReason::TunnelError;
        }
        match self.kind {
            0 => DropReason::NoDest,
            1 => DropReason::TtlExceeded,
            3 => DropReason::DestGoneReset,
            _ => DropReason::TooBig,
        }
    }
}

/// What is sent in a second is counted apart for path MTU discovery, which must not starve.
pub mod budget {
    pub const OTHERS: u32 = 0;
    pub const FRAGMENTATION_NEEDED: u32 = 1;
    pub const COUNT: u32 = 2;
}

/// How often an address may still be told: six times at once, then once a second, as by the kernel's `icmp_ratelimit`. Like there,
/// "fragmentation needed" does not count. Addresses with the same hash share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// In ticks: a second of them buys an error.
    tokens: u32,
    /// When it was told last.
    last: u32,
}

impl Peer {
    pub const SLOTS: u32 = 1 << 16;
    const BURST: u32 = 6;

    #[must_use]
    #[inline(always)]
    pub const fn slot(addr: [u8; 4]) -> u32 {
        u32::from_be_bytes(addr).wrapping_mul(0x9e37_79b1) >> 16
    }

    #[inline(always)]
    pub fn takes(&mut self, now: u32, hz: u32) -> bool {
        let most = Self::BURST * hz;
        let passed = now.wrapping_sub(self.last);
        let tokens = self.tokens + if passed < most { passed } else { most };
        let tokens = if tokens < most { tokens } else { most };
        self.last = now;
        let takes = tokens >= hz;
        self.tokens = tokens - if takes { hz } else { 0 };
        takes
    }
}

/// IP length of the error about a packet.
#[must_use]
#[inline(always)]
pub const fn length(p: &Packet) -> u16 {
    let quoted = p.len as usize;
    let room = LONGEST - HEADERS;
    (HEADERS + if quoted < room { quoted } else { room }) as u16
}

/// Turns the packet into an error about it. The packet counts as dropped, for its own reason if the error is sent.
#[inline(always)]
pub fn reply<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet,
    iface: &Iface,
    error: Error,
) -> Result<Verdict, DropReason> {
    limit(t, p, error)?;
    let hop = egress::to_sender(t, p, iface);
    if hop.kind != HopKind::Send as u8 || !egress::takes(iface, &hop) {
        return Err(DropReason::IcmpNoRoute);
    }
    let sent = if error == Error::RESET {
        reset::build(f, p, &hop)?;
        Event::ResetSent
    } else {
        build(f, p, error, &hop)?;
        Event::IcmpSent
    };
    t.note(error.drop_reason().slot());
    t.event(sent);
    Ok(egress::send(iface, &hop))
}

#[inline(always)]
fn limit<T: Tables>(t: &mut T, p: &Packet, error: Error) -> Result<(), DropReason> {
    let (rate, hz) = t.settings().map_or((0, 1), |s| (s.icmp_rate, s.hz));
    if rate == 0 {
        return Ok(());
    }
    let discovery = error != Error::RESET && error.type_and_code() == (3, 4);
    let budget = if discovery {
        budget::FRAGMENTATION_NEEDED
    } else {
        budget::OTHERS
    };
    if !t.icmp_allowed(budget, rate, hz) {
        return Err(DropReason::IcmpLimited);
    }
    if !discovery && error != Error::RESET && !t.icmp_peer_allowed(p.key.src, hz) {
        return Err(DropReason::IcmpPeerLimited);
    }
    Ok(())
}

#[inline(always)]
fn build<F: Frame>(f: &mut F, p: &Packet, error: Error, hop: &Hop) -> Result<(), DropReason> {
    let len = usize::from(length(p));
    f.truncate(L3 + len - HEADERS)?;
    f.grow_head(HEADERS)?;
    let eth = f.at::<Eth>(0)?;
    eth.0.dst_addr = hop.dst_mac;
    eth.0.src_addr = hop.src_mac;
    eth.0.ether_type = 0x0800u16.to_be();
    f.at::<Ipv4>(L3)?.0 = outer(p, len as u16);
    let (type_, code) = error.type_and_code();
    let [high, low] = error.mtu.to_be_bytes();
    let mut icmp = Icmpv4Hdr {
        type_,
        code,
        check: [0; 2],
        data: [0, 0, high, low],
    };
    f.at::<Icmp>(L3 + size_of::<Ipv4>())?.0 = icmp;
    let sum = f.sum(L3 + size_of::<Ipv4>(), len - size_of::<Ipv4>())?;
    icmp.check = (!csum::fold(sum)).to_be_bytes();
    f.at::<Icmp>(L3 + size_of::<Ipv4>())?.0 = icmp;
    Ok(())
}

#[inline(always)]
fn outer(p: &Packet, len: u16) -> Ipv4Hdr {
    let mut ip = Ipv4Hdr {
        vihl: 0x45,
        tos: 0xc0,
        tot_len: len.to_be_bytes(),
        id: [0; 2],
        frags: [0; 2],
        ttl: 64,
        proto: 1,
        check: [0; 2],
        src_addr: p.key.dst,
        dst_addr: p.key.src,
    };
    ip.check = l3::header_check(&ip);
    ip
}
