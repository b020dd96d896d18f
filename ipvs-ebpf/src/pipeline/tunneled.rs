//! ICMP errors about packets that the director sent through a tunnel: their clients are told, in terms of what those sent.

use ipvs_common::{Address as _, DropReason, Event, FlowKey, ForwardingMethod, Iface, PassReason};

use super::{
    icmp::{living, verify},
    leave_by, refuse, steps,
};
use crate::{
    Ip, egress,
    exit::{Exit, Verdict},
    frame::Frame,
    icmp::Error,
    parse::{
        L3, Packet, Piece,
        error::{self, Quoted, Report},
    },
    service, stats,
    tables::Tables,
};

#[inline(always)]
pub fn tunneled<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return steps::tunneled_slowly(f, t, iface);
    }
    match whole(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn whole<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let report = error::report::<_, T::A>(f, iface)?;
    let inner = error::inside(f, &report)?;
    let answer = in_clients_terms(f, t, &report, &inner)?;
    let left = left(&report.p, &inner);
    Ok(tell(f, t, iface, inner.l3, inner.key, left, answer))
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
pub(super) fn left<A: Ip>(message: &Packet<A>, inner: &Quoted<A>) -> u16 {
    (L3 + message.len as usize - inner.l3) as u16
}

/// The error about the client's packet that follows from one about the tunnel's.
#[inline(always)]
pub(super) fn in_clients_terms<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    report: &Report<T::A>,
    inner: &Quoted<T::A>,
) -> Result<Exit, Exit> {
    let hit = living(t, &inner.key).ok_or(PassReason::IcmpStranger)?;
    let id = hit.conn.dest;
    let dest = t.dest(id).ok_or(PassReason::IcmpStranger)?;
    let ours = hit.conn.status.method == ForwardingMethod::Tunnel as u8
        && T::A::narrow(dest.addr) == report.quoted.key.dst
        && T::A::narrow(dest.tunnel_src) == report.quoted.key.src
        && T::A::narrow(dest.tunnel_src) == report.p.key.dst;
    if !ours {
        return Err(PassReason::IcmpStranger.into());
    }
    service::at_work(t)?;
    verify(f, &report.p)?;
    let mut mtu = 0;
    if report.too_big() {
        let overhead = (inner.l3 - report.quoted.l3) as u16;
        mtu = egress::learn(t, id, report.mtu).saturating_sub(overhead);
        if !inner.df {
            return Err(DropReason::TunnelError.into());
        }
    }
    // As in ip_vs both what is told and what is sent for it count as replies.
    stats::outbound(t, id, left(&report.p, inner));
    t.event(Event::IcmpRelayed);
    let error = Error::of_tunnel(T::A::told(report.kind, report.code), mtu);
    Ok(Exit::answer(error, id))
}
