//! ICMP (RFC 792).

use ipvs_common::{
    FlowKey, Iface, PassReason, Proto,
    hdr::{Icmp, Ipv4, Ports},
};

use super::{super::L3, Message, Quoted};
use crate::{
    Ip,
    exit::Exit,
    frame::Frame,
    ip::v4::{DONT_FRAGMENT, OFFSET, whole, with},
};

/// Types that report an error about a packet: destination unreachable, source quench, time exceeded.
const ERRORS: [u8; 3] = [UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED];
const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const TIME_EXCEEDED: u8 = 11;
const FRAGMENTATION_NEEDED: u8 = 4;
#[inline(always)]
pub(crate) const fn says_too_big(kind: u8, code: u8) -> bool {
    kind == UNREACHABLE && code == FRAGMENTATION_NEEDED
}

/// Type and code for whoever sent what is in the tunnel: the same.
#[inline(always)]
pub(crate) const fn told(kind: u8, code: u8) -> (u8, u8) {
    let place = match kind {
        UNREACHABLE => 0,
        SOURCE_QUENCH => 1,
        _ => 2,
    };
    (place, code)
}

/// Type and code for a client of IPv6 whose packet is in a tunnel of IPv4 (RFC 7915, 4.2).
#[inline(always)]
pub(crate) const fn told_across(kind: u8, code: u8) -> (u8, u8) {
    match (kind, code) {
        (UNREACHABLE, FRAGMENTATION_NEEDED) => (1, 0),
        // A port.
        (UNREACHABLE, 3) => (0, 4),
        // Prohibited.
        (UNREACHABLE, 9 | 10 | 13 | 15) => (0, 1),
        (UNREACHABLE, _) => (0, 0),
        (SOURCE_QUENCH, _) => (0, 3),
        (_, code) => (2, code & 1),
    }
}

/// The type of a place.
#[inline(always)]
pub(crate) const fn kind(place: u8) -> u8 {
    match place {
        0 => UNREACHABLE,
        1 => SOURCE_QUENCH,
        _ => TIME_EXCEEDED,
    }
}

#[inline(always)]
pub(crate) fn message<F: Frame>(f: &mut F, iface: &Iface) -> Result<Message, Exit> {
    let (ip, header, frags) = whole(f, iface)?;
    // Before the lengths are compared: see `transport`.
    let icmp = f.at::<Icmp>(L3 + header);
    let icmp = icmp.map_err(|_| PassReason::Malformed)?.0;
    let none = Ports::default();
    let p = with(f, &ip, (header, frags), none, size_of::<Icmp>())?;
    if ip.proto != <[u8; 4]>::ICMP || !ERRORS.contains(&icmp.type_) {
        return Err(PassReason::OtherProtocol.into());
    }
    let [_, _, high, low] = icmp.data;
    Ok(Message {
        p,
        kind: icmp.type_,
        code: icmp.code,
        mtu: u16::from_be_bytes([high, low]),
    })
}

#[inline(always)]
pub(crate) fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted, Exit> {
    let strange = PassReason::IcmpStranger;
    let ip = f.at::<Ipv4>(l3).map_err(|_| strange)?.0;
    let header = usize::from(ip.vihl & 0x0f) * 4;
    let frags = u16::from_be_bytes(ip.frags);
    if ip.vihl >> 4 != 4 || header < size_of::<Ipv4>() || frags & OFFSET != 0 {
        return Err(strange.into());
    }
    let l4 = l3 + header;
    let (mut sport, mut dport, mut least) = ([0; 2], [0; 2], l4);
    if Proto::from_number(ip.proto).is_some() {
        let ports = f.at::<Ports>(l4).map_err(|_| strange)?;
        (sport, dport) = (ports.src, ports.dst);
        least += size_of::<Ports>();
    }
    if least > end {
        return Err(strange.into());
    }
    Ok(Quoted {
        l3,
        l4,
        key: FlowKey::in_words(ip.proto, ip.src_addr, sport, ip.dst_addr, dport),
        df: frags & DONT_FRAGMENT != 0,
    })
}
