//! Tunnels that take more than another header of the same IP: what goes into them, and how.

use ipvs_common::{Dest, DestFlags, DropReason, Event, Hop, HopKind, Iface};

use super::{
    depart_by,
    error::{age, fits},
    local, must_leave, too_long,
    tunnel::discovers,
    wrap::Inside,
};
use crate::{
    Ip, egress,
    exit::{Exit, Verdict},
    frame::Frame,
    icmp::Error,
    parse::Packet,
    rewrite::l4,
    tables::Tables,
};

/// What a tunnel's way takes.
#[derive(Clone, Copy)]
struct Tunnel {
    /// [`DestFlags`] of the real server.
    flags: u8,
    overhead: u8,
    /// Longest packet to be put into it; 0: not known.
    limit: u16,
}

impl Tunnel {
    const fn is_across(self) -> bool {
        self.flags & DestFlags::OTHER_FAMILY != 0
    }
}

/// Sends a client's packet, or an error about a packet of a connection. (In one go, because the stack has no room for both.)
#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    id: u32,
    is_error: bool,
) -> Result<Verdict, Exit> {
    let hop = egress::through(t, p, iface, id);
    let tunnel = enter(t, iface, p, id, &hop)?;
    let len = p.len.saturating_add(tunnel.overhead.into());
    let keeps = !is_error && egress::keeps_partial(iface, &hop, len);
    if is_error {
        fits::<T::A>(&hop, len)?;
        age(f, p)?;
        t.event(Event::IcmpRelayed);
    } else {
        age_and_measure(f, t, iface, p, id, tunnel.limit)?;
        if !keeps {
            l4::complete(f, t, p)?;
        }
    }
    let mut inside = Inside::of(f, p, discovers(t))?;
    if tunnel.flags & DestFlags::CHECKSUM != 0 {
        inside.sum = l4::sum(f, p, keeps)?;
    }
    t.wrap(f, id, inside)?;
    depart_by(f, t, iface, &hop, len, tunnel.is_across())
}

/// [`super::age_and_measure`], for who knows the real server alone.
#[inline(always)]
fn age_and_measure<F: Frame, T: Tables>(
    f: &mut F,
    t: &T,
    iface: &Iface,
    p: &Packet<T::A>,
    id: u32,
    limit: u16,
) -> Result<(), Exit> {
    if p.ttl <= 1 {
        return Err(Exit::answer(Error::TIME_EXCEEDED, id));
    }
    T::A::age(f)?;
    // Without discovery the outer packet is fragmented instead, where packets are.
    let measured = discovers(t) || T::A::NEVER_FRAGMENTED;
    if measured && p.df && too_long(iface, p, limit) {
        return Err(Exit::answer(Error::fragmentation_needed(limit), id));
    }
    Ok(())
}

/// Whether the way takes it.
#[inline(always)]
fn enter<T: Tables>(
    t: &T,
    iface: &Iface,
    p: &Packet<T::A>,
    id: u32,
    hop: &Hop,
) -> Result<Tunnel, Exit> {
    if hop.kind == HopKind::Refused as u8 || hop.kind == HopKind::Unknown as u8 {
        return Err(DropReason::NoRoute.into());
    }
    if hop.kind == HopKind::Local as u8 {
        return Err(local(t, id));
    }
    must_leave(iface, p, hop)?;
    let Dest {
        flags, overhead, ..
    } = *t.dest(id).ok_or(DropReason::Internal)?;
    let least = if flags & DestFlags::OTHER_FAMILY == 0 {
        T::A::LEAST_MTU
    } else {
        <T::A as Ip>::Other::LEAST_MTU
    };
    let limit = hop.mtu.saturating_sub(overhead.into());
    if hop.mtu != 0 && limit < least {
        return Err(DropReason::TooBig.into());
    }
    Ok(Tunnel {
        flags,
        overhead,
        limit,
    })
}
