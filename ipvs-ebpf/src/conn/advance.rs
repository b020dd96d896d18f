//! What a packet does to its connection: state, counts, timer.
//!
//! The client's entry holds the truth; the reply entry holds a copy of the status, so that a packet that changes nothing
//! looks one entry up and writes at most its deadline.

use ipvs_common::{Conn, ConnFlags, FlowKey, Proto, SettingsFlags, State, Status};

use super::{
    Hit, Table, belongs, find_in, is_masq, opposite, synced, tcp_state, tcp_state::Direction,
    template,
};
use crate::{
    exit::NO_DEST,
    parse::Packet,
    sctp,
    tables::{DestCounter, Tables},
};

/// Tries of a compare and swap; another CPU would have to win as often.
const TRIES: u32 = 8;

/// Deadlines are written when they move by this part of a second or more.
const SLACK_PER_SECOND: u64 = 4;

/// Runs state machine and timer for a packet, whichever direction its entry is.
#[inline(always)]
pub fn packet<T: Tables>(t: &mut T, p: &Packet<T::A>, hit: &Hit<T>) {
    let status = hit.conn.status;
    if status.flags & ConnFlags::LEAVING != 0 {
        return;
    }
    let next = next_state(t, p, status);
    if next != status.state {
        change(t, p, hit);
    }
    touch(t, hit, next);
}

/// Whether a packet that the first stage looks after leaves the connection in the state it is in.
#[must_use]
#[inline(always)]
pub fn stays<T: Tables>(t: &T, p: &Packet<T::A>, status: Status) -> bool {
    status.flags & ConnFlags::LEAVING == 0
        && early_state_after(t, p, Direction::by(status), status.state) == status.state
}

/// The state that such a packet leads to.
#[inline(always)]
fn early_state_after<T: Tables>(t: &T, p: &Packet<T::A>, direction: Direction, state: u8) -> u8 {
    if p.is_tcp() {
        let flags = t.settings().map_or(0, |s| s.flags);
        let secure = flags & SettingsFlags::SECURE_TCP != 0;
        tcp_state::next(direction, p.flags, state, secure)
    } else {
        State::Udp as u8
    }
}

#[inline(always)]
fn next_state<T: Tables>(t: &T, p: &Packet<T::A>, status: Status) -> u8 {
    state_after(t, p, Direction::by(status), status.state)
}

/// The state that a packet leads to.
#[inline(always)]
pub fn state_after<T: Tables>(t: &T, p: &Packet<T::A>, direction: Direction, state: u8) -> u8 {
    t.next_state(p.key.proto, p.flags, direction, state)
}

/// The same of any protocol.
#[inline(always)]
pub fn any_state_after<T: Tables>(
    t: &T,
    proto: u8,
    flags: u8,
    direction: Direction,
    state: u8,
) -> u8 {
    match Proto::from_number(proto) {
        Some(Proto::Tcp) => {
            let settings = t.settings().map_or(0, |s| s.flags);
            let secure = settings & SettingsFlags::SECURE_TCP != 0;
            tcp_state::next(direction, flags, state, secure)
        }
        Some(Proto::Sctp) => sctp::next(direction, flags, state),
        Some(Proto::Udp) | None => State::Udp as u8,
    }
}

/// Counts the client's packets as far as anybody asks.
#[inline(always)]
pub fn count<T: Tables>(t: &mut T, hit: &Hit<T>) {
    if hit.conn.packets < Conn::MANY {
        t.set_packets(hit.entry, hit.conn.seq, hit.conn.packets + 1);
    }
}

/// Deadline of an entry in `state`, from now.
#[inline(always)]
pub fn deadline<T: Tables>(t: &T, state: u8) -> u64 {
    let timeout = t.settings().and_then(|s| {
        s.timeouts
            .get(usize::from(state) & (State::SLOTS - 1))
            .copied()
    });
    t.now() + u64::from(timeout.unwrap_or(0))
}

/// Restarts the timer of an entry in `state`.
#[inline(always)]
pub fn touch<T: Tables>(t: &mut T, hit: &Hit<T>, state: u8) {
    let new = deadline(t, state);
    let slack = t.settings().map_or(0, |s| u64::from(s.hz)) / SLACK_PER_SECOND;
    // Both ways: a shorter timeout (a closing connection) must take effect as well.
    if new.wrapping_sub(hit.conn.expires).wrapping_add(slack) > slack * 2 {
        t.set_expires(hit.entry, hit.conn.seq, new);
    }
}

