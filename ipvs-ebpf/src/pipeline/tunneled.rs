//! ICMP errors about packets that the director sent through a tunnel: their clients are told, in terms of what those sent.

use ipvs_common::{
    Dest, DropReason, Event, FlowKey, ForwardingMethod, Iface, PassReason, TunnelKind,
};

use super::{
    icmp::{self, living, verify},
    leave_by, refuse,
};
use crate::{
    Ip, egress,
    exit::{Exit, Verdict},
    frame::Frame,
    fwd::wrap,
    icmp::Error,
    parse::{
        L3, Packet, Piece,
        error::{Quoted, Report},
    },
    service, stats,
    tables::Tables,
};

/// Any UDP may turn out to be of no tunnel; then it is as if nobody had asked.
#[inline(always)]
pub(super) fn instead<T: Tables>(t: &mut T, report: &Report<T::A>, exit: Exit) -> Exit {
    if exit == PassReason::IcmpStranger.into() {
        return icmp::nobodys(t, report);
    }
    exit
}

/// Tells the client that sent what begins at `start` and is quoted as far as `left` bytes.
#[inline(always)]
pub(super) fn tell<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    start: usize,
    key: FlowKey<T::A>,
    left: u16,
    answer: Exit,
) -> Verdict {
    if let Err(reason) = f.shrink_head(start - L3) {
        return refuse(t, reason.into());
    }
    let p = Packet {
        key,
        l4: L3,
        len: left,
        l4_len: 0,
        ttl: 0,
        tos: 0,
        df: false,
        flags: 0,
        piece: Piece::Whole,
    };
    leave_by(f, t, iface, &p, answer)
}

/// As much of the client's packet as the error quotes.
#[inline(always)]
pub(super) fn left<A: Ip, O: Ip>(message: &Packet<O>, inner: &Quoted<A>) -> u16 {
    (L3 + message.len as usize - inner.l3) as u16
}

/// The error about the client's packet that follows from one about the tunnel's, which is of the family `O`.
#[inline(always)]
pub(super) fn in_clients_terms<F: Frame, T: Tables, O: Ip>(
    f: &mut F,
    t: &mut T,
    report: &Report<O>,
    inner: &Quoted<T::A>,
) -> Result<Exit, Exit> {
    let hit = living(t, &inner.key).ok_or(PassReason::IcmpStranger)?;
    let id = hit.conn.dest;
    let dest = t.dest(id).ok_or(PassReason::IcmpStranger)?;
    let ours = hit.conn.status.method == ForwardingMethod::Tunnel as u8
        && dest.addr == report.quoted.key.dst.wide()
        && dest.tunnel_src == report.quoted.key.src.wide()
        && dest.tunnel_src == report.p.key.dst.wide()
        && carries::<T::A, O>(dest, &report.quoted);
    if !ours {
        return Err(PassReason::IcmpStranger.into());
    }
    service::at_work(t)?;
    verify(f, &report.p)?;
    let mut mtu = 0;
    if report.too_big() {
        let overhead = (inner.l3 - report.quoted.l3) as u16;
        mtu = egress::learn::<T, O>(t, id, report.mtu).saturating_sub(overhead);
        if !inner.df {
            return Err(DropReason::TunnelError.into());
        }
    }
    // As in ip_vs both what is told and what is sent for it count as replies.
    stats::outbound(t, id, left(&report.p, inner));
    t.event(Event::IcmpRelayed);
    let told = if O::LONG == T::A::LONG {
        O::told(report.kind, report.code)
    } else {
        O::told_across(report.kind, report.code)
    };
    Ok(Exit::answer(Error::of_tunnel(told, mtu), id))
}

/// Whether such a packet goes to that real server.
#[inline(always)]
fn carries<A: Ip, O: Ip>(dest: &Dest, quoted: &Quoted<O>) -> bool {
    let proto = quoted.key.proto;
    match TunnelKind::from_number(dest.tunnel) {
        Some(TunnelKind::Gue) => proto == wrap::IN_UDP && quoted.key.dport == dest.tunnel_port,
        Some(TunnelKind::Gre) => proto == wrap::GRE,
        Some(TunnelKind::Ipip) | None => proto == A::WITHIN,
    }
}
