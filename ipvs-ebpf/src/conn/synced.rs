//! Backup directors: word of what changed here, and what another director told of, entered.
//!
//! A connection that is entered stands among the established, counted at its real server as one that packets opened, but it
//! is no template's child, and nothing is added to what the real server was given. Runs where announced connections are entered
//! too: as a program of its own, over what the daemon read from the network.

use ipvs_common::{
    Address, Conn, ConnFlags, DestFlags, Event, FlowKey, ForwardingMethod, SettingsFlags, State,
    Status, SyncNote, Synced, Template, TemplateKey,
};

use super::{Hit, Table, advance, belongs, find, find_in, is_masq, opposite, template, threshold};
use crate::{
    blur::blurred,
    exit::NO_DEST,
    expire,
    tables::{DestCounter, Tables},
};

/// Tries of a compare and swap; another CPU would have to win as often.
const TRIES: u32 = 8;
/// Packets that a connection is taken to have had: ip_vs reckons with as many.
const PACKETS: u8 = 3;

/// A connection came to be established, or changed its state.
#[inline(always)]
pub fn changed<T: Tables>(t: &mut T, key: &FlowKey<T::A>) {
    if is_told(t) {
        t.tell(&SyncNote::flow(*key));
    }
}

/// A template was made.
#[inline(always)]
pub fn tied<T: Tables>(t: &mut T, key: &TemplateKey<T::A>) {
    if is_told(t) {
        t.tell(&SyncNote::template(*key));
    }
}

#[inline(always)]
fn is_told<T: Tables>(t: &T) -> bool {
    t.settings()
        .is_some_and(|s| s.flags & SettingsFlags::SYNC_MASTER != 0)
}

/// Enters a connection, or brings the one that is there to the same state. One that leads elsewhere makes room for an active
/// one; word of an inactive one is about a connection that was replaced already. False: nothing was done.
#[inline(always)]
pub fn enter<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced) -> bool {
    match standing(t, key, synced) {
        Standing::NOWHERE => insert(t, key, synced),
        Standing::HALF_OPEN => {
            t.promote(key);
            true
        }
        standing => standing == Standing::THERE,
    }
}

/// What stands in the place of a connection that is told of, or does so from here on. A plain number, because it crosses
/// functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing(pub u32);

impl Standing {
    /// Another one, which stays.
    pub const OTHER: Self = Self(0);
    /// The connection, up to date.
    pub const THERE: Self = Self(1);
    /// The same, but among the half-open.
    pub const HALF_OPEN: Self = Self(2);
    /// Nothing: it is to be entered.
    pub const NOWHERE: Self = Self(3);
}

/// Brings a connection that is there up to date, or makes room.
#[inline(always)]
pub fn standing<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced) -> Standing {
    if !is_available(t, synced.dest) {
        return Standing::OTHER;
    }
    let Some(hit) = find(t, key) else {
        return Standing::NOWHERE;
    };
    if hit.conn.status.flags & (ConnFlags::LEAVING | ConnFlags::REPLY) != 0 {
        return Standing::OTHER;
    }
    if hit.conn.expires <= t.now() && expire::overdue(t, key, &hit) {
        return Standing::NOWHERE;
    }
    if hit.conn.dest == synced.dest && hit.conn.to_port == synced.port {
        return bring(t, key, &hit, synced);
    }
    if !State::is_active(synced.state) || !t.end(hit.table, key) {
        return Standing::OTHER;
    }
    Standing::NOWHERE
}

#[inline(always)]
fn is_available<T: Tables>(t: &T, dest: u32) -> bool {
    t.dest(dest)
        .is_some_and(|d| d.flags & DestFlags::AVAILABLE != 0)
}

/// Moves an entry that is there to the state told, with its counts and both deadlines.
#[inline(always)]
fn bring<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &Hit<T>, synced: &Synced) -> Standing {
    let Some(status) = swap(t, hit.entry, synced.state) else {
        return Standing::OTHER;
    };
    let expires = t.now() + u64::from(synced.timeout);
    t.set_expires(hit.entry, hit.conn.seq, expires);
    if is_masq(&hit.conn) {
        let other = opposite(key, &hit.conn);
        if let Some(copy) = find_in(t, hit.table, &other) {
            let reply = t.load(copy);
            if belongs(key, &reply) {
                let copied = advance::copy_of(status, reply.status);
                t.swap_status(copy, reply.seq, reply.status, copied);
                t.set_expires(copy, reply.seq, expires);
            }
        }
    }
    if hit.table == Table::HalfOpen {
        Standing::HALF_OPEN
    } else {
        Standing::THERE
    }
}

/// The status that it has from here on.
#[inline(always)]
fn swap<T: Tables>(t: &mut T, entry: T::ConnRef, state: u8) -> Option<Status> {
    for _ in 0..TRIES {
        let conn = t.load(entry);
        let old = conn.status;
        if old.flags & (ConnFlags::LEAVING | ConnFlags::REPLY) != 0 {
            return None;
        }
        let new = advance::moved(old, state);
        if t.swap_status(entry, conn.seq, old, new) {
            advance::recount(t, conn.dest, old, new);
            return Some(new);
        }
    }
    None
}

