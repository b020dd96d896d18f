//! Bytes to [`Packet`]. With its child the only owner of header offsets.

pub mod error;

use ipvs_common::{
    FlowKey, Iface, PassReason, Proto,
    hdr::{Eth, Ipv4, Ports, Tcp, Udp},
};

use crate::{exit::Exit, frame::Frame};

/// Offset of the IP header.
pub const L3: usize = size_of::<Eth>();

const ETHERTYPE_IPV4: u16 = 0x0800u16.to_be();
/// Protocol number.
pub const ICMP: u8 = 1;
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;
const DONT_FRAGMENT: u16 = 0x4000;

/// TCP flag bits, at their place in the header.
pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// An IPv4 TCP or UDP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    pub key: FlowKey,
    /// Offset of the transport header.
    pub l4: usize,
    /// IP total length.
    pub len: u16,
    /// Length of transport header and data.
    pub l4_len: u16,
    pub ttl: u8,
    pub tos: u8,
    /// Must not be fragmented.
    pub df: bool,
    /// TCP flags; 0 for UDP.
    pub flags: u8,
}

impl Packet {
    #[must_use]
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.key.proto == Proto::Tcp as u8
    }

    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads the headers. Whatever is not a whole TCP or UDP packet over IPv4 for this station passes, but for ICMP, which has a stage
/// of its own.
#[inline(always)]
pub fn packet<F: Frame>(f: &mut F, iface: &Iface) -> Result<Packet, Exit> {
    ethernet(f, iface)?;
    let ip = f.at::<Ipv4>(L3).map_err(|_| PassReason::NotIpv4)?.0;
    let header = usize::from(ip.vihl & 0x0f) * 4;
    if ip.vihl >> 4 != 4 || header < size_of::<Ipv4>() {
        return Err(PassReason::Malformed.into());
    }
    let frags = u16::from_be_bytes(ip.frags);
    if frags & FRAGMENT != 0 {
        return Err(PassReason::Fragment.into());
    }
    let len = u16::from_be_bytes(ip.tot_len);
    let l4 = L3 + header;
    let proto = Proto::from_number(ip.proto).ok_or_else(|| other(ip.proto))?;
    let (ports, flags) = transport(f, l4, proto)?;
    let need = header
        + if matches!(proto, Proto::Tcp) {
            size_of::<Tcp>()
        } else {
            size_of::<Udp>()
        };
    if usize::from(len) < need || L3 + usize::from(len) > f.len() {
        return Err(PassReason::Malformed.into());
    }
    Ok(Packet {
        key: FlowKey::in_words(ip.proto, ip.src_addr, ports.src, ip.dst_addr, ports.dst),
        l4,
        len,
        l4_len: len - header as u16,
        ttl: ip.ttl,
        tos: ip.tos,
        df: frags & DONT_FRAGMENT != 0,
        flags,
    })
}

/// What becomes of a packet of another protocol.
#[inline(always)]
fn other(proto: u8) -> Exit {
    if proto == ICMP {
        Exit::ICMP
    } else {
        PassReason::OtherProtocol.into()
    }
}

#[inline(always)]
fn ethernet<F: Frame>(f: &mut F, iface: &Iface) -> Result<(), Exit> {
    let eth = f.at::<Eth>(0).map_err(|_| PassReason::NotIpv4)?;
    if { eth.0.ether_type } != ETHERTYPE_IPV4 {
        return Err(PassReason::NotIpv4.into());
    }
    if iface.mac != [0; 6] && eth.0.dst_addr != iface.mac {
        return Err(PassReason::NotForUs.into());
    }
    Ok(())
}

/// Ports and flags, each from one view of its header: a second bounds check of the same bytes is one that the compiler may
/// merge with the first in a way the verifier cannot follow.
#[inline(always)]
fn transport<F: Frame>(f: &mut F, l4: usize, proto: Proto) -> Result<(Ports, u8), Exit> {
    let short = |_| PassReason::Malformed;
    match proto {
        Proto::Tcp => {
            let tcp = f.at::<Tcp>(l4).map_err(short)?;
            let [_, _, _, _, _, _, _, _, _, _, _, _, _, flags, ..] =
                bytemuck::cast_ref::<Tcp, [u8; 20]>(tcp);
            Ok((
                Ports {
                    src: tcp.0.source,
                    dst: tcp.0.dest,
                },
                *flags,
            ))
        }
        Proto::Udp => {
            let udp = f.at::<Udp>(l4).map_err(short)?;
            Ok((
                Ports {
                    src: udp.0.src,
                    dst: udp.0.dst,
                },
                0,
            ))
        }
    }
}
