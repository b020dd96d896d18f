//! ICMP errors about connections, to the side that is to hear of them. A state or a timer does not move by them, no error is sent
//! about them, and one that is longer than the way takes is fragmented, where packets are.

use ipvs_common::{
    Address, Conn, ConnFlags, DropReason, Event, ForwardingMethod, Hop, HopKind, Iface,
    hdr::{Icmp, Ports},
};

use super::{
    Tunnel, depart, is_wrapped, leads_on, local, masq, must_leave, reply, to_be_wrapped, tunnel,
};
use crate::{
    Ip, egress,
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    parse::{
        Packet,
        error::{Quoted, Report},
    },
    rewrite::{csum, l4::End},
    stats,
    tables::Tables,
};

/// The way to the other side of an error's connection.
#[inline(always)]
pub fn way<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>, conn: &Conn<T::A>) -> Hop {
    let (way, dest) = if conn.status.flags & ConnFlags::REPLY != 0 {
        ((conn.to_addr, p.key.dst), NO_DEST)
    } else if conn.status.method == ForwardingMethod::BYPASS {
        ((p.key.src, p.key.dst), NO_DEST)
    } else {
        ((T::A::default(), conn.to_addr), conn.dest)
    };
    egress::of_error(t, p, iface, way, dest)
}

/// One that goes through a tunnel with a stage of its own; counted here.
#[inline(always)]
pub fn is_left<T: Tables>(t: &mut T, p: &Packet<T::A>, conn: &Conn<T::A>) -> Result<(), Exit> {
    if !is_wrapped(t, conn) {
        return Ok(());
    }
    stats::inbound_if_listed(t, conn.dest, p);
    Err(to_be_wrapped(t, conn.dest))
}

/// Sends an error there.
#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    if conn.status.flags & ConnFlags::REPLY != 0 {
        return to_client(f, t, iface, report, conn, hop);
    }
    if conn.status.method != ForwardingMethod::BYPASS {
        return to_dest(f, t, iface, report, conn, hop);
    }
    if !leads_on(hop) {
        return Err(DropReason::NoRoute.into());
    }
    unchanged(f, t, iface, &report.p, hop)
}

/// To the real server, in the way that its packets go.
#[inline(always)]
fn to_dest<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    stats::inbound_if_listed(t, conn.dest, &report.p);
    if hop.kind == HopKind::Refused as u8 || hop.kind == HopKind::Unknown as u8 {
        return Err(DropReason::NoRoute.into());
    }
    if conn.status.method == ForwardingMethod::Masq as u8 {
        return translated(f, t, iface, report, conn, End::Source, hop);
    }
    let dest = t.dest(conn.dest).ok_or(DropReason::Internal)?;
    if hop.kind == HopKind::Local as u8 {
        return Err(local(t, conn.dest));
    }
    if conn.status.method == ForwardingMethod::Tunnel as u8 {
        let ends = Tunnel {
            src: Address::narrow(dest.tunnel_src),
            dst: Address::narrow(dest.addr),
        };
        return through(f, t, iface, &report.p, ends, hop);
    }
    unchanged(f, t, iface, &report.p, hop)
}

/// From a masqueraded real server, or a router before it, to the client: the virtual address sent it.
#[inline(always)]
fn to_client<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    reply::admit(iface, &report.p, hop)?;
    stats::outbound(t, conn.dest, report.p.len);
    translated(f, t, iface, report, conn, End::Destination, hop)
}

/// Masquerading. The quoted packet went the other way, so what changes is its other end: `end`.
#[inline(always)]
fn translated<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report<T::A>,
    conn: &Conn<T::A>,
    end: End,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    let kernel = masq::by_kernel(iface, &report.p, hop);
    if kernel.is_none() {
        fits::<T::A>(hop, report.p.len)?;
        age(f, &report.p)?;
    }
    let k = &report.p.key;
    let (src, dst) = match end {
        End::Source => (k.src, conn.to_addr),
        End::Destination => (conn.to_addr, k.dst),
    };
    match end {
        End::Source => T::A::set_dst(f, dst)?,
        End::Destination => T::A::set_src(f, src)?,
    }
    requote(f, &report.quoted, conn, end)?;
    complete(f, &report.p, src, dst)?;
    t.event(Event::IcmpRelayed);
    match kernel {
        Some(reason) => Err(reason.into()),
        None => depart(f, t, iface, hop, report.p.len),
    }
}

/// Writes an end of the quoted packet. As in ip_vs the checksum of what it carries stays: mostly it is not all there.
#[inline(always)]
fn requote<F: Frame, A: Ip>(
    f: &mut F,
    q: &Quoted<A>,
    conn: &Conn<A>,
    end: End,
) -> Result<(), Exit> {
    let ports = f.at::<Ports>(q.l4)?;
    match end {
        End::Source => ports.src = conn.to_port,
        End::Destination => ports.dst = conn.to_port,
    }
    Ok(A::requote(f, q, end, conn.to_addr)?)
}

/// Computes the checksum of the message, between these addresses.
#[inline(always)]
fn complete<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>, src: A, dst: A) -> Result<(), Exit> {
    let len = usize::from(p.l4_len);
    f.at::<Icmp>(p.l4)?.0.check = [0; 2];
    let sum = f.sum(p.l4, len)? + A::icmp_pseudo(src, dst, len);
    f.at::<Icmp>(p.l4)?.0.check = (!csum::fold(sum)).to_be_bytes();
    Ok(())
}

/// Where routers fragment no packets, an error that is too long ends here.
#[inline(always)]
pub(super) fn fits<A: Ip>(hop: &Hop, len: u16) -> Result<(), Exit> {
    if A::NEVER_FRAGMENTED && hop.mtu != 0 && len > hop.mtu {
        return Err(DropReason::IcmpTooBig.into());
    }
    Ok(())
}

/// Direct routing, or past the real servers.
#[inline(always)]
fn unchanged<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    fits::<T::A>(hop, p.len)?;
    age(f, p)?;
    t.event(Event::IcmpRelayed);
    depart(f, t, iface, hop, p.len)
}

/// Through the tunnel.
#[inline(always)]
fn through<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    ends: Tunnel<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    tunnel::admit::<T::A>(hop)?;
    fits::<T::A>(hop, p.len.saturating_add(T::A::HEADER as u16))?;
    age(f, p)?;
    let discovery = tunnel::discovers(t);
    let len = tunnel::wrap(f, p, ends, discovery && p.df)?;
    t.event(Event::IcmpRelayed);
    depart(f, t, iface, hop, len)
}

/// One less to live.
#[inline(always)]
pub(super) fn age<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>) -> Result<(), Exit> {
    if p.ttl <= 1 {
        return Err(DropReason::IcmpTtlExceeded.into());
    }
    Ok(A::age(f)?)
}
