//! ICMP errors about connections: from the client's side to the real server, from a masqueraded real server's side to the client.

use ipvs_common::{ConnFlags, DropReason, FlowKey, Iface, PassReason, Proto, SettingsFlags};

use super::{refuse, steps};
use crate::{
    Ip,
    conn::{self, Hit},
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    fwd::error as relay,
    parse::{
        Packet,
        error::{self, Report},
    },
    rewrite::csum,
    service, stats,
    tables::Tables,
};

#[inline(always)]
pub fn icmp<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return steps::icmp_slowly(f, t, iface);
    }
    match whole(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn whole<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let report = error::report(f, iface)?;
    let Some(hit) = known(f, t, &report)? else {
        return Err(stranger(t, &report));
    };
    relay::is_left(t, &report.p, &hit.conn)?;
    let hop = relay::way(t, iface, &report.p, &hit.conn);
    relay::forward(f, t, iface, &report, &hit.conn, &hop)
}

/// The connection that an error is about.
#[inline(always)]
pub(super) fn known<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    report: &Report<T::A>,
) -> Result<Option<Hit<T>>, Exit> {
    if !report.quoted.has_ports() {
        return Err(Exit::TUNNELED);
    }
    let Some(hit) = living(t, &report.quoted.answered()) else {
        return Ok(None);
    };
    if !hit.is_reply() {
        service::at_work(t)?;
    }
    verify(f, &report.p)?;
    Ok(Some(hit))
}

/// What becomes of an error about an answer in no connection.
#[inline(always)]
pub(super) fn stranger<T: Tables>(t: &mut T, report: &Report<T::A>) -> Exit {
    // About a client's packet as it came, so it is for the client; ip_vs counts it as a reply.
    let dest = one_way(t, &report.quoted.key);
    if dest != NO_DEST {
        stats::outbound(t, dest, report.p.len);
        return PassReason::IcmpOfRequest.into();
    }
    if let Err(exit) = service::at_work(t) {
        return exit;
    }
    if report.quoted.key.proto == Proto::Udp as u8 {
        // Perhaps of a tunnel.
        return Exit::TUNNELED;
    }
    nobodys(t, report)
}

/// What becomes of an error about no connection, nor about a tunnel.
#[inline(always)]
pub(super) fn nobodys<T: Tables>(t: &mut T, report: &Report<T::A>) -> Exit {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::SCHEDULE_ICMP == 0 || !report.quoted.has_ports() {
        return PassReason::IcmpStranger.into();
    }
    t.ask(&report.quoted.answered());
    Exit::ASKED
}

/// The real server of a connection whose replies do not pass the director.
#[inline(always)]
fn one_way<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> u32 {
    let Some(entry) = t.conn(key).or_else(|| t.half_open(key)) else {
        return NO_DEST;
    };
    let conn = t.load(entry);
    if conn.status.flags & ConnFlags::NO_OUTPUT == 0 || conn.expires <= t.now() {
        return NO_DEST;
    }
    conn.dest
}

/// The connection of a key, unless its time is over. Ending it is left to others, which saves this stage their stack.
#[inline(always)]
pub(super) fn living<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> Option<Hit<T>> {
    let hit = conn::find(t, key)?;
    if hit.conn.expires > t.now() {
        return Some(hit);
    }
    // The other direction of a masqueraded one may have been used since.
    let other = conn::opposite(key, &hit.conn);
    if !conn::is_masq(&hit.conn) {
        return None;
    }
    let entry = conn::find_in(t, hit.table, &other)?;
    (t.load(entry).expires > t.now()).then_some(hit)
}

/// That the checksum of a message is right. ip_vs leaves the addresses out of that of IPv6, and so finds it wrong.
#[inline(always)]
pub(super) fn verify<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>) -> Result<(), Exit> {
    let len = usize::from(p.l4_len);
    let sum = f.sum(p.l4, len)? + A::icmp_pseudo(p.key.src, p.key.dst, len);
    if csum::fold(sum) == 0xffff {
        Ok(())
    } else {
        Err(DropReason::IcmpChecksum.into())
    }
}
