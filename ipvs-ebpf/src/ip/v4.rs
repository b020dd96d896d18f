//! IPv4 (RFC 791).

use ipvs_common::{
    Addr, DropReason, FlowKey, FragmentKey, Hop, HopKind, Iface, PassReason, Proto, ServiceKey,
    SettingsFlags,
    hdr::{Eth, Ipv4, Ports},
};
use network_types::ip::Ipv4Hdr;

use super::{Header, Ip};
use crate::{
    exit::Exit,
    frame::Frame,
    icmp::Error,
    parse::{
        self, Fragmented, L3, Packet, Piece,
        error::{self, Message, Quoted},
    },
    rewrite::{csum, l4::End},
};

const ETHERTYPE: u16 = u16::from_ne_bytes(<[u8; 4] as Ip>::ETHERTYPE);
const MORE: u16 = 0x2000;
/// Bits of a fragment's place; the first one of a packet has its ports.
pub(crate) const OFFSET: u16 = 0x1fff;
pub(crate) const DONT_FRAGMENT: u16 = 0x4000;

impl Ip for [u8; 4] {
    type Other = Addr;

    const ICMP: u8 = 1;
    const HEADER: usize = size_of::<Ipv4>();
    const WITHIN: u8 = 4;
    const ETHERTYPE: [u8; 2] = [0x08, 0x00];
    const LEAST_MTU: u16 = 68;
    const LONGEST_ERROR: usize = 576;
    const FRAGMENT_HEADER: u16 = 0;
    const ERROR_TOS: u8 = 0xc0;
    const NEVER_FRAGMENTED: bool = false;

    const LONG: bool = false;

    const HAS_SERVICES: u32 = SettingsFlags::HAS_SERVICES;
    const HAS_FWMARK: u32 = SettingsFlags::HAS_FWMARK;
    const HAS_PORT0: u32 = SettingsFlags::HAS_PORT0;
    const HAS_FTP: u32 = SettingsFlags::HAS_FTP;
    const HAS_MATCHES: u32 = SettingsFlags::HAS_MATCHES;

    #[inline(always)]
    fn marked(mark: u32) -> ServiceKey {
        ServiceKey::fwmark(mark)
    }

    #[inline(always)]
    fn is_of_its_own(_key: &FlowKey<Self>) -> bool {
        true
    }

    #[inline(always)]
    fn packet<F: Frame>(f: &mut F, iface: &Iface) -> Result<Packet<Self>, Exit> {
        let (ip, header, frags) = whole(f, iface)?;
        early(f, &ip, header, frags)
    }

    #[inline(always)]
    fn any_packet<F: Frame>(f: &mut F) -> Result<Packet<Self>, Exit> {
        let (ip, header, frags) = header(f)?;
        if frags & OFFSET != 0 {
            return Err(Exit::FRAGMENT);
        }
        behind(f, &ip, header, frags, piece(frags))
    }

    #[inline(always)]
    fn fragmented<F: Frame>(f: &mut F) -> Result<Fragmented<Self>, Exit> {
        let (ip, header, frags) = header(f)?;
        if frags & (MORE | OFFSET) == 0 {
            return Err(Exit::SLOW);
        }
        if Proto::from_number(ip.proto).is_none() {
            return Err(PassReason::Fragment.into());
        }
        let none = Ports::default();
        Ok(Fragmented {
            p: Packet {
                piece: piece(frags),
                ..with(f, &ip, (header, frags), none, 0)?
            },
            key: FragmentKey::in_words(ip.src_addr, ip.dst_addr, ip.id, ip.proto),
        })
    }

    #[inline(always)]
    fn place_of_fragment<F: Frame>(f: &mut F, _l4: usize) -> Result<u32, DropReason> {
        let ip = f.at::<Ipv4>(L3)?.0;
        Ok(u32::from_ne_bytes(bytemuck::cast([ip.id, ip.frags])))
    }

    #[inline(always)]
    fn key_at<F: Frame>(f: &mut F, off: usize) -> Result<FlowKey<Self>, DropReason> {
        f.at::<FlowKey>(off).copied()
    }

