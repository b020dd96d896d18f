//! The end of a connection: its entries go, its counts go with them, each exactly once.

use ipvs_common::{Conn, ConnFlags, FlowKey, Status};

use super::{Table, belongs, find_in, is_masq, opposite, remove, template, threshold};
use crate::{
    exit::NO_DEST,
    tables::{DestCounter, Tables},
};

/// Tries of a compare and swap; another CPU would have to win as often.
const TRIES: u32 = 8;

/// Ends the connection whose client entry is `key`. Tells whether it was this call that did.
#[inline(always)]
pub fn end<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    let Some(conn) = find_in(t, table, key).and_then(|entry| mark_leaving(t, entry)) else {
        return false;
    };
    finish(t, table, key, &conn);
    true
}

/// Takes a claimed connection out of its table and off its counts.
#[inline(always)]
fn finish<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    remove(t, table, key);
    if is_masq(conn) {
        remove_reply(t, table, key, conn);
    }
    release(t, key, conn);
}

/// Ends a half-open connection that a newer one pushes out, if it still is the one with this [`Conn::seq`].
#[inline(always)]
pub fn evict<T: Tables>(t: &mut T, key: &FlowKey<T::A>, seq: u32) -> bool {
    let claimed = t
        .half_open(key)
        .and_then(|entry| claim(t, entry, |conn| conn.seq == seq));
    let Some(conn) = claimed else {
        return false;
    };
    finish(t, Table::HalfOpen, key, &conn);
    if conn.status.flags & ConnFlags::CHILD != 0 {
        template::abandon(t, key, &conn);
    }
    true
}

/// Claims the entry: from here on nobody else moves it. Returns it as it was.
#[inline(always)]
pub fn mark_leaving<T: Tables>(t: &mut T, entry: T::ConnRef) -> Option<Conn<T::A>> {
    claim(t, entry, |_| true)
}

#[inline(always)]
fn claim<T: Tables>(
    t: &mut T,
    entry: T::ConnRef,
    is_meant: impl Fn(&Conn<T::A>) -> bool,
) -> Option<Conn<T::A>> {
    for _ in 0..TRIES {
        let conn = t.load(entry);
        let old = conn.status;
        if old.flags & (ConnFlags::LEAVING | ConnFlags::REPLY) != 0 || !is_meant(&conn) {
            return None;
        }
        if t.swap_status(
            entry,
            conn.seq,
            old,
            Status {
                flags: old.flags | ConnFlags::LEAVING,
                ..old
            },
        ) {
            return Some(conn);
        }
    }
    None
}

#[inline(always)]
fn remove_reply<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    let other = opposite(key, conn);
    if let Some(peer) = find_in(t, table, &other)
        && belongs(key, &t.load(peer))
    {
        remove(t, table, &other);
    }
}

/// Gives back what the connection was counted for.
#[inline(always)]
fn release<T: Tables>(t: &mut T, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    let class = if conn.status.flags & ConnFlags::ACTIVE != 0 {
        DestCounter::Active
    } else {
        DestCounter::Inactive
    };
    if conn.dest != NO_DEST {
        t.add(conn.dest, class, -1);
        threshold::after_unbind(t, conn.dest);
    }
    if conn.status.flags & ConnFlags::CHILD != 0 {
        template::orphan(t, key, conn);
    }
}
