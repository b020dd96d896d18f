//! IPv6 (RFC 8200). Packets without extension headers are read at once; others by the stages that take their time.

mod extensions;

use core::hint::black_box;

use ipvs_common::{
    Addr, DropReason, FlowKey, FragmentKey, Hop, Iface, PassReason, Proto, ServiceKey,
    SettingsFlags,
    hdr::{Eth, Ipv6, Ports},
};
use network_types::ip::Ipv6Hdr;

use super::{Header, Ip};
use crate::{
    exit::Exit,
    frame::Frame,
    icmp::Error,
    parse::{
        self, ETHERTYPE_IPV6, Fragmented, L3, Packet, Piece,
        error::{self, Message, Quoted},
    },
    rewrite::{csum, l4::End},
};

use self::extensions::{ANYWHERE, FRAGMENT_HEADER};
pub use self::extensions::{Found, behind_extensions};
pub(crate) use self::extensions::{IS_FRAGMENT, OFFSET, is_extension};

/// Where the first header behind IP's begins.
const BEHIND: usize = L3 + size_of::<Ipv6>();

impl Ip for Addr {
    type Other = [u8; 4];

    const ICMP: u8 = 58;
    const HEADER: usize = size_of::<Ipv6>();
    const WITHIN: u8 = 41;
    const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
    const LEAST_MTU: u16 = 1280;
    const LONGEST_ERROR: usize = 1280;
    const FRAGMENT_HEADER: u16 = FRAGMENT_HEADER as u16;
    const ERROR_TOS: u8 = 0;
    const NEVER_FRAGMENTED: bool = true;

    const LONG: bool = true;

    const HAS_SERVICES: u32 = SettingsFlags::HAS_SERVICES6;
    const HAS_FWMARK: u32 = SettingsFlags::HAS_FWMARK6;
    const HAS_PORT0: u32 = SettingsFlags::HAS_PORT0_6;
    const HAS_FTP: u32 = SettingsFlags::HAS_FTP6;
    const HAS_MATCHES: u32 = SettingsFlags::HAS_MATCHES6;

    #[inline(always)]
    fn marked(mark: u32) -> ServiceKey {
        ServiceKey::fwmark6(mark)
    }

    /// IPv4 addresses in their mapped form have no place on the wire. Nor is a group a service, though the routing table says of
    /// groups, too, that they are not forwarded to.
    #[inline(always)]
    fn is_of_its_own(key: &FlowKey<Self>) -> bool {
        const GROUP: u8 = 0xff;
        let [first, ..] = key.dst.bytes();
        first != GROUP && !key.src.is_v4() && !key.dst.is_v4()
    }

    #[inline(always)]
    fn packet<F: Frame>(f: &mut F, iface: &Iface) -> Result<Packet<Self>, Exit> {
        let ip = header(f, iface)?;
        match Proto::of_first_stage(ip.next()) {
            Some(proto) => early(f, &ip, proto),
            None if is_extension(ip.next()) => Err(Exit::FRAGMENT),
            None => Err(parse::late::<Self>(ip.next())),
        }
    }

    #[inline(always)]
    fn any_packet<F: Frame>(f: &mut F) -> Result<Packet<Self>, Exit> {
        let ip = any_header(f)?;
        if !is_extension(ip.next()) {
            return behind(f, &ip, BEHIND, ip.next(), Piece::Whole);
        }
        let found = f.behind_extensions(L3, OFFSET);
        if let Some(reason) = found.refusal() {
            return Err(if reason == PassReason::Fragment {
                Exit::FRAGMENT
            } else {
                reason.into()
            });
        }
        behind(f, &ip, found.offset(L3), found.proto(), found.piece())
    }

    #[inline(always)]
    fn fragmented<F: Frame>(f: &mut F) -> Result<Fragmented<Self>, Exit> {
        let ip = any_header(f)?;
        let found = f.behind_extensions(L3, IS_FRAGMENT);
        match found.refusal() {
            None => return Err(Exit::SLOW),
            Some(PassReason::Fragment) => {}
            Some(reason) => return Err(reason.into()),
        }
        let at = found.offset(L3);
        let short = |_| PassReason::Malformed;
        let [next, _, high, low, id @ ..] = *f.at::<[u8; FRAGMENT_HEADER]>(at).map_err(short)?;
        let (mut l4, mut proto) = (at + FRAGMENT_HEADER, next);
        let mut piece = Piece::Later;
        if u16::from_be_bytes([high, low]) & OFFSET == 0 {
            let found = f.behind_extensions(L3, OFFSET);
            if let Some(reason) = found.refusal() {
                return Err(reason.into());
            }
            (l4, proto, piece) = (found.offset(L3), found.proto(), Piece::First);
        }
        // Behind another header of the packet stands what its first fragment tells alone.
        let unknown = piece == Piece::Later && is_extension(proto);
        if Proto::from_number(proto).is_none() && !unknown {
            return Err(PassReason::Fragment.into());
        }
        let key = ip.key(proto, Ports::default());
        Ok(Fragmented {
            key: FragmentKey::<Addr>::new(key.src, key.dst, id, next),
            p: Packet {
                piece,
                ..with(f, &ip, key, l4, 0)?
            },
        })
    }

