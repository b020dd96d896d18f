//! A new connection: entries, counts, and its place in the ring that bounds the half-open table.

use ipvs_common::{
    Conn, ConnFlags, Dest, DropReason, Event, FlowKey, ForwardingMethod, RingSlot, Service,
    ServiceFlags, State, Status,
};

use super::{
    Table, advance, is_masq, opposite, tcp_state,
    tcp_state::Direction,
    template::{self, Choice},
    threshold,
};
use crate::{
    exit::Exit,
    parse::Packet,
    stats,
    tables::{DestCounter, Tables},
};

/// Enters a connection of `p`'s client with the real server chosen. The entry already is in the state that `p` leads to.
#[inline(always)]
pub fn create<T: Tables>(
    t: &mut T,
    p: &Packet,
    service: &Service,
    choice: Choice,
) -> Result<(), Exit> {
    let id = choice.dest;
    let dest = t.dest(id).ok_or(DropReason::Internal)?;
    let (addr, port, method) = (dest.addr.low4(), port(p, service, dest), dest.method);
    let mut conn = entry(t, p, service, choice, method);
    conn.to_addr = addr;
    conn.to_port = port;
    conn.seq = make_room(t, &p.key);
    if (is_masq(&conn) && !insert_reply(t, p, &conn)) || !t.insert_half_open(&p.key, &conn, true) {
        return not_entered(t, p, &conn);
    }
    let active = conn.status.flags & ConnFlags::ACTIVE != 0;
    t.add(
        id,
        if active {
            DestCounter::Active
        } else {
            DestCounter::Inactive
        },
        1,
    );
    threshold::after_bind(t, id);
    stats::connection(t, id);
    Ok(())
}

/// Either the table is full, or another CPU entered the same flow a moment ago: then that one holds.
#[inline(always)]
fn not_entered<T: Tables>(t: &mut T, p: &Packet, conn: &Conn) -> Result<(), Exit> {
    if conn.status.flags & ConnFlags::CHILD != 0 {
        template::orphan(t, &p.key, conn);
    }
    if t.half_open(&p.key).is_some() || t.conn(&p.key).is_some() {
        Ok(())
    } else {
        Err(DropReason::ConnTableFull.into())
    }
}

#[inline(always)]
fn entry<T: Tables>(t: &T, p: &Packet, service: &Service, choice: Choice, method: u8) -> Conn {
    let one_way = method != ForwardingMethod::Masq as u8;
    let direction = if one_way {
        Direction::InOnly
    } else {
        Direction::In
    };
    let state = if p.is_tcp() {
        tcp_state::next(direction, p.flags, State::None as u8)
    } else {
        State::Udp as u8
    };
    let born = Status {
        state: State::None as u8,
        flags: choice.parent.flags | if one_way { ConnFlags::NO_OUTPUT } else { 0 },
        method,
        template_prefix: choice.parent.prefix,
    };
    Conn {
        expires: advance::deadline(t, state),
        dest: choice.dest,
        status: advance::moved(born, state),
        mark: service.mark,
        ..Conn::default()
    }
}

/// The real server's port; under persistence only for the service's own port, other ports (port 0, firewall mark) stay.
#[inline(always)]
fn port(p: &Packet, service: &Service, dest: &Dest) -> [u8; 2] {
    let stays = service.flags & ServiceFlags::PERSISTENT != 0 && p.key.dport != service.port;
    if stays || dest.port == [0, 0] {
        p.key.dport
    } else {
        dest.port
    }
}

/// The reply entry. A connection of the same client port to the same real server by way of another service would answer to
/// the same key: the newest gets it, as in ip_vs.
#[inline(always)]
fn insert_reply<T: Tables>(t: &mut T, p: &Packet, conn: &Conn) -> bool {
    let key = opposite(&p.key, conn);
    let reply = Conn {
        to_addr: p.key.dst,
        to_port: p.key.dport,
        status: Status {
            flags: conn.status.flags | ConnFlags::REPLY,
            ..conn.status
        },
        ..*conn
    };
    if t.conn(&key).is_some() {
        t.remove_conn(&key);
    }
    t.insert_half_open(&key, &reply, false)
}

/// Takes a place in the ring; whoever still stands half-open in it has to go. Returns the number of the place.
#[inline(always)]
fn make_room<T: Tables>(t: &mut T, key: &FlowKey) -> u32 {
    let seq = t.ring_ticket();
    let old = t.ring_replace(&RingSlot {
        key: *key,
        seq,
        used: 1,
    });
    if old.used == 0 {
        return seq;
    }
    let Some(entry) = t.half_open(&old.key) else {
        return seq;
    };
    let conn = t.load(entry);
    if conn.seq == old.seq && t.end(Table::HalfOpen, &old.key) {
        t.event(Event::HalfOpenEvicted);
        if conn.status.flags & ConnFlags::CHILD != 0 {
            template::abandon(t, &old.key, &conn);
        }
    }
    seq
}
