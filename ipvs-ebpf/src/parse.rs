//! Bytes to [`Packet`]; with `ip`, which reads IP's headers, the only owner of header offsets.

pub mod error;

use ipvs_common::{
    Addr, Address, FlowKey, FragmentKey, Iface, PassReason, Proto, VlanKey,
    hdr::{Eth, Ports, Tcp, Udp},
};

use crate::{Ip, exit::Exit, frame::Frame, sctp};

/// Offset of the IP header.
pub const L3: usize = size_of::<Eth>();

pub(crate) const ETHERTYPE_IPV6: u16 = u16::from_ne_bytes(<Addr as Ip>::ETHERTYPE);

/// TCP flag bits, at their place in the header.
pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// How much of an IP packet this is.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    Whole,
    /// The first fragment, with the ports.
    First,
    /// Another one: its ports are known from the first.
    Later,
}

/// A packet of TCP, UDP or SCTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<A: Address = [u8; 4]> {
    pub key: FlowKey<A>,
    /// Offset of the transport header.
    pub l4: usize,
    /// Length of the IP packet.
    pub len: u16,
    /// Length of transport header and data.
    pub l4_len: u16,
    pub ttl: u8,
    pub tos: u8,
    /// Must not be fragmented.
    pub df: bool,
    /// TCP flags; 0 for UDP; for SCTP what its chunks are in these terms ([`sctp`]).
    pub flags: u8,
    pub piece: Piece,
}

impl<A: Address> Packet<A> {
    #[must_use]
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.key.proto == Proto::Tcp as u8
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.key.proto == Proto::Udp as u8
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_sctp(&self) -> bool {
        self.key.proto == Proto::Sctp as u8
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_whole(&self) -> bool {
        matches!(self.piece, Piece::Whole)
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_later(&self) -> bool {
        matches!(self.piece, Piece::Later)
    }

    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A fragment as its own headers tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragmented<A: Address = [u8; 4]> {
    /// Without ports, and of the protocol that they tell.
    pub p: Packet<A>,
    pub key: FragmentKey<A>,
}

/// Whether the frame is one of this type for this station.
#[inline(always)]
pub(crate) fn ethernet<F: Frame>(f: &mut F, iface: &Iface, ether_type: u16) -> Result<(), Exit> {
    let eth = f.at::<Eth>(0).map_err(|_| PassReason::NotIp)?;
    if { eth.0.ether_type } != ether_type {
        return Err(elsewhere(eth.0.ether_type));
    }
    if iface.mac != [0; 6] && eth.0.dst_addr != iface.mac {
        return Err(PassReason::NotForUs.into());
    }
    Ok(())
}

/// Who has a frame that is not one of IPv4.
#[inline(always)]
fn elsewhere(ether_type: u16) -> Exit {
    if ether_type == ETHERTYPE_IPV6 {
        Exit::SIX
    } else if VlanKey::is_tag(ether_type.to_ne_bytes()) {
        Exit::UNTAG
    } else {
        PassReason::NotIp.into()
    }
}

/// What becomes of a packet of another protocol: ICMP has a stage of its own.
#[inline(always)]
pub(crate) fn other<A: Ip>(proto: u8) -> Exit {
    if proto == A::ICMP {
        Exit::ICMP
    } else {
        PassReason::OtherProtocol.into()
    }
}

/// The same in the first stage, which does not look after SCTP.
#[inline(always)]
pub(crate) fn late<A: Ip>(proto: u8) -> Exit {
    if proto == Proto::Sctp as u8 {
        Exit::SLOW
    } else {
        other::<A>(proto)
    }
}

/// Bytes of a transport header.
#[inline(always)]
pub(crate) const fn least(proto: Proto) -> usize {
    match proto {
        Proto::Tcp => size_of::<Tcp>(),
        Proto::Udp => size_of::<Udp>(),
        Proto::Sctp => sctp::HEADER + sctp::CHUNK,
    }
}

/// Ports and flags of a packet that ends at `end`, each from one view of its header: a second bounds check of the same bytes is one that the compiler may
/// merge with the first in a way the verifier cannot follow.
#[inline(always)]
pub(crate) fn transport<F: Frame>(
    f: &mut F,
    l4: usize,
    proto: Proto,
    end: usize,
) -> Result<(Ports, u8), Exit> {
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
        Proto::Sctp => {
            let sctp = f
                .at::<[u8; sctp::HEADER + sctp::CHUNK]>(l4)
                .map_err(short)?;
            let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, chunk @ ..] = *sctp;
            let (src, dst) = ([s0, s1], [d0, d1]);
            let flags = sctp::flags(f, l4 + sctp::HEADER, chunk, end);
            Ok((Ports { src, dst }, flags))
        }
    }
}

/// Ports and flags of a packet of any protocol, or that it has none. One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport(pub u64);

impl Transport {
    const OTHER: Self = Self(1 << 62);
    const MALFORMED: Self = Self(1 << 63);

    /// `None`: it is of no protocol that is balanced.
    #[inline(always)]
    pub(crate) fn read(self) -> Result<Option<(Ports, u8)>, PassReason> {
        if self.0 & Self::OTHER.0 != 0 {
            return Ok(None);
        }
        if self.0 & Self::MALFORMED.0 != 0 {
            return Err(PassReason::Malformed);
        }
        let ports = bytemuck::cast(self.0 as u32);
        Ok(Some((ports, (self.0 >> 32) as u8)))
    }
}

/// Reads a transport header of a packet that ends at `end`.
#[inline(always)]
pub fn any_transport<F: Frame>(f: &mut F, l4: usize, proto: u8, end: usize) -> Transport {
    let Some(proto) = Proto::from_number(proto) else {
        return Transport::OTHER;
    };
    if l4 + least(proto) > end {
        return Transport::MALFORMED;
    }
    let Ok((ports, flags)) = transport(f, l4, proto, end) else {
        return Transport::MALFORMED;
    };
    Transport(u64::from(bytemuck::cast::<Ports, u32>(ports)) | u64::from(flags) << 32)
}
