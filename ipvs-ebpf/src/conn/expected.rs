//! Connections that were announced before their client's port is known: a helper of a protocol that opens further connections
//! (FTP) names client, virtual address and real server; the first packet that fits tells the port.
//!
//! Until then an entry with client port 0 waits in the half-open table, counted inactive at its real server.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{
    Address, Conn, ConnFlags, DestFlags, FlowKey, ForwardingMethod, Proto, SettingsFlags, State,
    Status,
};

use super::{
    Table, birth,
    template::{Choice, Parent},
    threshold,
};
use crate::{
    exit::NO_DEST,
    parse::Packet,
    service,
    tables::{DestCounter, Tables},
};

/// Where an announced connection leads; in a batch it follows its key. Numbers in the machine's order, the port in the
/// network's.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Expected {
    /// Index of the real server.
    pub dest: u32,
    /// Ticks until nobody waits for it any more.
    pub timeout: u32,
    /// The real server's port.
    pub port: [u8; 2],
    pub pad: [u8; 6],
}

/// That [`meet`] found nothing.
const NOBODY: u64 = NO_DEST as u64;

/// Key of what waits for a client's packets.
#[inline(always)]
fn key_of<A: Address>(key: &FlowKey<A>) -> FlowKey<A> {
    FlowKey {
        sport: [0, 0],
        ..*key
    }
}

/// Whether an entry waits for its client, and its real server is there to take it. (A client may use port 0.)
#[inline(always)]
pub fn waits<T: Tables>(t: &T, key: &FlowKey<T::A>, conn: &Conn<T::A>) -> bool {
    key.sport == [0, 0]
        && conn.packets == 0
        && conn.status.flags & ConnFlags::REPLY == 0
        && t.dest(conn.dest)
            .is_some_and(|d| d.flags & DestFlags::AVAILABLE != 0)
}

/// Enters an announced connection in the place of an earlier one of the same key. False: there is no room, or no such real
/// server.
#[inline(always)]
pub fn announce<T: Tables>(t: &mut T, key: &FlowKey<T::A>, expected: &Expected) -> bool {
    let Some(dest) = t.dest(expected.dest) else {
        return false;
    };
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return false;
    }
    let (to_addr, method) = (Address::narrow(dest.addr), dest.method);
    let state = match Proto::from_number(key.proto) {
        Some(Proto::Tcp) => State::Listen,
        Some(Proto::Sctp) => State::None,
        Some(Proto::Udp) | None => State::Udp,
    };
    let key = key_of(key);
    t.end(Table::HalfOpen, &key);
    let conn = Conn {
        expires: t.now() + u64::from(expected.timeout),
        dest: expected.dest,
        to_addr,
        to_port: expected.port,
        status: Status {
            state: state as u8,
            flags: if method == ForwardingMethod::Masq as u8 {
                0
            } else {
                ConnFlags::NO_OUTPUT
            },
            method,
            template_prefix: 0,
        },
        seq: birth::make_room(t, &key),
        ..Conn::default()
    };
    if !t.insert_half_open(&key, &conn, true) {
        return false;
    }
    t.add(expected.dest, DestCounter::Inactive, 1);
    threshold::after_bind(t, expected.dest);
    true
}

/// Looks for what waits for the client of `key`, and ends it: of two packets only one meets it. In one register: the real server
/// ([`NO_DEST`]: nothing waits), and above its 32 bits the port.
#[inline(always)]
pub fn meet<T: Tables>(t: &mut T, key: &FlowKey<T::A>) -> u64 {
    let key = key_of(key);
    let Some(entry) = t.half_open(&key) else {
        return NOBODY;
    };
    let conn = t.load(entry);
    let live = waits(t, &key, &conn) && t.now() < conn.expires;
    if !live || !t.end(Table::HalfOpen, &key) {
        return NOBODY;
    }
    u64::from(conn.dest) | u64::from(u16::from_ne_bytes(conn.to_port)) << 32
}

/// The connection of a packet that was waited for, to be entered.
#[inline(always)]
pub fn draft<T: Tables>(t: &mut T, p: &Packet<T::A>) -> Option<Conn<T::A>> {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::HAS_EXPECTED == 0 || !service::opens(t, p) {
        return None;
    }
    let met = t.meet(&p.key);
    let (id, port) = (met as u32, (met >> 32) as u16);
    let dest = t.dest(id)?;
    let choice = Choice {
        dest: id,
        parent: Parent::default(),
    };
    Some(Conn {
        to_addr: Address::narrow(dest.addr),
        to_port: port.to_ne_bytes(),
        ..birth::entry(t, p, 0, choice, dest.method)
    })
}
