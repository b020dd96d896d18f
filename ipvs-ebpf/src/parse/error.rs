//! ICMP errors: which packet one is about, and of which connection that is. Each family reads its own.

pub(crate) mod v4;
pub(crate) mod v6;

use ipvs_common::{Address, DropReason, FlowKey, Iface, PassReason, Proto, hdr::Icmp};

use super::{L3, Packet, Piece};
use crate::{Ip, exit::Exit, frame::Frame, tables::Tables};

/// An ICMP error, without what it quotes.
#[derive(Clone, Copy, Debug)]
pub struct Message<A: Address = [u8; 4]> {
    /// The message itself, without ports.
    pub p: Packet<A>,
    pub kind: u8,
    pub code: u8,
    /// Of the next link, where the packet was too long for it.
    pub mtu: u16,
}

/// An ICMP error.
#[derive(Clone, Copy, Debug)]
pub struct Report<A: Address = [u8; 4]> {
    /// The message itself, without ports.
    pub p: Packet<A>,
    pub kind: u8,
    pub code: u8,
    /// Of the next link, where the packet was too long for it.
    pub mtu: u16,
    pub quoted: Quoted<A>,
}

/// As much of a packet as an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<A: Address = [u8; 4]> {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what it carries.
    pub l4: usize,
    /// Ports are 0 where there are none.
    pub key: FlowKey<A>,
    /// Must not be fragmented.
    pub df: bool,
}

/// Offset of the end of a message.
#[inline(always)]
const fn end<A: Address>(p: &Packet<A>) -> usize {
    L3 + p.len as usize
}

impl<A: Ip> Report<A> {
    /// Whether it says that the packet was too long for a link.
    #[must_use]
    #[inline(always)]
    pub fn too_big(&self) -> bool {
        A::says_too_big(self.kind, self.code)
    }
}

impl<A: Ip> Quoted<A> {
    /// Whether it is a packet of connections.
    #[must_use]
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        Proto::from_number(self.key.proto).is_some()
    }

    /// Key of the flow that the packet is an answer in.
    #[must_use]
    #[inline(always)]
    pub fn answered(&self) -> FlowKey<A> {
        let k = &self.key;
        FlowKey::new(k.proto, k.dst, k.dport, k.src, k.sport)
    }
}

/// Reads a whole ICMP error. Any other message passes.
#[inline(always)]
pub fn report<F: Frame, A: Ip>(f: &mut F, iface: &Iface) -> Result<Report<A>, Exit> {
    let Message { p, kind, code, mtu } = A::message(f, iface)?;
    Ok(Report {
        p,
        kind,
        code,
        mtu,
        quoted: A::quoted(f, p.l4 + size_of::<Icmp>(), end(&p))?,
    })
}

/// The packet inside a quoted packet of a tunnel, if that is one.
#[inline(always)]
pub fn inside<F: Frame, A: Ip>(f: &mut F, report: &Report<A>) -> Result<Quoted<A>, Exit> {
    if report.quoted.key.proto != A::WITHIN {
        return Err(PassReason::IcmpStranger.into());
    }
    A::quoted(f, report.quoted.l4, end(&report.p))
}

/// The packet that may open a connection: the one that came, or that which an ICMP error's quoted one would be the answer to
/// (`schedule_icmp`).
#[inline(always)]
pub fn opening<F: Frame, T: Tables>(f: &mut F, t: &T) -> Result<Packet<T::A>, Exit> {
    let exit = match T::A::any_packet(f) {
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
        piece: Piece::Whole,
    })
}
