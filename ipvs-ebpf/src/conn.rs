//! Connections: state machine and timers, birth, promotion, end, and the templates of persistent services.

pub mod advance;
pub mod birth;
pub mod expected;
pub mod leave;
pub mod promote;
pub mod synced;
pub mod tcp_state;
pub mod template;
pub mod threshold;

use ipvs_common::{Address, Conn, ConnFlags, FlowKey, ForwardingMethod};

use crate::tables::Tables;

/// Which table an entry stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    Established,
    HalfOpen,
}

/// An entry that matched a packet.
pub struct Hit<T: Tables> {
    pub entry: T::ConnRef,
    pub table: Table,
    pub conn: Conn<T::A>,
}

impl<T: Tables> Clone for Hit<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Tables> Copy for Hit<T> {}

impl<T: Tables> Hit<T> {
    #[must_use]
    #[inline(always)]
    pub fn is_reply(&self) -> bool {
        self.conn.status.flags & ConnFlags::REPLY != 0
    }
}

/// Looks an entry up in both tables.
///
/// A connection that another CPU promotes between the two looks is in neither for us, so the first table gets a second
/// look before a packet counts as a stranger.
#[inline(always)]
pub fn find<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> Option<Hit<T>> {
    if let Some(entry) = t.conn(key) {
        return Some(hit(t, Table::Established, entry));
    }
    if let Some(entry) = t.half_open(key) {
        return Some(hit(t, Table::HalfOpen, entry));
    }
    let entry = t.conn(key)?;
    Some(hit(t, Table::Established, entry))
}

#[inline(always)]
pub fn hit<T: Tables>(t: &T, table: Table, entry: T::ConnRef) -> Hit<T> {
    Hit {
        entry,
        table,
        conn: t.load(entry),
    }
}

/// Looks in one table only.
#[inline(always)]
pub fn find_in<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> Option<T::ConnRef> {
    match table {
        Table::Established => t.conn(key),
        Table::HalfOpen => t.half_open(key),
    }
}

#[inline(always)]
pub fn remove<T: Tables>(t: &mut T, table: Table, key: &FlowKey<T::A>) -> bool {
    match table {
        Table::Established => t.remove_conn(key),
        Table::HalfOpen => t.remove_half_open(key),
    }
}

/// Key of the opposite direction of a masqueraded connection, from either entry.
///
/// The client's entry is keyed client to VIP and leads to the real server, the other is keyed real server to client and
/// leads to the VIP: each one's opposite is "where it leads" to "where its packets come from".
#[must_use]
#[inline(always)]
pub fn opposite<A: Address>(key: &FlowKey<A>, conn: &Conn<A>) -> FlowKey<A> {
    if conn.status.flags & ConnFlags::REPLY == 0 {
        FlowKey::new(key.proto, conn.to_addr, conn.to_port, key.src, key.sport)
    } else {
        FlowKey::new(key.proto, key.dst, key.dport, conn.to_addr, conn.to_port)
    }
}

/// Whether an entry is the other direction of `conn`, and not of a connection that came to the same key later.
#[must_use]
#[inline(always)]
pub fn belongs<A: Address>(key: &FlowKey<A>, peer: &Conn<A>) -> bool {
    peer.status.flags & ConnFlags::REPLY != 0
        && peer.to_addr == key.dst
        && peer.to_port == key.dport
}

/// Whether the replies of a masqueraded connection, seen from its client's entry, belong to another one by now. A client that
/// opens it again gets them back: whoever opens last gets them.
#[inline(always)]
pub fn has_lost_replies<T: Tables>(t: &mut T, key: &FlowKey<T::A>, hit: &Hit<T>) -> bool {
    if hit.is_reply() || !is_masq(&hit.conn) {
        return false;
    }
    let other = opposite(key, &hit.conn);
    match find_in(t, hit.table, &other) {
        Some(peer) => !belongs(key, &t.load(peer)),
        None => true,
    }
}

#[must_use]
#[inline(always)]
pub const fn is_masq<A: Address>(conn: &Conn<A>) -> bool {
    conn.status.method == ForwardingMethod::Masq as u8
}
