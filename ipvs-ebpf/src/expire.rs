//! Ends what is past its deadline. Runs as a program of its own, over keys that user space found in its sweep.
//!
//! The keys travel as a frame: a header, then the keys, in the machine's own byte order.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{Event, FlowKey, TemplateKey};

use crate::{
    conn::{self, belongs, is_masq, opposite},
    frame::Frame,
    tables::{DestCounter, Tables},
};

/// Head of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Batch {
    /// [`Batch::CONNECTIONS`] or [`Batch::TEMPLATES`].
    pub kind: [u8; 4],
    /// Keys that follow.
    pub count: [u8; 4],
    pub pad: [u8; 8],
}

impl Batch {
    pub const CONNECTIONS: u32 = 0;
    pub const TEMPLATES: u32 = 1;
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
    if kind == Batch::CONNECTIONS {
        connection(t, &bytemuck::cast(bytes))
    } else {
        template(t, &template_key(bytes))
    }
}

#[inline(always)]
fn template_key(b: [u8; Batch::STRIDE]) -> TemplateKey {
    let [client @ .., _, _, _, _] = b;
    bytemuck::cast(client)
}

/// Ends a connection if neither direction was used in time; else writes the later deadline to the client's entry.
#[inline(always)]
pub fn connection<T: Tables>(t: &mut T, key: &FlowKey) -> bool {
    let Some(hit) = conn::find(t, key) else {
        return false;
    };
    if hit.is_reply() {
        return orphaned_reply(t, key, &hit);
    }
    let mut deadline = hit.conn.expires;
    if is_masq(&hit.conn) {
        let other = opposite(key, &hit.conn);
        if let Some(peer) = conn::find_in(t, hit.table, &other).map(|r| t.load(r))
            && belongs(key, &peer)
        {
            deadline = deadline.max(peer.expires);
        }
    }
    if t.now() < deadline {
        t.set_expires(hit.entry, deadline);
        return false;
    }
    let ended = t.end(hit.table, key);
    if ended {
        t.event(Event::Expired);
    }
    ended
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
    if t.remove_template(key) {
        t.add(template.dest, DestCounter::Persistent, -1);
        t.event(Event::TemplateExpired);
        return true;
    }
    false
}
