//! Ends what is past its deadline. Runs as a program of its own, over keys that user space found in its sweep.
//!
//! The keys travel as a frame: a header, then the keys, in the machine's own byte order.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{ConnFlags, Event, FlowKey, TemplateKey};

use crate::{
    conn::{self, Table, belongs, is_masq, opposite},
    frame::Frame,
    tables::Tables,
};

/// Head of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Batch {
    /// [`Batch::CONNECTIONS`], [`Batch::TEMPLATES`] or [`Batch::HALF_OPEN`].
    pub kind: [u8; 4],
    /// Keys that follow.
    pub count: [u8; 4],
    pub pad: [u8; 8],
}

impl Batch {
    /// Keys of the established table.
    pub const CONNECTIONS: u32 = 0;
    pub const TEMPLATES: u32 = 1;
    /// Keys of the half-open table.
    pub const HALF_OPEN: u32 = 2;
    /// Keys in one frame.
    pub const MAX: usize = 200;
    /// Bytes of a key in the frame.
    pub const STRIDE: usize = 16;
}

/// A template that its children hold gets another minute, and keeps that as its timeout (ip_vs does so).
const MINUTE: u64 = 60;

/// Works through a batch and returns how many entries ended.
#[cfg(feature = "host")]
pub fn run<F: Frame, T: Tables>(f: &mut F, t: &mut T) -> u32 {
    (0..count(f)).map(|i| u32::from(step(f, t, i))).sum()
}

/// Keys in the batch.
#[inline(always)]
pub fn count<F: Frame>(f: &mut F) -> usize {
    f.at::<Batch>(0)
        .map_or(0, |head| u32::from_ne_bytes(head.count) as usize)
        .min(Batch::MAX)
}

/// Looks at one key of the batch; tells whether its entry ended.
#[inline(always)]
pub fn step<F: Frame, T: Tables>(f: &mut F, t: &mut T, index: usize) -> bool {
    let Ok(kind) = f.at::<Batch>(0).map(|head| u32::from_ne_bytes(head.kind)) else {
        return false;
    };
    let at = size_of::<Batch>() + index * Batch::STRIDE;
    let Ok(bytes) = f.at::<[u8; Batch::STRIDE]>(at).copied() else {
        return false;
    };
    match kind {
        Batch::CONNECTIONS => connection(t, Table::Established, &bytemuck::cast(bytes)),
        Batch::HALF_OPEN => connection(t, Table::HalfOpen, &bytemuck::cast(bytes)),
        _ => template(t, &template_key(bytes)),
    }
}

#[inline(always)]
fn template_key(b: [u8; Batch::STRIDE]) -> TemplateKey {
    let [client @ .., _, _, _, _] = b;
    bytemuck::cast(client)
}

/// Ends a connection if neither direction was used in time; else writes the later deadline to the client's entry.
#[inline(always)]
pub fn connection<T: Tables>(t: &mut T, table: Table, key: &FlowKey) -> bool {
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
pub fn overdue<T: Tables>(t: &mut T, key: &FlowKey, hit: &conn::Hit<T::ConnRef>) -> bool {
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
fn later_deadline<T: Tables>(t: &mut T, key: &FlowKey, hit: &conn::Hit<T::ConnRef>) -> u64 {
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
fn left_behind<T: Tables>(t: &mut T, key: &FlowKey, hit: &conn::Hit<T::ConnRef>) -> bool {
    let second = t.settings().map_or(1, |s| u64::from(s.hz));
    t.now() >= hit.conn.expires + second && conn::remove(t, hit.table, key)
}

/// A reply entry whose client's entry is gone (two connections once shared its key).
#[inline(always)]
fn orphaned_reply<T: Tables>(t: &mut T, key: &FlowKey, hit: &conn::Hit<T::ConnRef>) -> bool {
    let client = opposite(key, &hit.conn);
    if t.now() < hit.conn.expires || conn::find_in(t, hit.table, &client).is_some() {
        return false;
    }
    conn::remove(t, hit.table, key)
}

/// Ends a template without living children.
#[inline(always)]
pub fn template<T: Tables>(t: &mut T, key: &TemplateKey) -> bool {
    let Some(entry) = t.template(key) else {
        return false;
    };
    let template = t.load_template(entry);
    if t.now() < template.expires {
        return false;
    }
    if template.children != 0 {
        let minute = MINUTE * t.settings().map_or(1, |s| u64::from(s.hz));
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
