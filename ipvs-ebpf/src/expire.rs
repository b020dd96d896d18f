//! Ends what is past its deadline, what leads to a deleted real server, and what a defence picked. Runs as a program of its
//! own, over keys that user space found in its sweep; each is looked at again here, for packets come meanwhile. By the same
//! way come announced connections, which are entered, so that their counts change with their entries.
//!
//! The keys travel as a frame: a header, then the keys, in the machine's own byte order.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{
    Conn, ConnFlags, DestFlags, Event, FlowKey, Policy, Proto, State, Synced, TemplateKey,
};

use crate::{
    Ip,
    conn::{
        self, Table, belongs,
        expected::{self, Expected},
        is_masq, opposite, synced,
    },
    exit::NO_DEST,
    frame::Frame,
    tables::Tables,
};

/// Head of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Batch {
    /// What the keys are, and what is to end of them: [`Batch::CONNECTIONS`] and so on.
    pub kind: [u8; 4],
    /// Keys that follow.
    pub count: [u8; 4],
    pub pad: [u8; 8],
}

impl Batch {
    /// Keys of the established table that may be past their deadline.
    pub const CONNECTIONS: u32 = 0;
    /// Templates that may be past theirs.
    pub const TEMPLATES: u32 = 1;
    /// Keys of the half-open table that may be past theirs.
    pub const HALF_OPEN: u32 = 2;
    /// Established connections that make room, whatever their deadline.
    pub const DROP_CONNECTIONS: u32 = 3;
    /// Half-open ones.
    pub const DROP_HALF_OPEN: u32 = 4;
    /// Established connections whose real server was deleted, whatever their deadline.
    pub const GONE_CONNECTIONS: u32 = 5;
    /// Half-open ones.
    pub const GONE_HALF_OPEN: u32 = 6;
    /// Templates without children whose real server was deleted.
    pub const GONE_TEMPLATES: u32 = 7;
    /// Connections that were announced, each in two places: its key, and where it leads ([`Expected`]).
    pub const EXPECT: u32 = 8;
    /// Connections that another director told of, each in two places: its key, and what is to be entered ([`Synced`]).
    pub const SYNC_CONNECTIONS: u32 = 9;
    /// Templates, in the same way.
    pub const SYNC_TEMPLATES: u32 = 10;
    /// Keys in one frame; of two places, each counts.
    #[must_use]
    pub const fn max<A: Ip>() -> usize {
        ROOM / Self::stride::<A>()
    }

    /// Bytes of a place in the frame.
    #[must_use]
    pub const fn stride<A: Ip>() -> usize {
        size_of::<FlowKey<A>>()
    }
}

/// Bytes of the places of a frame, together: what fits the page that the kernel has for it.
const ROOM: usize = 3200;

/// What stands in the second of two places.
type Second = [u8; 16];

/// Works through a batch and returns how many entries ended, or were entered.
#[cfg(feature = "host")]
pub fn run<F: Frame, T: Tables>(f: &mut F, t: &mut T) -> u32 {
    (0..count::<F, T::A>(f))
        .map(|i| u32::from(step(f, t, i)))
        .sum()
}

/// Keys in the batch.
#[inline(always)]
pub fn count<F: Frame, A: Ip>(f: &mut F) -> usize {
    f.at::<Batch>(0)
        .map_or(0, |head| u32::from_ne_bytes(head.count) as usize)
        .min(Batch::max::<A>())
}

/// Looks at one key of the batch; tells whether its entry ended, or was entered.
#[inline(always)]
pub fn step<F: Frame, T: Tables>(f: &mut F, t: &mut T, index: usize) -> bool {
    kind(f).is_some_and(|kind| step_of(f, t, kind, index))
}

/// What the keys of a batch are.
#[inline(always)]
pub fn kind<F: Frame>(f: &mut F) -> Option<u32> {
    let head = f.at::<Batch>(0).ok()?;
    Some(u32::from_ne_bytes(head.kind))
}

/// The same for who knows the kind.
#[inline(always)]
pub fn step_of<F: Frame, T: Tables>(f: &mut F, t: &mut T, kind: u32, index: usize) -> bool {
    let stride = Batch::stride::<T::A>();
    let at = size_of::<Batch>() + index * stride;
    let Ok(key) = T::A::key_at(f, at) else {
        return false;
    };
    let table = match kind {
        Batch::HALF_OPEN | Batch::DROP_HALF_OPEN | Batch::GONE_HALF_OPEN => Table::HalfOpen,
        _ => Table::Established,
    };
    match kind {
        Batch::CONNECTIONS | Batch::HALF_OPEN => connection(t, table, &key),
        Batch::DROP_CONNECTIONS | Batch::DROP_HALF_OPEN => dropped(t, table, &key),
        Batch::GONE_CONNECTIONS | Batch::GONE_HALF_OPEN => gone(t, table, &key),
        Batch::TEMPLATES => template(t, &template_key(&key)),
        Batch::GONE_TEMPLATES => template_of_gone(t, &template_key(&key)),
        Batch::EXPECT if index.is_multiple_of(2) => {
            let Ok(expected) = f.at::<Second>(at + stride).copied() else {
                return false;
            };
            let expected: Expected = bytemuck::cast(expected);
            expected::announce(t, &key, &expected)
        }
        _ => false,
    }
}