/// Moves the client's entry by compare and swap, counts if that was us, and copies the result to the other direction.
#[inline(always)]
fn change<T: Tables>(t: &mut T, p: &Packet<T::A>, hit: &Hit<T>) {
    let key = &p.key;
    let other = opposite(key, &hit.conn);
    if hit.is_reply() {
        // In the other table if another CPU promotes the connection just now.
        if !by_reply(t, p, hit, hit.table, &other) && hit.table == Table::HalfOpen {
            by_reply(t, p, hit, Table::Established, &other);
        }
        return;
    }
    if !swap(t, p, hit.entry, key, Direction::by(hit.conn.status)) || !is_masq(&hit.conn) {
        return;
    }
    if let Some(copy) = find_in(t, hit.table, &other) {
        publish(t, key, hit.entry, copy);
    }
}

/// Moves the client's entry `key` of a reply; false if it is not there, or leaving.
#[inline(always)]
fn by_reply<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    hit: &Hit<T>,
    table: Table,
    key: &FlowKey<T::A>,
) -> bool {
    let Some(truth) = find_in(t, table, key) else {
        return false;
    };
    let swapped = swap(t, p, truth, key, Direction::OUT);
    if swapped {
        publish(t, key, truth, hit.entry);
        let conn = t.load(truth);
        let expires = deadline(t, conn.status.state);
        t.set_expires(truth, conn.seq, expires);
    }
    swapped
}

/// Copies status and deadline of the client's entry to the reply's, and once more if another CPU moved it meanwhile.
#[inline(always)]
fn publish<T: Tables>(t: &mut T, key: &FlowKey<T::A>, truth: T::ConnRef, copy: T::ConnRef) {
    for _ in 0..2 {
        let status = t.load(truth).status;
        let conn = t.load(copy);
        if !belongs(key, &conn) {
            return;
        }
        t.swap_status(copy, conn.seq, conn.status, copy_of(status, conn.status));
        let expires = deadline(t, status.state);
        t.set_expires(copy, conn.seq, expires);
        if t.load(truth).status == status {
            return;
        }
    }
}

/// The reply entry's copy of a status: its own direction flag stays.
#[inline(always)]
pub(super) const fn copy_of(truth: Status, copy: Status) -> Status {
    Status {
        state: truth.state,
        flags: (truth.flags & !ConnFlags::REPLY) | (copy.flags & ConnFlags::REPLY),
        ..truth
    }
}

/// Next status of the client's entry under a segment, and the counts that follow from it. False: it is leaving.
#[inline(always)]
fn swap<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    truth: T::ConnRef,
    key: &FlowKey<T::A>,
    direction: Direction,
) -> bool {
    let Some((conn, new)) = swapped(t, p, truth, direction) else {
        return false;
    };
    recount(t, conn.dest, conn.status, new);
    synced::changed(t, key);
    if State::is_established(new.state) && conn.status.flags & ConnFlags::CHILD != 0 {
        template::assure(t, key, &conn);
    }
    true
}

/// The entry before, and the status that it has since.
#[inline(always)]
fn swapped<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    truth: T::ConnRef,
    direction: Direction,
) -> Option<(Conn<T::A>, Status)> {
    for _ in 0..TRIES {
        let conn = t.load(truth);
        let old = conn.status;
        if old.flags & (ConnFlags::LEAVING | ConnFlags::REPLY) != 0 {
            return None;
        }
        let new = moved(old, state_after(t, p, direction, old.state));
        if t.swap_status(truth, conn.seq, old, new) {
            return Some((conn, new));
        }
    }
    None
}

/// A status in another state, with the class it counts in.
#[must_use]
#[inline(always)]
pub const fn moved(old: Status, state: u8) -> Status {
    let class = if State::is_active(state) {
        ConnFlags::ACTIVE
    } else {
        0
    };
    Status {
        state,
        flags: (old.flags & !ConnFlags::ACTIVE) | class,
        ..old
    }
}

#[inline(always)]
pub(super) fn recount<T: Tables>(t: &mut T, dest: u32, old: Status, new: Status) {
    let active = |s: Status| i32::from(s.flags & ConnFlags::ACTIVE != 0);
    let delta = active(new) - active(old);
    if delta != 0 && dest != NO_DEST {
        t.add(dest, DestCounter::Active, delta);
        t.add(dest, DestCounter::Inactive, -delta);
    }
}
