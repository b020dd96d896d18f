//! A half-open connection that proved itself moves to the established table, where a flood cannot push it out.

use ipvs_common::{Conn, Event, FlowKey};

use super::{Hit, Table, belongs, is_masq, leave, opposite};
use crate::{
    parse::{Packet, flag},
    tables::Tables,
};

/// Promotes on the client's ACK (TCP) or its second datagram (UDP). Returns the entry that now holds.
#[inline(always)]
pub fn on_packet<T: Tables>(t: &mut T, p: &Packet, hit: Hit<T::ConnRef>) -> Hit<T::ConnRef> {
    let proven = !p.is_tcp() || (p.has(flag::ACK) && !p.has(flag::SYN) && !p.has(flag::RST));
    if hit.table == Table::Established || hit.is_reply() || !proven {
        return hit;
    }
    match promote(t, &p.key, hit.entry) {
        Some(moved) => moved,
        None => hit,
    }
}

#[inline(always)]
fn promote<T: Tables>(t: &mut T, key: &FlowKey, entry: T::ConnRef) -> Option<Hit<T::ConnRef>> {
    let conn = leave::mark_leaving(t, entry)?;
    if !install(t, key, &conn) {
        // Give the claim back; the connection goes on where it is.
        let leaving = t.load(entry).status;
        t.swap_status(entry, leaving, conn.status);
        t.event(Event::PromotionFailed);
        return None;
    }
    t.remove_half_open(key);
    t.event(Event::Promoted);
    let entry = t.conn(key)?;
    Some(Hit {
        entry,
        table: Table::Established,
        conn,
    })
}

/// Enters both directions; the reply's first, so that no reply finds the client's without its own.
#[inline(always)]
fn install<T: Tables>(t: &mut T, key: &FlowKey, conn: &Conn) -> bool {
    if !is_masq(conn) {
        return t.insert_conn(key, conn, true);
    }
    let other = opposite(key, conn);
    let Some(reply) = t
        .half_open(&other)
        .map(|r| t.load(r))
        .filter(|r| belongs(key, r))
    else {
        return false;
    };
    if !t.insert_conn(&other, &reply, false) {
        return false;
    }
    if !t.insert_conn(key, conn, true) {
        t.remove_conn(&other);
        return false;
    }
    t.remove_half_open(&other);
    true
}