/// Enters a connection in a place that is free.
#[inline(always)]
fn insert<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced) -> bool {
    let seq = number(t);
    make_room(t, key, synced);
    insert_reply(t, key, synced, seq) && insert_client(t, key, synced, seq)
}

/// A number for a connection that is told of. It has no place in the ring: numbers from the other end tell it from whoever had,
/// or gets, its memory.
#[inline(always)]
pub fn number<T: Tables>(t: &mut T) -> u32 {
    !t.synced_ticket()
}

/// The client's entry of a connection that is told of.
#[inline(always)]
fn draft<T: Tables>(t: &T, synced: &Synced, seq: u32) -> Option<Conn<T::A>> {
    let dest = t.dest(synced.dest)?;
    let (to_addr, method) = (Address::narrow(dest.addr), dest.method);
    let born = Status {
        flags: if method == ForwardingMethod::Masq as u8 {
            synced.flags & ConnFlags::NO_OUTPUT
        } else {
            ConnFlags::NO_OUTPUT
        },
        method,
        ..Status::default()
    };
    Some(Conn {
        expires: t.now() + u64::from(synced.timeout),
        dest: synced.dest,
        mark: synced.detail,
        to_addr,
        to_port: synced.port,
        packets: PACKETS,
        status: advance::moved(born, synced.state),
        seq,
        told: 1,
        ..Conn::default()
    })
}

/// Enters it, behind the entry of its replies.
#[inline(always)]
pub fn insert_client<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced, seq: u32) -> bool {
    let Some(conn) = draft(t, synced, seq) else {
        return false;
    };
    if !t.insert_conn(key, &conn, true) {
        if is_masq(&conn) {
            t.remove_conn(&opposite(key, &conn));
        }
        return false;
    }
    let class = if conn.status.flags & ConnFlags::ACTIVE != 0 {
        DestCounter::Active
    } else {
        DestCounter::Inactive
    };
    t.add(conn.dest, class, 1);
    threshold::after_bind(t, conn.dest);
    t.event(Event::SyncEntered);
    true
}

/// As with a connection that a packet opens, the newest gets the replies; whose own connection stands there ends.
#[inline(always)]
pub fn make_room<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced) {
    let Some(dest) = t.dest(synced.dest) else {
        return;
    };
    if dest.method == ForwardingMethod::Masq as u8 {
        let from = Address::narrow(dest.addr);
        let other = FlowKey::new(key.proto, from, synced.port, key.src, key.sport);
        t.end(Table::HalfOpen, &other);
        t.end(Table::Established, &other);
    }
}

/// Enters the replies of a connection that is masqueraded, where there is room now. False: there is none.
#[inline(always)]
pub fn insert_reply<T: Tables>(t: &mut T, key: &FlowKey<T::A>, synced: &Synced, seq: u32) -> bool {
    let Some(conn) = draft(t, synced, seq) else {
        return false;
    };
    if !is_masq(&conn) {
        return true;
    }
    let other = opposite(key, &conn);
    let reply = Conn {
        to_addr: key.dst,
        to_port: key.dport,
        status: Status {
            flags: conn.status.flags | ConnFlags::REPLY,
            ..conn.status
        },
        ..conn
    };
    t.insert_conn(&other, &reply, false)
}

/// Enters a template, or restarts the timer of the one that is there. One that leads elsewhere stays, as in ip_vs, unless its
/// real server is gone. False: nothing was done.
#[inline(always)]
pub fn tie<T: Tables>(t: &mut T, key: &TemplateKey<T::A>, synced: &Synced) -> bool {
    if !is_available(t, synced.dest) {
        return false;
    }
    let now = t.now();
    let template = Template {
        expires: now + u64::from(synced.timeout),
        timeout: u64::from(synced.detail),
        dest: synced.dest,
        children: 0,
        assured: u32::from(synced.state != 0),
        renamed: 0,
        told: 1,
    };
    let mut key = *key;
    let mut vacant = TemplateKey::GENERATIONS;
    for generation in 0..TemplateKey::GENERATIONS {
        key.generation = generation;
        // One more path for each place that may be vacant, on from each of the places, else.
        vacant = blurred(u32::from(vacant), synced.timeout) as u8;
        let Some(entry) = t.template(&key) else {
            vacant = vacant.min(generation);
            break;
        };
        let standing = t.load_template(entry);
        let over = standing.children == 0 && standing.expires <= now;
        if standing.dest == NO_DEST {
            vacant = vacant.min(generation);
        } else if standing.renamed == 0 && standing.dest == template.dest {
            t.set_template_timer(entry, template.timeout, template.expires);
            if template.assured != 0 {
                t.set_template_assured(entry);
            }
            return true;
        } else if over && template::end(t, &key, entry) {
            vacant = vacant.min(generation);
        } else if standing.renamed == 0 {
            if is_available(t, standing.dest) {
                return false;
            }
            t.set_template_renamed(entry);
            t.event(Event::TemplateRenamed);
        }
    }
    key.generation = vacant;
    let tied = vacant < TemplateKey::GENERATIONS && template::put(t, &key, &template);
    if tied {
        t.event(Event::SyncEntered);
    }
    tied
}
