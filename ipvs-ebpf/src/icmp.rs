//! ICMP errors that the director sends to clients, made in the place of the packet they are about.
//!
//! Source is the virtual address, time to live 64, and as much of the packet is quoted as fits in 576 bytes (RFC 1812, 4.3.2),
//! with IPv6 in 1280 (RFC 4443, 2.4), as the kernel does it.

use ipvs_common::{
    Address, DropReason, Event, Hop, HopKind, Iface,
    hdr::{Eth, Icmp},
};
use network_types::icmp::Icmpv4Hdr;

use crate::{
    Ip, egress,
    exit::Verdict,
    frame::Frame,
    ip::Header,
    parse::{L3, Packet},
    reset,
    rewrite::csum,
    tables::Tables,
};

/// Bytes before what is quoted.
const fn headers<A: Ip>() -> usize {
    A::HEADER + size_of::<Icmp>()
}

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
    /// For a masqueraded real server, from the director's own address.
    pub const NO_CONNECTION: Self = Self { kind: 4, mtu: 0 };
    /// Bit of `kind`: what a router said of a tunnel. The place of the type (two bits) and the code follow.
    const OF_TUNNEL: u8 = 0x80;

    #[must_use]
    #[inline(always)]
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Self { kind: 2, mtu }
    }

    /// What follows from an error about the tunnel's packet ([`Ip::told`]).
    #[must_use]
    #[inline(always)]
    pub const fn of_tunnel((place, code): (u8, u8), mtu: u16) -> Self {
        Self {
            kind: Self::OF_TUNNEL | (place & 3) << 4 | (code & 15),
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

    /// 0: nobody is there, 1: the time to live is over, 2: too long, 4: in no connection.
    #[inline(always)]
    pub(crate) const fn kind(self) -> u8 {
        self.kind
    }

    /// Place of the type and code that a router gave.
    #[inline(always)]
    pub(crate) const fn of_router(self) -> Option<(u8, u8)> {
        if self.kind & Self::OF_TUNNEL == 0 {
            return None;
        }
        Some((self.kind >> 4 & 3, self.kind & 15))
    }

    /// Why the packet itself is dropped.
    #[inline(always)]
    pub(crate) const fn drop_reason(self) -> DropReason {
        if self.kind & Self::OF_TUNNEL != 0 {
            return DropReason::TunnelError;
        }
        match self.kind {
            0 => DropReason::NoDest,
            1 => DropReason::TtlExceeded,
            3 => DropReason::DestGoneReset,
            4 => DropReason::NoConnection,
            _ => DropReason::TooBig,
        }
    }
}

/// What is sent in a second is counted apart for path MTU discovery, which must not starve.
pub mod budget {
    pub const OTHERS: u32 = 0;
    pub const FRAGMENTATION_NEEDED: u32 = 1;
    /// No error: fragments that the daemon is to hold.
    pub const EARLY: u32 = 2;
    pub const COUNT: u32 = 3;
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
    /// In the place of a slot: errors that count for no address.
    pub const NOBODY: u32 = u32::MAX;
    const BURST: u32 = 6;

    #[must_use]
    #[inline(always)]
    pub fn slot(addr: impl Address) -> u32 {
        addr.fold().wrapping_mul(0x9e37_79b1) >> 16
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

/// What is asked before an error is sent.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Of [`budget`].
    pub budget: u32,
    /// Slot of its [`Peer`].
    pub peer: u32,
    pub per_second: u32,
    pub hz: u32,
}

/// The answer; one register wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limited(pub u32);

impl Limited {
    pub const NOT: Self = Self(0);
    /// Enough were sent in this second.
    pub const ALL: Self = Self(1);
    /// The address was told often enough.
    pub const PEER: Self = Self(2);
}

/// IP length of the error about a packet.
#[must_use]
#[inline(always)]
pub const fn length<A: Ip>(p: &Packet<A>) -> u16 {
    let quoted = p.len as usize;
    let room = A::LONGEST_ERROR - headers::<A>();
    (headers::<A>() + if quoted < room { quoted } else { room }) as u16
}

/// Turns the packet into an error about it. The packet counts as dropped, for its own reason if the error is sent. `dest` is the
/// real server that it has to do with.
#[inline(always)]
pub fn reply<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet<T::A>,
    iface: &Iface,
    error: Error,
    dest: u32,
) -> Result<Verdict, DropReason> {
    limit(t, p, error)?;
    let mut from = p.key.dst;
    if error == Error::NO_CONNECTION {
        let dest = t.dest(dest).ok_or(DropReason::Internal)?;
        from = T::A::narrow(dest.tunnel_src);
        // Routers quote it so.
        T::A::age(f)?;
    }
    let hop = egress::to_sender(t, p, iface, from);
    if hop.kind != HopKind::Send as u8 || !egress::takes(iface, &hop) {
        return Err(DropReason::IcmpNoRoute);
    }
    let sent = if error == Error::RESET {
        reset::build(f, p, &hop)?;
        Event::ResetSent
    } else {
        build(f, p, error, from, &hop)?;
        Event::IcmpSent
    };
    t.note(error.drop_reason().slot());
    t.event(sent);
    Ok(egress::send(iface, &hop))
}

#[inline(always)]
fn limit<T: Tables>(t: &mut T, p: &Packet<T::A>, error: Error) -> Result<(), DropReason> {
    let (rate, hz) = t.settings().map_or((0, 1), |s| (s.icmp_rate, s.hz));
    if rate == 0 {
        return Ok(());
    }
    let too_long = T::A::error(Error::fragmentation_needed(0));
    let discovery = error != Error::RESET && T::A::error(error) == too_long;
    let budget = if discovery {
        budget::FRAGMENTATION_NEEDED
    } else {
        budget::OTHERS
    };
    let peer = if discovery || error == Error::RESET {
        Peer::NOBODY
    } else {
        Peer::slot(p.key.src)
    };
    let limited = t.icmp_limit(&Limit {
        budget,
        peer,
        per_second: rate,
        hz,
    });
    match limited {
        Limited::NOT => Ok(()),
        Limited::PEER => Err(DropReason::IcmpPeerLimited),
        _ => Err(DropReason::IcmpLimited),
    }
}

#[inline(always)]
fn build<F: Frame, A: Ip>(
    f: &mut F,
    p: &Packet<A>,
    error: Error,
    from: A,
    hop: &Hop,
) -> Result<(), DropReason> {
    let len = usize::from(length(p));
    f.truncate(L3 + len - headers::<A>())?;
    f.grow_head(headers::<A>())?;
    let eth = f.at::<Eth>(0)?;
    eth.0.dst_addr = hop.dst_mac;
    eth.0.src_addr = hop.src_mac;
    A::put_header(
        f,
        &Header {
            src: from,
            dst: p.key.src,
            proto: A::ICMP,
            len: len as u16,
            tos: A::ERROR_TOS,
            ttl: 64,
            df: false,
            id: [0; 2],
        },
    )?;
    let (type_, code) = A::error(error);
    let [high, low] = error.mtu.to_be_bytes();
    let mut icmp = Icmpv4Hdr {
        type_,
        code,
        check: [0; 2],
        data: [0, 0, high, low],
    };
    f.at::<Icmp>(L3 + A::HEADER)?.0 = icmp;
    let sum = f.sum(L3 + A::HEADER, len - A::HEADER)?;
    let sum = sum + A::icmp_pseudo(from, p.key.src, len - A::HEADER);
    icmp.check = (!csum::fold(sum)).to_be_bytes();
    f.at::<Icmp>(L3 + A::HEADER)?.0 = icmp;
    Ok(())
}