/// Enters one of what another director told; `index` counts the pairs of places.
#[inline(always)]
pub fn enter<F: Frame, T: Tables>(f: &mut F, t: &mut T, index: usize) -> bool {
    let (Some(kind), Some((key, synced))) = (kind(f), told(f, index)) else {
        return false;
    };
    match kind {
        Batch::SYNC_CONNECTIONS => synced::enter(t, &key, &synced),
        Batch::SYNC_TEMPLATES => synced::tie(t, &template_key(&key), &synced),
        _ => false,
    }
}

/// A pair of places: a key, and what is told of it.
#[inline(always)]
pub fn told<F: Frame, A: Ip>(f: &mut F, index: usize) -> Option<(FlowKey<A>, Synced)> {
    let stride = Batch::stride::<A>();
    let at = size_of::<Batch>() + index * 2 * stride;
    let key = A::key_at(f, at).ok()?;
    let synced = *f.at::<Second>(at + stride).ok()?;
    Some((key, bytemuck::cast(synced)))
}

/// A template's key, which stands in the place of a flow's.
#[inline(always)]
pub fn template_key<A: Ip>(place: &FlowKey<A>) -> TemplateKey<A> {
    let FlowKey { sport, dport, .. } = *place;
    TemplateKey {
        client: place.src,
        vip: place.dst,
        vport: sport,
        proto: dport[0],
        generation: dport[1],
    }
}

/// Ends a connection if neither direction was used in time; else writes the later deadline to the client's entry.
#[inline(always)]
pub fn connection<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    let Some(entry) = conn::find_in(t, table, key) else {
        return false;
    };
    let hit = conn::hit(t, table, entry);
    if hit.conn.status.flags & ConnFlags::LEAVING != 0 {
        return left_behind(t, key, &hit);
    }
    if hit.is_reply() {
        return orphaned_reply(t, key, &hit);
    }
    let deadline = later_deadline(t, key, &hit);
    if t.now() < deadline {
        // Unless a packet moved it meanwhile.
        if deadline != hit.conn.expires && t.load(entry).expires == hit.conn.expires {
            t.set_expires(entry, hit.conn.seq, deadline);
        }
        return false;
    }
    let ended = t.end(table, key);
    if ended {
        t.event(Event::Expired);
    }
    ended
}

/// A packet met an entry past its deadline: ends the connection, unless its other direction was used in time. True: there is no
/// connection any more.
#[inline(always)]
pub fn overdue<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &conn::Hit<T>) -> bool {
    looked_at(t, key, hit)
}

/// The same of the entry of this key; if it is not there, there is none.
#[inline(always)]
pub fn overdue_at<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    match conn::find_in(t, table, key) {
        Some(entry) => looked_at(t, key, &conn::hit(t, table, entry)),
        None => true,
    }
}

#[inline(always)]
fn looked_at<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &conn::Hit<T>) -> bool {
    if hit.conn.status.flags & ConnFlags::LEAVING != 0 {
        return false;
    }
    if !hit.is_reply() {
        return connection(t, hit.table, key);
    }
    let client = opposite(key, &hit.conn);
    let Some(entry) = conn::find_in(t, hit.table, &client) else {
        return conn::remove(t, hit.table, key);
    };
    t.load(entry).expires <= t.now() && connection(t, hit.table, &client)
}

/// Deadline of both directions of a client's entry.
#[inline(always)]
fn later_deadline<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &conn::Hit<T>) -> u64 {
    if !is_masq(&hit.conn) {
        return hit.conn.expires;
    }
    let other = opposite(key, &hit.conn);
    match conn::find_in(t, hit.table, &other).map(|r| t.load(r)) {
        Some(peer) if belongs(key, &peer) => hit.conn.expires.max(peer.expires),
        _ => hit.conn.expires,
    }
}

/// An entry that was given up, with its counts, but that the kernel refused to delete at that time (it does so when the
/// table is locked by what the program interrupted).
#[inline(always)]
fn left_behind<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &conn::Hit<T>) -> bool {
    let second = t.settings().map_or(1, |s| u64::from(s.hz));
    t.now() >= hit.conn.expires + second && conn::remove(t, hit.table, key)
}

