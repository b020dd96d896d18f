//! ICMP errors about connections, to the side that is to hear of them. A state or a timer does not move by them, no error is sent
//! about them, and one that is longer than the way takes is fragmented.

use ipvs_common::{
    Address, Conn, ConnFlags, DropReason, Event, ForwardingMethod, Hop, HopKind, Iface, PassReason,
    hdr::{Icmp, Ipv4, Ports},
};

use super::{Tunnel, depart, leads_on, masq, must_leave, reply, tunnel};
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

/// Sends an error to the other side of its connection.
#[inline(always)]
pub fn forward<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report,
    conn: &Conn,
) -> Result<Verdict, Exit> {
    let p = &report.p;
    let is_reply = conn.status.flags & ConnFlags::REPLY != 0;
    let (way, dest) = if is_reply {
        ((conn.to_addr, p.key.dst), NO_DEST)
    } else if conn.status.method == ForwardingMethod::BYPASS {
        ((p.key.src, p.key.dst), NO_DEST)
    } else {
        (([0; 4], conn.to_addr), conn.dest)
    };
    let hop = egress::of_error(t, p, iface, way, dest);
    if is_reply {
        return to_client(f, t, iface, report, conn, &hop);
    }
    if dest != NO_DEST {
        return to_dest(f, t, iface, report, conn, &hop);
    }
    if !leads_on(&hop) {
        return Err(DropReason::NoRoute.into());
    }
    unchanged(f, t, iface, p, &hop)
}

/// To the real server, in the way that its packets go.
#[inline(always)]
fn to_dest<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report,
    conn: &Conn,
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
    let ends = Tunnel {
        src: Address::narrow(dest.tunnel_src),
        dst: Address::narrow(dest.addr),
    };
    if hop.kind == HopKind::Local as u8 {
        return Err(if ends.src == ends.dst {
            PassReason::Localnode.into()
        } else {
            DropReason::NoRoute.into()
        });
    }
    if conn.status.method == ForwardingMethod::Tunnel as u8 {
        return wrapped(f, t, iface, &report.p, ends, hop);
    }
    unchanged(f, t, iface, &report.p, hop)
}

/// From a masqueraded real server, or a router before it, to the client: the virtual address sent it.
#[inline(always)]
fn to_client<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report,
    conn: &Conn,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    reply::admit(iface, &report.p, hop)?;
    stats::outbound(t, conn.dest, report.p.len);
    translated(f, t, iface, report, conn, End::Destination, hop)
}

/// Masquerading. The quoted packet went the other way, so what changes is its other end: `end`.
#[inline(always)]
fn translated<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report,
    conn: &Conn,
    end: End,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    let kernel = masq::by_kernel(iface, &report.p, hop);
    if kernel.is_none() {
        age(f, &report.p)?;
    }
    match end {
        End::Source => <[u8; 4]>::set_dst(f, conn.to_addr)?,
        End::Destination => <[u8; 4]>::set_src(f, conn.to_addr)?,
    }
    requote(f, &report.quoted, conn, end)?;
    complete(f, &report.p)?;
    t.event(Event::IcmpRelayed);
    match kernel {
        Some(reason) => Err(reason.into()),
        None => depart(f, t, iface, hop, report.p.len),
    }
}

/// Writes an end of the quoted packet. As in ip_vs the checksum of what it carries stays: mostly it is not all there.
#[inline(always)]
fn requote<F: Frame>(f: &mut F, q: &Quoted, conn: &Conn, end: End) -> Result<(), Exit> {
    let ip = &mut f.at::<Ipv4>(q.l3)?.0;
    match end {
        End::Source => ip.src_addr = conn.to_addr,
        End::Destination => ip.dst_addr = conn.to_addr,
    }
    ip.check = [0; 2];
    let ports = f.at::<Ports>(q.l4)?;
    match end {
        End::Source => ports.src = conn.to_port,
        End::Destination => ports.dst = conn.to_port,
    }
    let sum = f.sum(q.l3, q.l4 - q.l3)?;
    f.at::<Ipv4>(q.l3)?.0.check = (!csum::fold(sum)).to_be_bytes();
    Ok(())
}

/// Computes the checksum of the message.
#[inline(always)]
fn complete<F: Frame>(f: &mut F, p: &Packet) -> Result<(), Exit> {
    f.at::<Icmp>(p.l4)?.0.check = [0; 2];
    let sum = f.sum(p.l4, usize::from(p.l4_len))?;
    f.at::<Icmp>(p.l4)?.0.check = (!csum::fold(sum)).to_be_bytes();
    Ok(())
}

/// Direct routing, or past the real servers.
#[inline(always)]
fn unchanged<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    age(f, p)?;
    t.event(Event::IcmpRelayed);
    depart(f, t, iface, hop, p.len)
}

/// Through the tunnel.
#[inline(always)]
fn wrapped<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet,
    ends: Tunnel<[u8; 4]>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    tunnel::admit::<[u8; 4]>(hop)?;
    age(f, p)?;
    let discovery = tunnel::discovers(t);
    let len = tunnel::wrap(f, p, ends, discovery && p.df)?;
    t.event(Event::IcmpRelayed);
    depart(f, t, iface, hop, len)
}

/// One less to live.
#[inline(always)]
fn age<F: Frame>(f: &mut F, p: &Packet) -> Result<(), Exit> {
    if p.ttl <= 1 {
        return Err(DropReason::IcmpTtlExceeded.into());
    }
    Ok(<[u8; 4]>::age(f)?)
}
