//! What a real server without a tunnel device does to a packet of a tunnel: which of them are for it, and how much is cut off.
//!
//! Pure: sees the frame and is told whose an address is. Knows nothing of services. Checksums of GRE and of outer UDP are not
//! verified, because the packet inside has its own.

use bytemuck::Pod;
use ipvs_common::{
    Addr,
    hdr::{Eth, Ipv4, Udp},
    unpack::{Count, Kind, Role, Tunnel},
};

pub const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ETH: usize = size_of::<Eth>();
const IPV4: usize = size_of::<Ipv4>();
const IPV6: usize = 40;
const UDP: usize = size_of::<Udp>();
/// Protocol numbers of IP.
const IN_IPV4: u8 = 4;
const IN_IPV6: u8 = 41;
const GRE: u8 = 47;
const IN_UDP: u8 = 17;
/// Version 4, five words: no options.
const PLAIN: u8 = 0x45;
/// Everything but "do not fragment".
const FRAGMENT: u8 = 0x3f;
const GRE_CHECKSUM: [u8; 2] = [0x80, 0];

/// A frame to look at.
pub trait Peek {
    /// The `T` at a byte offset; zeros, where the frame does not reach that far. (Half an `Option` would be an undefined
    /// register, which the verifier lets nobody move.)
    fn peek<T: Pod>(&self, at: usize) -> T;
    fn length(&self) -> usize;
}

/// What is to be done to a frame. One register, always whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look(u32);

impl Look {
    /// No packet of the tunnel's type.
    pub const OTHER: Self = Self(0);
    const COUNTED: u32 = 1 << 16;
    const V6_INSIDE: u32 = 1 << 24;

    const fn count(count: Count) -> Self {
        Self(Self::COUNTED | (count as u32) << 17)
    }

    const fn cut(bytes: usize, v6: bool) -> Self {
        let family = if v6 { Self::V6_INSIDE } else { 0 };
        Self(Self::count(Count::Unpacked).0 | bytes as u32 & 0xffff | family)
    }

    /// What this is counted as, if it is.
    #[must_use]
    #[inline(always)]
    pub const fn counted(self) -> Option<u32> {
        if self.0 & Self::COUNTED == 0 {
            return None;
        }
        Some((self.0 >> 17) & 3)
    }