    #[inline(always)]
    fn place_of_fragment<F: Frame>(f: &mut F, l4: usize) -> Result<u32, DropReason> {
        // Boxed, lest the compiler make one comparison with the frame's end of this one and others in a way that the verifier does
        // not follow.
        let at = black_box(l4.wrapping_sub(FRAGMENT_HEADER)) & ANYWHERE;
        let header = *f.at::<[u8; FRAGMENT_HEADER]>(at)?;
        let [place, id]: [[u8; 4]; 2] = bytemuck::cast(header);
        Ok(u32::from_be_bytes(place) ^ u32::from_be_bytes(id).rotate_left(16))
    }

    #[inline(always)]
    fn key_at<F: Frame>(f: &mut F, off: usize) -> Result<FlowKey<Self>, DropReason> {
        f.words::<5>(off).map(bytemuck::cast)
    }

    #[inline(always)]
    fn sum(self) -> u32 {
        // In the machine's order; the sum turns round as a whole (RFC 1071, 2(B)).
        let [a, b, c, d]: [[u8; 4]; 4] = bytemuck::cast(self);
        let sum = u64::from(u32::from_ne_bytes(a))
            + u64::from(u32::from_ne_bytes(b))
            + u64::from(u32::from_ne_bytes(c))
            + u64::from(u32::from_ne_bytes(d));
        let words = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        u32::from(csum::fold(words as u32).to_be())
    }

    #[inline(always)]
    fn age<F: Frame>(f: &mut F) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv6>(L3)?.0;
        ip.hop_limit = ip.hop_limit.wrapping_sub(1);
        Ok(())
    }

    #[inline(always)]
    fn set_src<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason> {
        f.at::<Ipv6>(L3)?.0.src_addr = to.bytes();
        Ok(())
    }

    #[inline(always)]
    fn set_dst<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason> {
        f.at::<Ipv6>(L3)?.0.dst_addr = to.bytes();
        Ok(())
    }

    #[inline(always)]
    fn put_header<F: Frame>(f: &mut F, h: &Header<Self>) -> Result<(), DropReason> {
        f.at::<Eth>(0)?.0.ether_type = ETHERTYPE_IPV6;
        f.at::<Ipv6>(L3)?.0 = Ipv6Hdr {
            vcf: [0x60 | h.tos >> 4, h.tos << 4, 0, 0],
            payload_len: h.len.saturating_sub(Self::HEADER as u16).to_be_bytes(),
            next_hdr: h.proto,
            hop_limit: h.ttl,
            src_addr: h.src.bytes(),
            dst_addr: h.dst.bytes(),
        };
        Ok(())
    }

    #[inline(always)]
    fn unresolved(ifindex: u32, xmit: u8, next_hop: Self) -> Hop {
        Hop::unresolved(ifindex, xmit, next_hop)
    }

    #[inline(always)]
    fn next_hop(hop: &Hop) -> Addr {
        hop.next_hop()
    }

    /// RFC 4443.
    #[inline(always)]
    fn error(error: Error) -> (u8, u8) {
        if let Some((place, code)) = error.of_router() {
            return (error::v6::kind(place), code);
        }
        match error.kind() {
            0 | 4 => (1, 4),
            1 => (3, 0),
            _ => (2, 0),
        }
    }

    #[inline(always)]
    fn icmp_pseudo(src: Self, dst: Self, len: usize) -> u32 {
        csum::pseudo(src, dst, Self::ICMP, len as u16)
    }

    #[inline(always)]
    fn message<F: Frame>(f: &mut F, iface: &Iface) -> Result<Message<Self>, Exit> {
        error::v6::message(f, iface)
    }

    #[inline(always)]
    fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted<Self>, Exit> {
        error::v6::quoted(f, l3, end)
    }

    #[inline(always)]
    fn requote<F: Frame>(
        f: &mut F,
        q: &Quoted<Self>,
        end: End,
        to: Self,
    ) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv6>(q.l3)?.0;
        match end {
            End::Source => ip.src_addr = to.bytes(),
            End::Destination => ip.dst_addr = to.bytes(),
        }
        Ok(())
    }

    /// What a tunnel needs to carry what every link does: on a way that takes less, short packets arrive all the same.
    #[inline(always)]
    fn least_path(overhead: u8) -> u16 {
        Self::LEAST_MTU + u16::from(overhead)
    }

    #[inline(always)]
    fn says_too_big(kind: u8, _code: u8) -> bool {
        error::v6::says_too_big(kind)
    }

    #[inline(always)]
    fn told(kind: u8, code: u8) -> (u8, u8) {
        error::v6::told(kind, code)
    }

    #[inline(always)]
    fn told_across(kind: u8, code: u8) -> (u8, u8) {
        error::v6::told_across(kind, code)
    }
}

