//! A half-open connection that proved itself moves to the established table, where a flood cannot push it out.

use ipvs_common::{Address, Conn, ConnFlags, Event, FlowKey, Status};

use super::{Hit, Table, belongs, is_masq, leave, opposite, synced};
use crate::{
    parse::{Packet, flag},
    tables::Tables,
};

/// Promotes on the client's ACK (TCP), its second datagram (UDP), or anything but INIT and ABORT (SCTP). Returns the entry that now holds.
#[inline(always)]
pub fn on_packet<T: Tables>(t: &mut T, p: &Packet<T::A>, hit: Hit<T>) -> Hit<T> {
    if hit.table == Table::Established || hit.is_reply() {
        return hit;
    }
    if !proves(p) {
        return hit;
    }
    if !t.promote(&p.key) {
        return hit;
    }
    // Gone again at once only if it ended meanwhile; the packet goes by what was known.
    match t.conn(&p.key) {
        Some(entry) => Hit {
            entry,
            table: Table::Established,
            ..hit
        },
        None => hit,
    }
}

/// Whether a client's packet proves that it is there.
#[must_use]
#[inline(always)]
pub const fn proves<A: Address>(p: &Packet<A>) -> bool {
    p.is_udp() || (p.has(flag::ACK) && !p.has(flag::SYN) && !p.has(flag::RST))
}

/// Moves the connection whose client entry is `key`. False: it is not half-open (any more), or there is no room.
#[inline(always)]
pub fn promote<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> bool {
    let Some(entry) = t.half_open(key) else {
        return false;
    };
    let Some(conn) = leave::mark_leaving(t, entry) else {
        return false;
    };
    if !install(t, key, entry, &conn) {
        // Give the claim back; the connection goes on where it is.
        t.swap_status(entry, conn.seq, leaving(conn.status), conn.status);
        t.event(Event::PromotionFailed);
        return false;
    }
    t.remove_half_open(key);
    synced::changed(t, key);
    t.event(Event::Promoted);
    true
}

/// Enters both directions; the reply's first, so that no client's entry stands without it.
#[inline(always)]
fn install<T: Tables>(
    t: &mut T,
    key: &FlowKey<T::A>,
    entry: T::ConnRef,
    conn: &Conn<T::A>,
) -> bool {
    let other = opposite(key, conn);
    if is_masq(conn) && !install_reply(t, key, &other) {
        return false;
    }
    if !t.copy_to_conns(key, entry) {
        if is_masq(conn) {
            t.remove_conn(&other);
        }
        return false;
    }
    // The copy carries the mark of the one that is leaving.
    if let Some(moved) = t.conn(key) {
        t.swap_status(moved, conn.seq, leaving(conn.status), conn.status);
    }
    if is_masq(conn) {
        t.remove_half_open(&other);
    }
    true
}

#[inline(always)]
const fn leaving(status: Status) -> Status {
    Status {
        flags: status.flags | ConnFlags::LEAVING,
        ..status
    }
}

#[inline(always)]
fn install_reply<T: Tables>(t: &mut T, key: &FlowKey<T::A>, other: &FlowKey<T::A>) -> bool {
    let Some(reply) = t.half_open(other) else {
        return false;
    };
    belongs(key, &t.load(reply)) && t.copy_to_conns(other, reply)
}
