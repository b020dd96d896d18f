//! ICMP errors about connections: from the client's side to the real server, from a masqueraded real server's side to the client.

use ipvs_common::{ConnFlags, DropReason, FlowKey, Iface, PassReason, SettingsFlags};

use super::refuse;
use crate::{
    conn::{self, Hit},
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    fwd,
    parse::error::{self, Report},
    rewrite::csum,
    service, stats,
    tables::Tables,
};

#[inline(always)]
pub fn icmp<F: Frame, T: Tables<A = [u8; 4]>>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let report = match error::report(f, iface) {
        Ok(report) => report,
        Err(exit) => return refuse(t, exit),
    };
    if !report.quoted.has_ports() {
        return Verdict::TUNNELED;
    }
    match about(f, t, iface, &report) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

/// What becomes of an error about a packet of some connection.
#[inline(always)]
fn about<F: Frame, T: Tables<A = [u8; 4]>>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    report: &Report,
) -> Result<Verdict, Exit> {
    let key = report.quoted.answered();
    if let Some(hit) = living(t, &key) {
        if !hit.is_reply() {
            service::at_work(t)?;
        }
        verify(f, report)?;
        return fwd::error::forward(f, t, iface, report, &hit.conn);
    }
    // About a client's packet as it came, so it is for the client; ip_vs counts it as a reply.
    let dest = one_way(t, &report.quoted.key);
    if dest != NO_DEST {
        stats::outbound(t, dest, report.p.len);
        return Err(PassReason::IcmpOfRequest.into());
    }
    service::at_work(t)?;
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::SCHEDULE_ICMP == 0 {
        return Err(PassReason::IcmpStranger.into());
    }
    t.ask(&key);
    Err(Exit::ASKED)
}

/// The real server of a connection whose replies do not pass the director.
#[inline(always)]
fn one_way<T: Tables<A = [u8; 4]>>(t: &mut T, key: &FlowKey) -> u32 {
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
pub(super) fn living<T: Tables<A = [u8; 4]>>(t: &mut T, key: &FlowKey) -> Option<Hit<T>> {
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

#[inline(always)]
pub(super) fn verify<F: Frame>(f: &mut F, report: &Report) -> Result<(), Exit> {
    let sum = f.sum(report.p.l4, usize::from(report.p.l4_len))?;
    if csum::fold(sum) == 0xffff {
        Ok(())
    } else {
        Err(DropReason::IcmpChecksum.into())
    }
}
