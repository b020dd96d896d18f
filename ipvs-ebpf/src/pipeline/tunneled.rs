//! ICMP errors about packets that the director sent through a tunnel: their clients are told, in terms of what those sent.

use ipvs_common::{Address as _, DropReason, Event, ForwardingMethod, Iface, PassReason};

use super::{
    icmp::{living, verify},
    leave_by, refuse,
};
use crate::{
    egress,
    exit::{Exit, Verdict},
    frame::Frame,
    icmp::Error,
    parse::{
        L3, Packet,
        error::{self, Quoted, Report},
    },
    service, stats,
    tables::Tables,
};

#[inline(always)]
pub fn tunneled<F: Frame, T: Tables<A = [u8; 4]>>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let report = match error::report(f, iface) {
        Ok(report) => report,
        Err(exit) => return refuse(t, exit),
    };
    let inner = match error::inside(f, &report) {
        Ok(inner) => inner,
        Err(exit) => return refuse(t, exit),
    };
    let answer = match in_clients_terms(f, t, &report, &inner) {
        Ok(answer) => answer,
        Err(exit) => return refuse(t, exit),
    };
    if let Err(reason) = f.shrink_head(inner.l3 - L3) {
        return refuse(t, reason.into());
    }
    let p = Packet {
        key: inner.key,
        l4: L3,
        len: left(&report, &inner),
        ..report.p
    };
    leave_by(f, t, iface, &p, answer)
}

/// As much of the client's packet as the error quotes.
#[inline(always)]
const fn left(report: &Report, inner: &Quoted) -> u16 {
    (L3 + report.p.len as usize - inner.l3) as u16
}

/// The error about the client's packet that follows from one about the tunnel's.
#[inline(always)]
fn in_clients_terms<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    report: &Report,
    inner: &Quoted,
) -> Result<Exit, Exit> {
    let hit = living(t, &inner.key).ok_or(PassReason::IcmpStranger)?;
    let id = hit.conn.dest;
    let dest = t.dest(id).ok_or(PassReason::IcmpStranger)?;
    let ours = hit.conn.status.method == ForwardingMethod::Tunnel as u8
        && <[u8; 4]>::narrow(dest.addr) == report.quoted.key.dst
        && <[u8; 4]>::narrow(dest.tunnel_src) == report.quoted.key.src
        && <[u8; 4]>::narrow(dest.tunnel_src) == report.p.key.dst;
    if !ours {
        return Err(PassReason::IcmpStranger.into());
    }
    service::at_work(t)?;
    verify(f, report)?;
    let mut mtu = 0;
    if report.fragmentation_needed() {
        let overhead = (inner.l3 - report.quoted.l3) as u16;
        mtu = egress::learn(t, id, report.mtu).saturating_sub(overhead);
        if !inner.df {
            return Err(DropReason::TunnelError.into());
        }
    }
    // As in ip_vs both what is told and what is sent for it count as replies.
    stats::outbound(t, id, left(report, inner));
    t.event(Event::IcmpRelayed);
    let error = Error::of_tunnel(report.kind, report.code, mtu);
    Ok(Exit::answer(error, id))
}
