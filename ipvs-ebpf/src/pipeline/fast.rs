//! An established connection whose packet changes nothing but its timer, on a way that is known: one look into the
//! connection table, no question to the kernel.

use ipvs_common::{DestFlags, ForwardingMethod, Hop, Iface, Settings};

use super::refuse;
use crate::{
    Ip,
    conn::{Hit, Table, advance},
    egress,
    exit::{Exit, Verdict},
    frame::{Early, Frame},
    fwd,
    parse::{Packet, flag},
    stats,
    tables::Tables,
};

#[inline(always)]
pub fn fast<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let p = match T::A::packet(f, iface) {
        Ok(p) => p,
        Err(exit) => return refuse(t, exit),
    };
    let Some(entry) = t.conn(&p.key) else {
        // Likely a new one. This look, the one before and the one behind it do not wait for each other's memory.
        if !p.is_tcp() || p.has(flag::SYN) {
            t.look_ahead();
        }
        return if t.half_open(&p.key).is_some() {
            Verdict::SLOW
        } else {
            Verdict::OPEN
        };
    };
    let hit = Hit {
        entry,
        table: Table::Established,
        conn: t.load(entry),
    };
    if p.has(flag::SYN) || t.now() >= hit.conn.expires || !advance::stays(t, &p, hit.conn.status) {
        return Verdict::SLOW;
    }
    let f = &mut Early(f);
    let outcome = if hit.is_reply() {
        reply(f, t, iface, &p, &hit)
    } else {
        request(f, t, iface, &p, &hit)
    };
    match outcome {
        Some(Ok(verdict)) => verdict,
        Some(Err(exit)) => refuse(t, exit),
        None => Verdict::SLOW,
    }
}

/// `None`: another stage has to look.
#[inline(always)]
fn request<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Option<Result<Verdict, Exit>> {
    let id = hit.conn.dest;
    let dest = t.dest(id)?;
    let flags = dest.flags;
    // One comparison for what is the rule.
    let unusual = flags & (DestFlags::AVAILABLE | DestFlags::WRAPPED) != DestFlags::AVAILABLE;
    if unusual && flags & DestFlags::AVAILABLE == 0 {
        return None;
    }
    let hop = t.dest_state(id)?.hop;
    let settings = t.settings()?;
    if settings.stands_by() || !plain(t, settings, iface, p, &hop) {
        return None;
    }
    stats::inbound(t, id, p);
    advance::count(t, hit);
    advance::touch(t, hit, hit.conn.status.state);
    if unusual && hit.conn.status.method == ForwardingMethod::Tunnel as u8 {
        return Some(Err(fwd::to_be_wrapped(t, id)));
    }
    Some(fwd::by_method(f, t, iface, p, &hit.conn, &hop))
}

#[inline(always)]
fn reply<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Option<Result<Verdict, Exit>> {
    let hop = hit.conn.hop;
    if !plain(t, t.settings()?, iface, p, &hop) {
        return None;
    }
    stats::outbound(t, hit.conn.dest, p.len);
    advance::touch(t, hit, hit.conn.status.state);
    Some(fwd::reply::forward(f, t, iface, p, &hit.conn, &hop))
}

/// Nothing stands in the way: a fresh hop that takes the frame, time to live, and length to spare for an outer header.
#[inline(always)]
fn plain<T: Tables>(
    t: &T,
    settings: &Settings,
    iface: &Iface,
    p: &Packet<T::A>,
    hop: &Hop,
) -> bool {
    egress::fresh_by(t, settings, hop)
        && egress::takes(iface, hop)
        && !egress::is_aggregate(iface, p)
        && p.ttl > 1
        && u32::from(p.len) + T::A::HEADER as u32 <= u32::from(hop.mtu)
}
