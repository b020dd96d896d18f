//! A new connection: entries, counts, and its place in the ring that bounds the half-open table.

use ipvs_common::{
    Conn, ConnFlags, Dest, DropReason, Event, FlowKey, ForwardingMethod, RingSlot, Service, State,
    Status,
};

use super::{
    Hit, Table, advance, find_half_open, leave, opposite, tcp_state, tcp_state::Direction,
    template::Parent, threshold,
};
use crate::{
    exit::Exit,
    parse::Packet,
    stats,
    tables::{DestCounter, Tables},
};

/// Enters a connection of `p`'s client with the real server `id`. The entry already is in the state that `p` leads to.
#[inline(always)]
pub fn create<T: Tables>(
    t: &mut T,
    p: &Packet,
    service: &Service,
    id: u32,
    dest: &Dest,
    parent: Parent,
) -> Result<Hit<T::ConnRef>, Exit> {
    let mut conn = entry(t, p, service, id, dest, parent);
    conn.seq = make_room(t, &p.key);
    if dest.method == ForwardingMethod::Masq as u8 {
        insert_reply(t, p, &conn)?;
    }
    if !t.insert_half_open(&p.key, &conn, true) {
        // Either full, or another CPU entered the same flow a moment ago: then that one holds.
        if conn.status.flags & ConnFlags::CHILD != 0 {
            super::template::orphan(t, &p.key, &conn);
        }
        return find_half_open(t, &p.key).ok_or(Exit::Drop(DropReason::ConnTableFull));
    }
    let class = if conn.status.flags & ConnFlags::ACTIVE != 0 {
        DestCounter::Active
    } else {
        DestCounter::Inactive
    };
    t.add(id, class, 1);
    threshold::after_bind(t, id);
    stats::connection(t, id);
    find_half_open(t, &p.key).ok_or(Exit::Drop(DropReason::Internal))
}

#[inline(always)]
fn entry<T: Tables>(
    t: &T,
    p: &Packet,
    service: &Service,
    id: u32,
    dest: &Dest,
    parent: Parent,
) -> Conn {
    let one_way = dest.method != ForwardingMethod::Masq as u8;
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
        flags: parent.flags | if one_way { ConnFlags::NO_OUTPUT } else { 0 },
        method: dest.method,
        template_prefix: parent.prefix,
    };
    let status = advance::moved(born, state);
    Conn {
        expires: advance::deadline(t, state),
        dest: id,
        service: service.id,
        to_addr: dest.addr.low4(),
        to_port: port(p, service, dest),
        status,
        mark: service.mark,
        ..Conn::default()
    }
}

/// The real server's port for packets to the service's own port; other ports (port 0, firewall mark) stay.
#[inline(always)]
fn port(p: &Packet, service: &Service, dest: &Dest) -> [u8; 2] {
    let own = service.port == [0, 0] && service.mark == 0
        || service.port == p.key.dport
        || service.mark != 0;
    if own && dest.port != [0, 0] {
        dest.port
    } else {
        p.key.dport
    }
}

/// The reply entry. A connection of the same client port to the same real server by way of another service would answer to
/// the same key: the newest gets it, as in ip_vs.
#[inline(always)]
fn insert_reply<T: Tables>(t: &mut T, p: &Packet, conn: &Conn) -> Result<(), Exit> {
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
    if t.insert_half_open(&key, &reply, false) {
        Ok(())
    } else {
        Err(DropReason::ConnTableFull.into())
    }
}

/// Takes a place in the ring; whoever still stands half-open in it has to go. Returns the number of the place.
#[inline(always)]
fn make_room<T: Tables>(t: &mut T, key: &FlowKey) -> u32 {
    let seq = t.ring_ticket();
    let Some(old) = t.ring_replace(&RingSlot {
        key: *key,
        seq,
        used: 1,
    }) else {
        return seq;
    };
    if old.used == 0 {
        return seq;
    }
    if let Some(entry) = t.half_open(&old.key)
        && t.load(entry).seq == old.seq
        && leave::end(t, Table::HalfOpen, &old.key, entry)
    {
        t.event(Event::HalfOpenEvicted);
    }
    seq
}
