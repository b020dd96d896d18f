//! The headers of tunnels: GUE and GRE in either version of IP, and IP in the other version.
//!
//! Knows the real server and some numbers about the packet inside, so that it can be a function of its own to the verifier,
//! once for packets of both families.

use ipvs_common::{
    Addr, Dest, DestFlags, DropReason, FlowKey, TunnelKind,
    hdr::{Ports, Udp},
};

use crate::{
    Ip,
    frame::Frame,
    ip::{Header, outer_tos},
    parse::{L3, Packet},
    rewrite::csum,
    tables::Tables,
};

/// IP's numbers.
pub(crate) const IN_UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
/// Bytes of the header of GUE, version 0, without fields.
pub(crate) const GUE_HEADER: usize = 4;
/// What GRE begins with where it has a checksum (RFC 2784, 2.1).
pub(crate) const GRE_CHECKSUM: [u8; 2] = [0x80, 0];

/// What the outer headers say of a packet, in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside {
    /// Of the IP packet.
    pub len: u16,
    pub tos: u8,
    /// As it travels on.
    pub ttl: u8,
    /// The outer packet must not be fragmented.
    pub df: bool,
    pub six: bool,
    /// Source port of gue.
    pub port: u16,
    /// Sum of its words, where there is an outer checksum.
    pub sum: u16,
    /// Identification of an outer packet that may be fragmented.
    pub id: u16,
}

const DF: u64 = 1;
const SIX: u64 = 2;

impl Inside {
    /// Of a packet as it came, in a frame as it goes. Its sum is not asked yet.
    #[inline(always)]
    pub fn of<F: Frame, A: Ip>(
        f: &mut F,
        p: &Packet<A>,
        discovery: bool,
    ) -> Result<Self, DropReason> {
        let mixed = mix(&p.key);
        // What fragments a packet of IPv6 would never ask for, routers of IPv4 do to its tunnel's.
        let df = discovery && p.df && !A::LONG;
        let id = if df { 0 } else { identification(f, p, mixed)? };
        Ok(Self {
            len: p.len,
            tos: outer_tos(p.tos),
            ttl: p.ttl.wrapping_sub(1),
            df,
            six: A::LONG,
            port: source_port(mixed),
            sum: 0,
            id,
        })
    }

    #[must_use]
    #[inline(always)]
    pub const fn words(self) -> (u64, u32) {
        let bits = if self.df { DF } else { 0 } | if self.six { SIX } else { 0 };
        (
            self.len as u64
                | (self.port as u64) << 16
                | (self.tos as u64) << 32
                | (self.ttl as u64) << 40
                | bits << 48,
            self.sum as u32 | (self.id as u32) << 16,
        )
    }

    #[must_use]
    #[inline(always)]
    pub const fn of_words(first: u64, second: u32) -> Self {
        Self {
            len: first as u16,
            port: (first >> 16) as u16,
            tos: (first >> 32) as u8,
            ttl: (first >> 40) as u8,
            df: first >> 48 & DF != 0,
            six: first >> 48 & SIX != 0,
            sum: second as u16,
            id: (second >> 16) as u16,
        }
    }
}