/// A reply entry whose client's entry is gone (two connections once shared its key).
#[inline(always)]
fn orphaned_reply<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &conn::Hit<T>) -> bool {
    let client = opposite(key, &hit.conn);
    if t.now() < hit.conn.expires || conn::find_in(t, hit.table, &client).is_some() {
        return false;
    }
    conn::remove(t, hit.table, key)
}

/// Ends a connection that the defence picked ([`Event::DroppedEntry`]): one that is still being opened in any case, another
/// if it was idle for a minute in both directions.
#[inline(always)]
pub fn dropped<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    let Some(hit) = client_entry(t, table, key) else {
        return false;
    };
    let state = hit.conn.status.state;
    if !is_opening(state) {
        // The deadline that a packet just now would set.
        let fresh = conn::advance::deadline(t, state);
        if fresh < later_deadline(t, key, &hit) + conn::template::minute(t) {
            return false;
        }
    }
    by_force(t, table, key, &hit.conn, Event::DroppedEntry)
}

/// Whether a connection in this state is one whose client has proved nothing yet.
#[must_use]
#[inline(always)]
pub const fn is_opening(state: u8) -> bool {
    state == State::SynRecv as u8
        || state == State::SynAck as u8
        || state == State::SctpInit1 as u8
        || state == State::SctpInit as u8
}

/// Ends a connection whose real server was deleted.
#[inline(always)]
pub fn gone<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    let Some(hit) = client_entry(t, table, key) else {
        return false;
    };
    is_gone(t, hit.conn.dest)
        && !is_spared(t, key, hit.conn.dest)
        && by_force(t, table, key, &hit.conn, Event::DestGoneEnded)
}

/// Where the service wants its clients told, or moved, their next segment has to find the connection.
#[inline(always)]
fn is_spared<T: Tables>(t: &T, key: &FlowKey<T::A>, dest: u32) -> bool {
    key.proto != Proto::Udp as u8
        && t.dest(dest)
            .is_some_and(|d| d.policy & (Policy::RESET | Policy::RESCHEDULE) != 0)
}

/// A connection that bypasses the real servers has none that could be gone.
#[inline(always)]
fn is_gone<T: Tables>(t: &T, dest: u32) -> bool {
    t.dest(dest)
        .is_some_and(|d| d.flags & DestFlags::AVAILABLE == 0)
}

/// The client's entry of a connection that nobody else is ending or moving.
#[inline(always)]
fn client_entry<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> Option<conn::Hit<T>> {
    let entry = conn::find_in(t, table, key)?;
    let hit = conn::hit(t, table, entry);
    (hit.conn.status.flags & (ConnFlags::LEAVING | ConnFlags::REPLY) == 0).then_some(hit)
}

/// Takes the template along that nobody else holds and that never proved itself.
#[inline(always)]
fn by_force<T: Tables>(
    t: &mut T,
    table: Table,
    key: &FlowKey<T::A>,
    conn: &Conn<T::A>,
    event: Event,
) -> bool {
    if !t.end(table, key) {
        return false;
    }
    t.event(event);
    if conn.status.flags & ConnFlags::CHILD != 0 {
        conn::template::abandon(t, key, conn);
    }
    true
}

/// Ends a template without living children.
#[inline(always)]
pub fn template<T: Tables>(t: &mut T, key: &TemplateKey<T::A>) -> bool {
    let Some(entry) = t.template(key) else {
        return false;
    };
    let template = t.load_template(entry);
    if t.now() < template.expires {
        return false;
    }
    let second = t.settings().map_or(1, |s| u64::from(s.hz));
    if template.dest == NO_DEST {
        // Not while whoever ended it may be about to remove it.
        return t.now() >= template.expires + second
            && !conn::template::has_later(t, key)
            && t.remove_template(key);
    }
    if template.children != 0 {
        let minute = conn::template::minute(t);
        let expires = t.now() + minute;
        t.set_template_timer(entry, minute, expires);
        return false;
    }
    let ended = conn::template::end(t, key, entry);
    if ended {
        t.event(Event::TemplateExpired);
    }
    ended
}

/// Ends a template whose real server was deleted, unless connections hold it.
#[inline(always)]
pub fn template_of_gone<T: Tables>(t: &mut T, key: &TemplateKey<T::A>) -> bool {
    let Some(entry) = t.template(key) else {
        return false;
    };
    let template = t.load_template(entry);
    template.children == 0 && is_gone(t, template.dest) && conn::template::end(t, key, entry)
}
