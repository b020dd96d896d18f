//! Forwarding methods: one dispatch, one file each, and the step that all share.

pub mod droute;
pub mod error;
pub mod masq;
pub mod reply;
pub mod tunnel;
pub mod wrap;
pub mod wrapped;

use ipvs_common::{
    Address, Conn, DestFlags, DropReason, Event, ForwardingMethod, Hop, HopKind, Iface, PassReason,
    PuntHeader, PuntReason,
};

use crate::{
    Ip, egress,
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    icmp,
    parse::Packet,
    rewrite,
    tables::Tables,
};

/// Addresses of the outer header, should there be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel<A> {
    pub src: A,
    pub dst: A,
}

/// Sends a client's packet to the real server of its connection by way of `hop`.
#[inline(always)]
pub fn to_dest<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    if hop.kind == HopKind::Refused as u8 || hop.kind == HopKind::Unknown as u8 {
        return Err(DropReason::NoRoute.into());
    }
    if hop.kind == HopKind::Local as u8 {
        if conn.status.method != ForwardingMethod::Masq as u8 {
            return Err(local(t, conn.dest));
        }
    } else if p.ttl <= 1 {
        return Err(answer(conn, icmp::Error::TIME_EXCEEDED));
    }
    by_method(f, t, iface, p, conn, hop)
}

/// The routing table says the same of its own addresses and of those it has no route to; the source of a way to an own address is
/// that address.
#[inline(always)]
fn local<T: Tables>(t: &T, dest: u32) -> Exit {
    if t.dest(dest).is_some_and(|d| d.tunnel_src == d.addr) {
        PassReason::Localnode.into()
    } else {
        DropReason::NoRoute.into()
    }
}

/// Whether a way leads out of the director.
#[must_use]
#[inline(always)]
pub const fn leads_on(hop: &Hop) -> bool {
    hop.kind == HopKind::Send as u8 || hop.kind == HopKind::Unresolved as u8
}

/// Sends a packet past the real servers to its own destination, by way of `hop`.
#[inline(always)]
pub fn past_dests<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    if !leads_on(hop) {
        return Err(DropReason::NoRoute.into());
    }
    if p.ttl <= 1 {
        return Err(Exit::answer(icmp::Error::TIME_EXCEEDED, NO_DEST));
    }
    droute::forward(f, t, iface, p, conn, hop)
}

/// Whether packets of a connection go through a tunnel that takes more than another header of the same IP. Those have a stage of
/// their own, which is told of the real server by [`Tables::leave_dest`].
#[must_use]
#[inline(always)]
pub fn is_wrapped<T: Tables>(t: &T, conn: &Conn<T::A>) -> bool {
    conn.status.method == ForwardingMethod::Tunnel as u8
        && t.dest(conn.dest)
            .is_some_and(|d| d.flags & DestFlags::WRAPPED != 0)
}

/// Leaves a packet to that stage.
#[inline(always)]
pub fn to_be_wrapped<T: Tables>(t: &mut T, dest: u32) -> Exit {
    t.leave_dest(dest);
    Exit::WRAP
}

/// The dispatch.
#[inline(always)]
pub fn by_method<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    match ForwardingMethod::from_number(conn.status.method) {
        Some(ForwardingMethod::Masq) => masq::forward(f, t, iface, p, conn, hop),
        Some(ForwardingMethod::Droute) => droute::forward(f, t, iface, p, conn, hop),
        Some(ForwardingMethod::Tunnel) => tunnel::forward(f, t, iface, p, conn, hop),
        None => Err(DropReason::Internal.into()),
    }
}

/// Whether the packet is longer than `mtu` (0: not known); an aggregate is not a packet of the wire.
#[inline(always)]
fn too_long<A: Ip>(iface: &Iface, p: &Packet<A>, mtu: u16) -> bool {
    mtu != 0 && p.len > mtu && !egress::is_aggregate(iface, p)
}

/// For methods that must leave by XDP: the interface has to take the frame.
#[inline(always)]
fn must_leave<A: Ip>(iface: &Iface, p: &Packet<A>, hop: &Hop) -> Result<(), Exit> {
    if egress::is_aggregate(iface, p) {
        return Err(DropReason::Aggregate.into());
    }
    if hop.kind == HopKind::Send as u8 && !egress::takes(iface, hop) {
        return Err(DropReason::EgressNoXdp.into());
    }
    Ok(())
}

/// Sends a finished frame whose IP packet has `len` bytes, or hands it to the daemon if it is too long or its neighbour is
/// unknown.
#[inline(always)]
fn depart<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    hop: &Hop,
    len: u16,
) -> Result<Verdict, Exit> {
    depart_by(f, t, iface, hop, len, false)
}

/// The same, where the way may be one of the other family.
#[inline(always)]
fn depart_by<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    hop: &Hop,
    len: u16,
    across: bool,
) -> Result<Verdict, Exit> {
    rewrite::l2(f, hop)?;
    let (reason, event) = if hop.kind == HopKind::Unresolved as u8 {
        (PuntReason::Neighbour, Event::HandedNeighbour)
    } else if iface.held != 0 {
        (PuntReason::Fragment, Event::ReleasedEarly)
    } else if hop.mtu != 0 && len > hop.mtu {
        (PuntReason::Fragment, Event::HandedFragment)
    } else {
        return Ok(egress::send(iface, hop));
    };
    hand_over(f, t, hop, reason, event, across)
}

#[inline(always)]
fn hand_over<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    hop: &Hop,
    reason: PuntReason,
    event: Event,
    across: bool,
) -> Result<Verdict, Exit> {
    let header = PuntHeader {
        reason: reason as u32,
        ifindex: hop.ifindex,
        len: f.len() as u32,
        mtu: u32::from(hop.mtu),
        next_hop: if across {
            <T::A as Ip>::Other::next_hop(hop)
        } else {
            T::A::next_hop(hop)
        },
        dst_mac: hop.dst_mac,
        src_mac: hop.src_mac,
    };
    if !f.hand_over(&header) {
        return Err(DropReason::HandOver.into());
    }
    t.event(event);
    Ok(Verdict::HANDED)
}

/// Takes one from the time to live, then refuses a packet that is longer than `limit` and must not be fragmented.
#[inline(always)]
fn age_and_measure<F: Frame, A: Ip>(
    f: &mut F,
    iface: &Iface,
    p: &Packet<A>,
    conn: &Conn<A>,
    limit: u16,
) -> Result<(), Exit> {
    A::age(f)?;
    if p.df && too_long(iface, p, limit) {
        return Err(answer(conn, icmp::Error::fragmentation_needed(limit)));
    }
    Ok(())
}

/// The error about a packet of a connection. Where replies do not pass the director, ip_vs counts it as one of them.
#[inline(always)]
fn answer<A: Address>(conn: &Conn<A>, error: icmp::Error) -> Exit {
    let masq = conn.status.method == ForwardingMethod::Masq as u8;
    Exit::answer(error, if masq { NO_DEST } else { conn.dest })
}
