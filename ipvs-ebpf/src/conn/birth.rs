//! A new connection: entries, counts, and its place in the ring that bounds the half-open table.

use ipvs_common::{
    Address, Conn, ConnFlags, Dest, DropReason, Event, FlowKey, ForwardingMethod, RingSlot,
    Service, ServiceFlags, State, Status,
};

use super::{
    Table, advance, is_masq, opposite,
    tcp_state::Direction,
    template::{self, Choice, Parent},
    threshold,
};
use crate::{
    exit::{Exit, NO_DEST},
    parse::Packet,
    stats,
    tables::{DestCounter, Tables},
};

/// A connection that bypasses the real servers, to be entered.
#[inline(always)]
pub fn bypass<T: Tables>(t: &mut T, p: &Packet<T::A>, service: &Service) -> Conn<T::A> {
    let choice = Choice {
        dest: NO_DEST,
        parent: Parent::default(),
    };
    t.event(Event::Bypassed);
    Conn {
        to_addr: p.key.dst,
        to_port: p.key.dport,
        ..entry(t, p, service.mark, choice, ForwardingMethod::BYPASS)
    }
}

/// Enters a connection that [`draft`] or [`bypass`] made of the packet.
#[inline(always)]
pub fn enter<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    mut conn: Conn<T::A>,
) -> Result<Conn<T::A>, Exit> {
    // Datagrams at once on several CPUs: one may have opened it, another one promoted it.
    if p.is_udp() && t.conn(&p.key).is_some() {
        return Err(not_entered(t, p, &conn));
    }
    conn.seq = make_room(t, &p.key);
    if is_masq(&conn) && !insert_reply(t, p, &conn) {
        return Err(not_entered(t, p, &conn));
    }
    insert_client(t, p, &conn)?;
    Ok(conn)
}

/// Enters the client's direction, and counts.
#[inline(always)]
pub fn insert_client<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
) -> Result<(), Exit> {
    if !t.insert_half_open(&p.key, conn, true) {
        return Err(not_entered(t, p, conn));
    }
    if conn.dest != NO_DEST {
        bind(t, conn, 1);
        threshold::after_bind(t, conn.dest);
        stats::connection(t, conn.dest);
    }
    if State::is_established(conn.status.state) && conn.status.flags & ConnFlags::CHILD != 0 {
        template::assure(t, &p.key, conn);
    }
    Ok(())
}

/// The connection of a datagram that is scheduled by itself: counted, but in no table. Give it to [`forget`] in the end.
#[inline(always)]
pub fn one_packet<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    service: &Service,
    choice: Choice,
) -> Result<Conn<T::A>, Exit> {
    let mut conn = draft(t, p, service, choice)?;
    conn.status.flags |= ConnFlags::ONE_PACKET;
    bind(t, &conn, 1);
    threshold::after_bind(t, conn.dest);
    stats::connection(t, conn.dest);
    t.event(Event::OnePacket);
    Ok(conn)
}

/// Ends what [`one_packet`] began.
#[inline(always)]
pub fn forget<T: Tables>(t: &mut T, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    bind(t, conn, -1);
    threshold::after_unbind(t, conn.dest);
    if conn.status.flags & ConnFlags::CHILD != 0 {
        template::orphan(t, key, conn);
    }
}

#[inline(always)]
fn bind<T: Tables>(t: &mut T, conn: &Conn<T::A>, delta: i32) {
    let counter = if conn.status.flags & ConnFlags::ACTIVE != 0 {
        DestCounter::Active
    } else {
        DestCounter::Inactive
    };
    t.add(conn.dest, counter, delta);
}

/// Either the table is full, or another CPU entered the same flow a moment ago: then that one holds.
#[inline(always)]
pub fn not_entered<T: Tables>(t: &mut T, p: &Packet<T::A>, conn: &Conn<T::A>) -> Exit {
    if conn.status.flags & ConnFlags::CHILD != 0 {
        template::orphan(t, &p.key, conn);
    }
    if t.half_open(&p.key).is_some() || t.conn(&p.key).is_some() {
        Exit::SLOW
    } else {
        DropReason::ConnTableFull.into()
    }
}

/// A connection to the real server chosen, to be entered. It already is in the state that `p` leads to.
#[inline(always)]
pub fn draft<T: Tables>(
    t: &T,
    p: &Packet<T::A>,
    service: &Service,
    choice: Choice,
) -> Result<Conn<T::A>, Exit> {
    let dest = t.dest(choice.dest).ok_or(DropReason::Internal)?;
    Ok(Conn {
        to_addr: Address::narrow(dest.addr),
        to_port: port(p, service, dest),
        ..entry(t, p, service.mark, choice, dest.method)
    })
}

/// The same, opened by an ICMP error: no packet was seen, so it does not last.
#[inline(always)]
pub fn unseen<T: Tables>(t: &T, conn: Conn<T::A>) -> Conn<T::A> {
    /// Seconds, as ip_vs gives every new connection before its first packet.
    const TIMEOUT: u64 = 3;
    let state = if conn.status.state == State::Udp as u8 {
        State::Udp
    } else {
        State::None
    };
    let hz = t.settings().map_or(0, |s| u64::from(s.hz));
    Conn {
        expires: t.now() + TIMEOUT * hz,
        status: Status {
            state: state as u8,
            flags: conn.status.flags & !ConnFlags::ACTIVE,
            ..conn.status
        },
        ..conn
    }
}

#[inline(always)]
pub(super) fn entry<T: Tables>(
    t: &T,
    p: &Packet<T::A>,
    mark: u32,
    choice: Choice,
    method: u8,
) -> Conn<T::A> {
    let one_way = method != ForwardingMethod::Masq as u8;
    let direction = if one_way {
        Direction::IN_ONLY
    } else {
        Direction::IN
    };
    let state = advance::state_after(t, p, direction, State::None as u8);
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
        mark,
        packets: 1,
        generation: choice.parent.generation,
        ..Conn::default()
    }
}

/// The real server's port; under persistence only for the service's own port, other ports (port 0, firewall mark) stay.
#[inline(always)]
fn port<A: Address>(p: &Packet<A>, service: &Service, dest: &Dest) -> [u8; 2] {
    let stays = service.flags & ServiceFlags::PERSISTENT != 0 && p.key.dport != service.port;
    if stays || dest.port == [0, 0] {
        p.key.dport
    } else {
        dest.port
    }
}

/// The reply entry. A connection of the same client port to the same real server by way of another service would answer to
/// the same key: the newest gets it, as in ip_vs. A real server that is a client, too, may have a connection under that key:
/// that one ends, with its counts.
#[inline(always)]
pub fn insert_reply<T: Tables>(t: &mut T, p: &Packet<T::A>, conn: &Conn<T::A>) -> bool {
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
    if t.conn(&key).is_some() && !t.end(Table::Established, &key) {
        t.remove_conn(&key);
    }
    if t.insert_half_open(&key, &reply, true) {
        return true;
    }
    t.end(Table::HalfOpen, &key);
    t.insert_half_open(&key, &reply, false)
}

/// Takes a place in the ring; whoever still stands half-open in it has to go. Returns the number of the place.
#[inline(always)]
pub fn make_room<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> u32 {
    let seq = t.ring_ticket();
    let old = t.ring_replace(&RingSlot {
        key: *key,
        seq,
        used: 1,
    });
    if old.used == 0 {
        return seq;
    }
    if t.evict(&old.key, old.seq) {
        t.event(Event::HalfOpenEvicted);
    }
    seq
}