    #[inline(always)]
    fn sum(self) -> u32 {
        let [a, b, c, d] = self;
        csum::word([a, b]) + csum::word([c, d])
    }

    #[inline(always)]
    fn age<F: Frame>(f: &mut F) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv4>(L3)?.0;
        ip.check = csum::patch(
            ip.check,
            csum::word([ip.ttl, 0]),
            csum::word([ip.ttl.wrapping_sub(1), 0]),
        );
        ip.ttl = ip.ttl.wrapping_sub(1);
        Ok(())
    }

    #[inline(always)]
    fn set_src<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv4>(L3)?.0;
        ip.check = csum::patch(ip.check, ip.src_addr.sum(), to.sum());
        ip.src_addr = to;
        Ok(())
    }

    #[inline(always)]
    fn set_dst<F: Frame>(f: &mut F, to: Self) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv4>(L3)?.0;
        ip.check = csum::patch(ip.check, ip.dst_addr.sum(), to.sum());
        ip.dst_addr = to;
        Ok(())
    }

    #[inline(always)]
    fn put_header<F: Frame>(f: &mut F, h: &Header<Self>) -> Result<(), DropReason> {
        f.at::<Eth>(0)?.0.ether_type = ETHERTYPE;
        let frags = if h.df { DONT_FRAGMENT } else { 0 };
        let mut ip = Ipv4Hdr {
            vihl: 0x45,
            tos: h.tos,
            tot_len: h.len.to_be_bytes(),
            id: h.id,
            frags: frags.to_be_bytes(),
            ttl: h.ttl,
            proto: h.proto,
            check: [0; 2],
            src_addr: h.src,
            dst_addr: h.dst,
        };
        ip.check = header_check(&ip);
        f.at::<Ipv4>(L3)?.0 = ip;
        Ok(())
    }

    #[inline(always)]
    fn unresolved(ifindex: u32, xmit: u8, next_hop: Self) -> Hop {
        Hop {
            ifindex,
            kind: HopKind::Unresolved as u8,
            xmit,
            learned: u32::from_ne_bytes(next_hop),
            ..Hop::default()
        }
    }

    #[inline(always)]
    fn next_hop(hop: &Hop) -> Addr {
        Addr::v4(hop.learned.to_ne_bytes())
    }

    /// RFC 792.
    #[inline(always)]
    fn error(error: Error) -> (u8, u8) {
        if let Some((place, code)) = error.of_router() {
            return (error::v4::kind(place), code);
        }
        match error.kind() {
            0 | 4 => (3, 3),
            1 => (11, 0),
            _ => (3, 4),
        }
    }

    #[inline(always)]
    fn icmp_pseudo(_src: Self, _dst: Self, _len: usize) -> u32 {
        0
    }

    #[inline(always)]
    fn message<F: Frame>(f: &mut F, iface: &Iface) -> Result<Message<Self>, Exit> {
        error::v4::message(f, iface)
    }

    #[inline(always)]
    fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted<Self>, Exit> {
        error::v4::quoted(f, l3, end)
    }

    #[inline(always)]
    fn requote<F: Frame>(
        f: &mut F,
        q: &Quoted<Self>,
        end: End,
        to: Self,
    ) -> Result<(), DropReason> {
        let ip = &mut f.at::<Ipv4>(q.l3)?.0;
        match end {
            End::Source => ip.src_addr = to,
            End::Destination => ip.dst_addr = to,
        }
        ip.check = [0; 2];
        let sum = f.sum(q.l3, q.l4 - q.l3)?;
        f.at::<Ipv4>(q.l3)?.0.check = (!csum::fold(sum)).to_be_bytes();
        Ok(())
    }

    /// The kernel's `net.ipv4.route.min_pmtu`.
    #[inline(always)]
    fn least_path(_overhead: u8) -> u16 {
        552
    }

    #[inline(always)]
    fn says_too_big(kind: u8, code: u8) -> bool {
        error::v4::says_too_big(kind, code)
    }

    #[inline(always)]
    fn told(kind: u8, code: u8) -> (u8, u8) {
        error::v4::told(kind, code)
    }

    #[inline(always)]
    fn told_across(kind: u8, code: u8) -> (u8, u8) {
        error::v4::told_across(kind, code)
    }
}