/// A flow in 64 bits of which the upper ones depend on all of it (Fibonacci hashing).
#[inline(always)]
fn mix<A: Ip>(key: &FlowKey<A>) -> u64 {
    let [a, b] = key.sport;
    let [c, d] = key.dport;
    let ports = u32::from_be_bytes([a, b, c, d]) ^ key.dst.fold();
    let flow = u64::from(key.src.fold()) << 32 | u64::from(ports);
    let mixed = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// As ip_vs does it: a hash of the flow, in the range of local ports, so that a receiver spreads flows over its queues, and
/// one connection stays in one. Only the hash is another; that of the kernel is of a key that it draws when it boots.
#[inline(always)]
const fn source_port(mixed: u64) -> u16 {
    /// The kernel's `net.ipv4.ip_local_port_range`, by default.
    const FIRST: u64 = 32_768;
    const LAST: u64 = 60_999;
    (FIRST + (((mixed >> 32) * (LAST - FIRST)) >> 32)) as u16
}

/// Another one for each packet of a flow, or routers that fragment would mix them up: made of what follows the ports, which is
/// TCP's sequence, or UDP's or SCTP's checksum; of a later fragment, of its place in its packet and of that one's identification.
#[inline(always)]
fn identification<F: Frame, A: Ip>(
    f: &mut F,
    p: &Packet<A>,
    mixed: u64,
) -> Result<u16, DropReason> {
    let own = if p.is_later() {
        A::place_of_fragment(f, p.l4)?
    } else {
        // SCTP has a tag there that all packets of an association have, and its checksum behind it.
        let behind = if p.is_sctp() { 2 } else { 1 };
        u32::from_be_bytes(*f.at(p.l4 + behind * size_of::<Ports>())?)
    };
    Ok((own.wrapping_mul(0x9e37_79b1) >> 16) as u16 ^ mixed as u16)
}

/// Puts the packet into another one for a real server.
#[inline(always)]
pub fn wrap<F: Frame, T: Tables>(
    f: &mut F,
    t: &T,
    dest: u32,
    inside: Inside,
) -> Result<(), DropReason> {
    let dest = t.dest(dest).ok_or(DropReason::Internal)?;
    if dest.addr.is_v4() {
        put::<F, [u8; 4]>(f, dest, inside)
    } else {
        put::<F, Addr>(f, dest, inside)
    }
}

/// The same for an outer family.
#[inline(always)]
fn put<F: Frame, A: Ip>(f: &mut F, dest: &Dest, inside: Inside) -> Result<(), DropReason> {
    let src = A::narrow(dest.tunnel_src);
    let dst = A::narrow(dest.addr);
    let number = if inside.six {
        Addr::WITHIN
    } else {
        <[u8; 4]>::WITHIN
    };
    let mut head = Header {
        src,
        dst,
        proto: number,
        len: inside.len.saturating_add(A::HEADER as u16),
        tos: inside.tos,
        ttl: inside.ttl,
        df: inside.df,
        id: if inside.df {
            [0; 2]
        } else {
            inside.id.to_ne_bytes()
        },
    };
    let checksum = dest.flags & DestFlags::CHECKSUM != 0;
    match TunnelKind::from_number(dest.tunnel) {
        Some(TunnelKind::Gue) => {
            const OWN: usize = size_of::<Udp>() + GUE_HEADER;
            f.grow_head(A::HEADER + OWN)?;
            head.proto = IN_UDP;
            head.len = head.len.saturating_add(OWN as u16);
            *f.at(L3 + A::HEADER)? = gue(src, dst, dest, inside, number);
        }
        Some(TunnelKind::Gre) if checksum => {
            const OWN: usize = 8;
            f.grow_head(A::HEADER + OWN)?;
            head.proto = GRE;
            head.len = head.len.saturating_add(OWN as u16);
            *f.at(L3 + A::HEADER)? = gre_checked(inside);
        }
        Some(TunnelKind::Gre) => {
            const OWN: usize = 4;
            f.grow_head(A::HEADER + OWN)?;
            head.proto = GRE;
            head.len = head.len.saturating_add(OWN as u16);
            *f.at(L3 + A::HEADER)? = [[0; 2], carried(inside)];
        }
        Some(TunnelKind::Ipip) | None => f.grow_head(A::HEADER)?,
    }
    A::put_header(f, &head)
}

/// The headers of UDP and of GUE.
#[inline(always)]
fn gue<A: Ip>(src: A, dst: A, dest: &Dest, inside: Inside, number: u8) -> [[u8; 2]; 6] {
    const OWN: u16 = (size_of::<Udp>() + GUE_HEADER) as u16;
    let len = inside.len.saturating_add(OWN);
    let port = inside.port.to_be_bytes();
    let kind = [0, number];
    let check = if dest.flags & DestFlags::CHECKSUM == 0 {
        [0; 2]
    } else {
        let sum = csum::pseudo(src, dst, IN_UDP, len)
            + csum::word(port)
            + csum::word(dest.tunnel_port)
            + u32::from(len)
            + csum::word(kind)
            + u32::from(inside.sum);
        // Zero would say that there is none.
        match !csum::fold(sum) {
            0 => [0xff; 2],
            check => check.to_be_bytes(),
        }
    };
    [
        port,
        dest.tunnel_port,
        len.to_be_bytes(),
        check,
        kind,
        [0; 2],
    ]
}

/// Ethernet's number of what is inside.
#[inline(always)]
const fn carried(inside: Inside) -> [u8; 2] {
    if inside.six {
        Addr::ETHERTYPE
    } else {
        <[u8; 4]>::ETHERTYPE
    }
}

/// The header of GRE with a checksum.
#[inline(always)]
fn gre_checked(inside: Inside) -> [[u8; 2]; 4] {
    let kind = carried(inside);
    let sum = csum::word(GRE_CHECKSUM) + csum::word(kind) + u32::from(inside.sum);
    let check = (!csum::fold(sum)).to_be_bytes();
    [GRE_CHECKSUM, kind, check, [0; 2]]
}