    /// So many bytes come off in front, once the Ethernet header is saved; 0: the frame stays as it is.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> u32 {
        self.0 & 0xffff
    }

    #[must_use]
    #[inline(always)]
    pub const fn ethertype(self) -> [u8; 2] {
        if self.0 & Self::V6_INSIDE == 0 {
            ETHERTYPE_IPV4
        } else {
            ETHERTYPE_IPV6
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn drops(self) -> bool {
        matches!(self.counted(), Some(n) if n == Count::Broken as u32)
    }
}

/// The first four bytes of an IPv6 header.
const VERSION: usize = 0;
const PAYLOAD: usize = 4;
const NEXT_HEADER: usize = 6;
const V6_DESTINATION: usize = 24;

/// Looks at a frame. `role` tells what an address is to this machine ([`Role`]).
#[inline(always)]
pub fn look<P: Peek>(p: &P, tunnel: Tunnel, role: impl Fn(&Addr) -> u8) -> Look {
    match p.peek::<[u8; 2]>(ETH - 2) {
        ETHERTYPE_IPV4 => look_v4(p, tunnel, role),
        ETHERTYPE_IPV6 => look_v6(p, tunnel, role),
        _ => Look::OTHER,
    }
}

#[inline(always)]
fn look_v4<P: Peek>(p: &P, tunnel: Tunnel, role: impl Fn(&Addr) -> u8) -> Look {
    let Ipv4(outer) = p.peek::<Ipv4>(ETH);
    if !is_carried(tunnel, outer.proto) {
        return Look::OTHER;
    }
    if role(&Addr::v4(outer.dst_addr)) & Role::OWN == 0 {
        return of_others(p, tunnel, outer.proto, ETH + IPV4);
    }
    if outer.vihl != PLAIN || outer.frags[0] & FRAGMENT != 0 || outer.frags[1] != 0 {
        return Look::count(Count::Unsupported);
    }
    inside(p, tunnel, outer.proto, ETH + IPV4, role)
}

#[inline(always)]
fn look_v6<P: Peek>(p: &P, tunnel: Tunnel, role: impl Fn(&Addr) -> u8) -> Look {
    let proto = p.peek::<u8>(ETH + NEXT_HEADER);
    let destination = p.peek::<[u8; 16]>(ETH + V6_DESTINATION);
    if !is_carried(tunnel, proto) {
        return Look::OTHER;
    }
    if role(&Addr::from(core::net::IpAddr::from(destination))) & Role::OWN == 0 {
        return of_others(p, tunnel, proto, ETH + IPV6);
    }
    inside(p, tunnel, proto, ETH + IPV6, role)
}

/// Whether packets of the tunnel have this protocol number outside.
#[inline(always)]
const fn is_carried(tunnel: Tunnel, proto: u8) -> bool {
    if tunnel.kind == Kind::Ipip as u8 {
        proto == IN_IPV4 || proto == IN_IPV6
    } else if tunnel.kind == Kind::Gre as u8 {
        proto == GRE
    } else {
        tunnel.kind == Kind::Gue as u8 && proto == IN_UDP
    }
}

/// Other UDP is not counted as a stray packet of the tunnel.
#[inline(always)]
fn of_others<P: Peek>(p: &P, tunnel: Tunnel, proto: u8, at: usize) -> Look {
    if proto == IN_UDP && !is_to(p, tunnel.port, at) {
        return Look::OTHER;
    }
    Look::count(Count::NotOurs)
}

#[inline(always)]
fn is_to<P: Peek>(p: &P, port: [u8; 2], at: usize) -> bool {
    p.peek::<[u8; 2]>(at + 2) == port
}

/// The tunnel's own header, and where the packet begins that it carries.
#[inline(always)]
fn inside<P: Peek>(
    p: &P,
    tunnel: Tunnel,
    proto: u8,
    at: usize,
    role: impl Fn(&Addr) -> u8,
) -> Look {
    match proto {
        IN_IPV4 => inner_v4(p, at, role),
        IN_IPV6 => inner_v6(p, at, role),
        GRE => match p.peek::<[[u8; 2]; 2]>(at) {
            [[0, 0], carried] => inner(p, carried, at + 4, role),
            [GRE_CHECKSUM, carried] => inner(p, carried, at + 8, role),
            _ => Look::count(Count::Unsupported),
        },
        _ => {
            if !is_to(p, tunnel.port, at) {
                return Look::OTHER;
            }
            match p.peek::<[u8; 4]>(at + UDP) {
                [0, IN_IPV4, 0, 0] => inner_v4(p, at + UDP + 4, role),
                [0, IN_IPV6, 0, 0] => inner_v6(p, at + UDP + 4, role),
                _ => Look::count(Count::Unsupported),
            }
        }
    }
}

#[inline(always)]
fn inner<P: Peek>(p: &P, carried: [u8; 2], at: usize, role: impl Fn(&Addr) -> u8) -> Look {
    match carried {
        ETHERTYPE_IPV4 => inner_v4(p, at, role),
        ETHERTYPE_IPV6 => inner_v6(p, at, role),
        _ => Look::count(Count::Unsupported),
    }
}

#[inline(always)]
fn inner_v4<P: Peek>(p: &P, at: usize, role: impl Fn(&Addr) -> u8) -> Look {
    let Ipv4(ip) = p.peek::<Ipv4>(at);
    let total = usize::from(u16::from_be_bytes(ip.tot_len));
    let header = usize::from(ip.vihl & 0xf) * 4;
    if ip.vihl >> 4 != 4 || header < IPV4 || total < header || p.length() < at + total {
        return Look::count(Count::Broken);
    }
    if role(&Addr::v4(ip.dst_addr)) & Role::VIP == 0 {
        return Look::count(Count::NotOurs);
    }
    Look::cut(at - ETH, false)
}

#[inline(always)]
fn inner_v6<P: Peek>(p: &P, at: usize, role: impl Fn(&Addr) -> u8) -> Look {
    let version = p.peek::<u8>(at + VERSION);
    let payload = p.peek::<[u8; 2]>(at + PAYLOAD);
    let destination = p.peek::<[u8; 16]>(at + V6_DESTINATION);
    let total = IPV6 + usize::from(u16::from_be_bytes(payload));
    if version >> 4 != 6 || p.length() < at + total {
        return Look::count(Count::Broken);
    }
    if role(&Addr::from(core::net::IpAddr::from(destination))) & Role::VIP == 0 {
        return Look::count(Count::NotOurs);
    }
    Look::cut(at - ETH, true)
}

#[cfg(test)]
#[path = "unpack/tests.rs"]
mod tests;