#[inline(always)]
const fn piece(frags: u16) -> Piece {
    if frags & OFFSET != 0 {
        Piece::Later
    } else if frags & MORE != 0 {
        Piece::First
    } else {
        Piece::Whole
    }
}

/// The packet with this header, if the first stage looks after its protocol.
#[inline(always)]
fn early<F: Frame>(f: &mut F, ip: &Ipv4Hdr, header: usize, frags: u16) -> Result<Packet, Exit> {
    let proto = Proto::of_first_stage(ip.proto).ok_or_else(|| parse::late::<[u8; 4]>(ip.proto))?;
    let (ports, flags) = parse::transport(f, L3 + header, proto, 0)?;
    let least = parse::least(proto);
    Ok(Packet {
        flags,
        ..with(f, ip, (header, frags), ports, least)?
    })
}

/// The packet with this header, which has ports.
#[inline(always)]
fn behind<F: Frame>(
    f: &mut F,
    ip: &Ipv4Hdr,
    header: usize,
    frags: u16,
    piece: Piece,
) -> Result<Packet, Exit> {
    let end = L3 + usize::from(u16::from_be_bytes(ip.tot_len));
    let found = f.transport(L3 + header, ip.proto, end).read()?;
    let (ports, flags) = found.ok_or_else(|| parse::other::<[u8; 4]>(ip.proto))?;
    Ok(Packet {
        flags,
        piece,
        ..with(f, ip, (header, frags), ports, 0)?
    })
}

/// The packet with this header, its length and flags, and these ports: whole, if it is all there and has so much behind the header.
#[inline(always)]
pub(crate) fn with<F: Frame>(
    f: &F,
    ip: &Ipv4Hdr,
    (header, frags): (usize, u16),
    ports: Ports,
    least: usize,
) -> Result<Packet, Exit> {
    let len = u16::from_be_bytes(ip.tot_len);
    if usize::from(len) < header + least || L3 + usize::from(len) > f.len() {
        return Err(PassReason::Malformed.into());
    }
    Ok(Packet {
        key: FlowKey::in_words(ip.proto, ip.src_addr, ports.src, ip.dst_addr, ports.dst),
        l4: L3 + header,
        len,
        l4_len: len - header as u16,
        ttl: ip.ttl,
        tos: ip.tos,
        df: frags & DONT_FRAGMENT != 0,
        flags: 0,
        piece: Piece::Whole,
    })
}

/// The header of a packet that is no fragment, its length, and its flags.
#[inline(always)]
pub(crate) fn whole<F: Frame>(f: &mut F, iface: &Iface) -> Result<(Ipv4Hdr, usize, u16), Exit> {
    parse::ethernet(f, iface, ETHERTYPE)?;
    let (ip, header, frags) = header(f)?;
    if frags & (MORE | OFFSET) != 0 {
        return Err(Exit::FRAGMENT);
    }
    Ok((ip, header, frags))
}

/// The same of any packet.
#[inline(always)]
fn header<F: Frame>(f: &mut F) -> Result<(Ipv4Hdr, usize, u16), Exit> {
    let ip = f.at::<Ipv4>(L3).map_err(|_| PassReason::NotIp)?.0;
    let header = usize::from(ip.vihl & 0x0f) * 4;
    if ip.vihl >> 4 != 4 || header < size_of::<Ipv4>() {
        return Err(PassReason::Malformed.into());
    }
    Ok((ip, header, u16::from_be_bytes(ip.frags)))
}

/// Checksum of a header whose checksum field is zero.
#[inline(always)]
fn header_check(ip: &Ipv4Hdr) -> [u8; 2] {
    let s = csum::word([ip.vihl, ip.tos])
        + csum::word(ip.tot_len)
        + csum::word(ip.id)
        + csum::word(ip.frags)
        + csum::word([ip.ttl, ip.proto])
        + ip.src_addr.sum()
        + ip.dst_addr.sum();
    (!csum::fold(s)).to_be_bytes()
}
