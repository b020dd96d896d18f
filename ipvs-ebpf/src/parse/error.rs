//! ICMP errors: which packet one is about, and of which connection that is. Each family reads its own.

pub(crate) mod v4;
pub(crate) mod v6;

use ipvs_common::{
    Addr, Address, DropReason, FlowKey, Iface, PassReason, Proto,
    hdr::{Icmp, Udp},
};

use super::{L3, Packet, Piece};
use crate::{Ip, exit::Exit, frame::Frame, fwd::wrap, tables::Tables};

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

/// Where the packet begins that a quoted packet of a tunnel carries, and of which family it is. One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried(u32);

impl Carried {
    const SIX: u32 = 1 << 16;
    /// All that is quoted begins before. A larger one would be as far as a kernel lets a program read (6.12 refuses it).
    const ANYWHERE: u32 = 0x7ff;

    /// `number`: as IP counts them.
    #[inline(always)]
    fn new(at: usize, number: u8) -> Result<Self, Exit> {
        match number {
            <[u8; 4]>::WITHIN => Ok(Self(at as u32)),
            Addr::WITHIN => Ok(Self(at as u32 | Self::SIX)),
            _ => Err(PassReason::IcmpStranger.into()),
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn at(self) -> usize {
        (self.0 & Self::ANYWHERE) as usize
    }

    /// Whether it is of the family of `A`.
    #[must_use]
    #[inline(always)]
    pub const fn is_of<A: Ip>(self) -> bool {
        (self.0 & Self::SIX != 0) == A::LONG
    }
}

/// What a quoted packet carries, if it is one of a tunnel.
#[inline(always)]
pub fn carried<F: Frame, A: Ip>(f: &mut F, report: &Report<A>) -> Result<Carried, Exit> {
    let strange = PassReason::IcmpStranger;
    let (at, proto) = (report.quoted.l4, report.quoted.key.proto);
    match proto {
        wrap::GRE => {
            let [flags, kind] = *f.at::<[[u8; 2]; 2]>(at).map_err(|_| strange)?;
            let number = match kind {
                <[u8; 4]>::ETHERTYPE => <[u8; 4]>::WITHIN,
                Addr::ETHERTYPE => Addr::WITHIN,
                _ => 0,
            };
            match flags {
                [0, 0] => Carried::new(at + 4, number),
                wrap::GRE_CHECKSUM => Carried::new(at + 8, number),
                _ => Err(strange.into()),
            }
        }
        wrap::IN_UDP => {
            let at = at + size_of::<Udp>();
            let gue = *f.at::<[u8; wrap::GUE_HEADER]>(at).map_err(|_| strange)?;
            match gue {
                [0, number, 0, 0] => Carried::new(at + wrap::GUE_HEADER, number),
                _ => Err(strange.into()),
            }
        }
        number => Carried::new(at, number),
    }
}

/// That packet.
#[inline(always)]
pub fn inside<F: Frame, A: Ip, O: Ip>(
    f: &mut F,
    report: &Report<O>,
    carried: Carried,
) -> Result<Quoted<A>, Exit> {
    A::quoted(f, carried.at(), end(&report.p))
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
