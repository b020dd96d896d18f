//! ICMP of IPv6 (RFC 4443). Neighbour discovery and echo are no errors.

use ipvs_common::{
    Addr, Iface, PassReason, Proto,
    hdr::{Icmp, Ipv6, Ports},
};

use super::{super::L3, Message, Quoted};
use crate::{
    Ip,
    exit::Exit,
    frame::Frame,
    ip::v6::{self, Head},
};

/// Types from this on are no errors.
const INFORMATIONAL: u8 = 128;
const UNREACHABLE: u8 = 1;
const ADDRESS_UNREACHABLE: u8 = 3;
const TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
#[inline(always)]
pub(crate) const fn says_too_big(kind: u8) -> bool {
    kind == TOO_BIG
}

/// Type and code for whoever sent what is in the tunnel: the same, but that the tunnel's own header is wrong says nothing
/// there (RFC 2473, 8.2), nor does an error nobody knows.
#[inline(always)]
pub(crate) const fn told(kind: u8, code: u8) -> (u8, u8) {
    match kind {
        UNREACHABLE => (0, code),
        TOO_BIG => (1, 0),
        TIME_EXCEEDED => (2, code),
        _ => (0, ADDRESS_UNREACHABLE),
    }
}

/// Type and code for a client of IPv4 whose packet is in a tunnel of IPv6 (RFC 7915, 5.2).
#[inline(always)]
pub(crate) const fn told_across(kind: u8, code: u8) -> (u8, u8) {
    const HOST_UNREACHABLE: u8 = 1;
    match (kind, code) {
        // Prohibited.
        (UNREACHABLE, 1) => (0, 10),
        // A port.
        (UNREACHABLE, 4) => (0, 3),
        // Fragmentation needed.
        (TOO_BIG, _) => (0, 4),
        (TIME_EXCEEDED, code) => (2, code & 1),
        _ => (0, HOST_UNREACHABLE),
    }
}

/// The type of a place.
#[inline(always)]
pub(crate) const fn kind(place: u8) -> u8 {
    match place {
        0 => UNREACHABLE,
        1 => TOO_BIG,
        _ => TIME_EXCEEDED,
    }
}

#[inline(always)]
pub(crate) fn message<F: Frame>(f: &mut F, iface: &Iface) -> Result<Message<Addr>, Exit> {
    let ip = v6::header(f, iface)?;
    let (l4, proto) = if ip.next() == Addr::ICMP {
        (L3 + size_of::<Ipv6>(), Addr::ICMP)
    } else {
        let found = f.behind_extensions(L3, v6::IS_FRAGMENT);
        if let Some(reason) = found.refusal() {
            return Err(reason.into());
        }
        (found.offset(L3), found.proto())
    };
    // Before the lengths are compared: see `transport`.
    let icmp = f.at::<Icmp>(l4).map_err(|_| PassReason::Malformed)?.0;
    if proto != Addr::ICMP || icmp.type_ >= INFORMATIONAL {
        return Err(PassReason::OtherProtocol.into());
    }
    let key = ip.key(Addr::ICMP, Ports::default());
    let p = v6::with(f, &ip, key, l4, size_of::<Icmp>())?;
    let mtu = u32::from_be_bytes(icmp.data);
    Ok(Message {
        p,
        kind: icmp.type_,
        code: icmp.code,
        mtu: if mtu < u16::MAX as u32 {
            mtu as u16
        } else {
            u16::MAX
        },
    })
}

#[inline(always)]
pub(crate) fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted<Addr>, Exit> {
    let strange = PassReason::IcmpStranger;
    let ip = Head::at(f, l3).map_err(|_| strange)?;
    if !ip.is_six() {
        return Err(strange.into());
    }
    let (l4, proto) = if v6::is_extension(ip.next()) {
        let found = f.behind_extensions(l3, v6::OFFSET);
        if found.refusal().is_some() {
            return Err(strange.into());
        }
        (found.offset(l3), found.proto())
    } else {
        (l3 + size_of::<Ipv6>(), ip.next())
    };
    let (mut ports, mut least) = (Ports::default(), l4);
    if Proto::from_number(proto).is_some() {
        ports = *f.at::<Ports>(l4).map_err(|_| strange)?;
        least += size_of::<Ports>();
    }
    if least > end {
        return Err(strange.into());
    }
    Ok(Quoted {
        l3,
        l4,
        key: ip.key(proto, ports),
        df: true,
    })
}
