//! ICMP errors: which packet one is about, and of which connection that is.

use ipvs_common::{
    DropReason, FlowKey, Iface, PassReason, Proto,
    hdr::{Icmp, Ipv4, Ports},
};

use super::{L3, Packet};
use crate::{
    Ip,
    exit::Exit,
    frame::Frame,
    ip::v4::{DONT_FRAGMENT, whole},
    tables::Tables,
};

const ICMP: u8 = <[u8; 4] as Ip>::ICMP;

/// Types that report an error about a packet: destination unreachable, source quench, time exceeded.
const ERRORS: [u8; 3] = [3, 4, 11];
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// Bits of a fragment's place; the first piece of a packet has its ports.
const OFFSET: u16 = 0x1fff;

/// An ICMP error.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The message itself, without ports.
    pub p: Packet,
    pub kind: u8,
    pub code: u8,
    /// Of the next link, where fragmentation is needed.
    pub mtu: u16,
    pub quoted: Quoted,
}

/// As much of a packet as an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what it carries.
    pub l4: usize,
    /// Ports are 0 where there are none.
    pub key: FlowKey,
    /// Must not be fragmented.
    pub df: bool,
}

impl Report {
    #[must_use]
    #[inline(always)]
    pub const fn fragmentation_needed(&self) -> bool {
        self.kind == UNREACHABLE && self.code == FRAGMENTATION_NEEDED
    }

    /// Offset of the end of the message.
    #[inline(always)]
    const fn end(&self) -> usize {
        L3 + self.p.len as usize
    }
}

impl Quoted {
    /// Whether it is a packet of connections.
    #[must_use]
    #[inline(always)]
    pub const fn has_ports(&self) -> bool {
        Proto::from_number(self.key.proto).is_some()
    }

    /// Key of the flow that the packet is an answer in.
    #[must_use]
    #[inline(always)]
    pub fn answered(&self) -> FlowKey {
        let k = &self.key;
        FlowKey::in_words(k.proto, k.dst, k.dport, k.src, k.sport)
    }
}

/// Reads a whole ICMP error. Any other message passes.
#[inline(always)]
pub fn report<F: Frame>(f: &mut F, iface: &Iface) -> Result<Report, Exit> {
    let (ip, header, frags) = whole(f, iface)?;
    let len = u16::from_be_bytes(ip.tot_len);
    let l4 = L3 + header;
    // Before the lengths are compared: see `transport`.
    let icmp = f.at::<Icmp>(l4).map_err(|_| PassReason::Malformed)?.0;
    if usize::from(len) < header + size_of::<Icmp>() || L3 + usize::from(len) > f.len() {
        return Err(PassReason::Malformed.into());
    }
    if ip.proto != ICMP || !ERRORS.contains(&icmp.type_) {
        return Err(PassReason::OtherProtocol.into());
    }
    let [_, _, high, low] = icmp.data;
    Ok(Report {
        p: Packet {
            key: FlowKey::in_words(ip.proto, ip.src_addr, [0; 2], ip.dst_addr, [0; 2]),
            l4,
            len,
            l4_len: len - header as u16,
            ttl: ip.ttl,
            tos: ip.tos,
            df: frags & DONT_FRAGMENT != 0,
            flags: 0,
        },
        kind: icmp.type_,
        code: icmp.code,
        mtu: u16::from_be_bytes([high, low]),
        quoted: quoted(f, l4 + size_of::<Icmp>(), L3 + usize::from(len))?,
    })
}

/// The packet inside a quoted packet of a tunnel, if that is one.
#[inline(always)]
pub fn inside<F: Frame>(f: &mut F, report: &Report) -> Result<Quoted, Exit> {
    const IPIP: u8 = 4;
    if report.quoted.key.proto != IPIP {
        return Err(PassReason::IcmpStranger.into());
    }
    quoted(f, report.quoted.l4, report.end())
}

/// Reads a quoted packet at an offset; the message has `end` bytes.
#[inline(always)]
fn quoted<F: Frame>(f: &mut F, l3: usize, end: usize) -> Result<Quoted, Exit> {
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

/// The packet that may open a connection: the one that came, or that which an ICMP error's quoted one would be the answer to
/// (`schedule_icmp`).
#[inline(always)]
pub fn opening<F: Frame, T: Tables>(f: &mut F, t: &T, iface: &Iface) -> Result<Packet<T::A>, Exit> {
    let exit = match T::A::any_packet(f, iface) {
        Ok(p) => return Ok(p),
        Err(exit) => exit,
    };
    if exit != Exit::ICMP {
        return Err(exit);
    }
    asked(t)
}

/// The latter.
#[inline(always)]
pub fn asked<T: Tables>(t: &T) -> Result<Packet<T::A>, Exit> {
    let key = *t.asked().ok_or(DropReason::Internal)?;
    Ok(Packet {
        key,
        l4: L3,
        len: 0,
        l4_len: 0,
        ttl: 0,
        tos: 0,
        df: false,
        flags: 0,
    })
}