/// A header as it stands in a frame, in words.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// What is before the addresses.
    first: [u8; 8],
    addresses: [u64; 4],
}

impl Head {
    #[inline(always)]
    pub(crate) fn at<F: Frame>(f: &mut F, l3: usize) -> Result<Self, DropReason> {
        let [first, addresses @ ..] = f.words::<5>(l3)?;
        let first = first.to_ne_bytes();
        Ok(Self { first, addresses })
    }

    #[inline(always)]
    pub(crate) const fn is_six(&self) -> bool {
        self.first[0] >> 4 == 6
    }

    #[inline(always)]
    pub(crate) const fn next(&self) -> u8 {
        let [_, _, _, _, _, _, next, _] = self.first;
        next
    }

    /// Of the packet. A length of zero (RFC 2675) is too short for anything.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        let [_, _, _, _, high, low, _, _] = self.first;
        size_of::<Ipv6>() + u16::from_be_bytes([high, low]) as usize
    }

    #[inline(always)]
    pub(crate) const fn hop_limit(&self) -> u8 {
        let [_, _, _, _, _, _, _, hop_limit] = self.first;
        hop_limit
    }

    /// Traffic class.
    #[inline(always)]
    pub(crate) const fn class(&self) -> u8 {
        let [first, second, ..] = self.first;
        first << 4 | second >> 4
    }

    /// Key of the packet, for these ports.
    #[inline(always)]
    pub(crate) fn key(&self, proto: u8, ports: Ports) -> FlowKey<Addr> {
        let [src0, src1, dst0, dst1] = self.addresses;
        let [sport_high, sport_low, dport_high, dport_low] = bytemuck::cast(ports);
        let rest = [sport_high, sport_low, dport_high, dport_low, proto, 0, 0, 0];
        bytemuck::cast([src0, src1, dst0, dst1, u64::from_ne_bytes(rest)])
    }
}

#[inline(always)]
pub(crate) fn header<F: Frame>(f: &mut F, iface: &Iface) -> Result<Head, Exit> {
    parse::ethernet(f, iface, ETHERTYPE_IPV6)?;
    any_header(f)
}

#[inline(always)]
fn any_header<F: Frame>(f: &mut F) -> Result<Head, Exit> {
    let head = Head::at(f, L3).map_err(|_| PassReason::NotIp)?;
    if !head.is_six() {
        return Err(PassReason::Malformed.into());
    }
    Ok(head)
}

/// The packet without extension headers of a protocol that the first stage looks after.
#[inline(always)]
fn early<F: Frame>(f: &mut F, ip: &Head, proto: Proto) -> Result<Packet<Addr>, Exit> {
    let (ports, flags) = parse::transport(f, BEHIND, proto, 0)?;
    let key = ip.key(proto as u8, ports);
    Ok(Packet {
        flags,
        ..with(f, ip, key, BEHIND, parse::least(proto))?
    })
}

/// The packet whose transport header is at `l4`.
#[inline(always)]
fn behind<F: Frame>(
    f: &mut F,
    ip: &Head,
    l4: usize,
    proto: u8,
    piece: Piece,
) -> Result<Packet<Addr>, Exit> {
    let found = f.transport(l4, proto, L3 + ip.len()).read()?;
    let (ports, flags) = found.ok_or_else(|| parse::other::<Addr>(proto))?;
    Ok(Packet {
        flags,
        piece,
        ..with(f, ip, ip.key(proto, ports), l4, 0)?
    })
}

/// The packet with this header and key: whole, if it is all there and has so much from `l4` on.
#[inline(always)]
pub(crate) fn with<F: Frame>(
    f: &F,
    ip: &Head,
    key: FlowKey<Addr>,
    l4: usize,
    least: usize,
) -> Result<Packet<Addr>, Exit> {
    let (len, before) = (ip.len(), l4 - L3);
    if len < before + least || L3 + len > f.len() || len > usize::from(u16::MAX) {
        return Err(PassReason::Malformed.into());
    }
    Ok(Packet {
        key,
        l4,
        len: len as u16,
        l4_len: (len - before) as u16,
        ttl: ip.hop_limit(),
        tos: ip.class(),
        df: true,
        flags: 0,
        piece: Piece::Whole,
    })
}
