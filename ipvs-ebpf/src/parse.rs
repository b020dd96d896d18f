//! Bytes to [`Packet`]; with `ip`, which reads IP's headers, the only owner of header offsets.

pub mod error;

use ipvs_common::{
    Addr, Address, FlowKey, FragmentKey, Iface, PassReason, Proto, VlanKey,
    hdr::{Eth, Ports, Tcp, Udp},
};

use crate::{Ip, exit::Exit, frame::Frame};

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

/// A TCP or UDP packet.
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
    /// TCP flags; 0 for UDP.
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

/// Bytes of a transport header.
#[inline(always)]
pub(crate) const fn least(proto: Proto) -> usize {
    match proto {
        Proto::Tcp => size_of::<Tcp>(),
        Proto::Udp => size_of::<Udp>(),
    }
}

/// Ports and flags, each from one view of its header: a second bounds check of the same bytes is one that the compiler may
/// merge with the first in a way the verifier cannot follow.
#[inline(always)]
pub(crate) fn transport<F: Frame>(f: &mut F, l4: usize, proto: Proto) -> Result<(Ports, u8), Exit> {
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
