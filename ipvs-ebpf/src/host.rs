//! Frame and tables on the host: a byte vector with headroom, and trees. For tests, for replays, and for the daemon's own
//! tests; the clock and the routing table are set by hand.

mod frame;
mod sets;
mod templates;

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{
    Conn, Dest, DestState, FlowKey, Hop, HopKind, LblcEntry, LblcKey, LblcrEntry, ListSlot, Mac,
    RingSlot, SchedState, Service, ServiceKey, Settings, Stats, Status, SyncNote, Template,
    TemplateKey, maps::Capacities, reason,
};

pub use self::frame::HostFrame;
use crate::{
    icmp,
    tables::{DestCounter, FibQuery, Tables},
};

/// A network that some interface leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRoute {
    pub net: [u8; 4],
    pub prefix: u8,
    /// `None`: the director's own address.
    pub via: Option<HostLink>,
}

/// An interface and, for a routed network, the router's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostLink {
    pub ifindex: u32,
    pub mac: Mac,
    pub mtu: u16,
    pub gateway: Option<[u8; 4]>,
}

/// All tables, open to whoever wants to look.
#[derive(Clone, Debug)]
pub struct HostTables {
    pub capacities: Capacities,
    pub clock: u64,
    pub settings: Settings,
    pub services: BTreeMap<ServiceKey, Service>,
    pub lists: Vec<ListSlot>,
    pub hash_tables: Vec<u32>,
    pub dests: Vec<Dest>,
    pub dest_states: Vec<DestState>,
    pub dest_stats: Vec<Stats>,
    pub sched_states: Vec<SchedState>,
    pub lblc: BTreeMap<LblcKey, LblcEntry>,
    pub lblcr: BTreeMap<LblcKey, LblcrEntry>,
    pub templates: BTreeMap<TemplateKey, Template>,
    pub conns: BTreeMap<FlowKey, Conn>,
    pub half_open: BTreeMap<FlowKey, Conn>,
    pub ring: Vec<RingSlot>,
    pub ring_next: u32,
    pub synced_next: u32,
    /// The connection that a packet just opened.
    pub newborn: Conn,
    /// The flow that an ICMP error just asked for.
    pub asked: FlowKey,
    pub reasons: Vec<u64>,
    pub routes: Vec<HostRoute>,
    pub neighbours: BTreeMap<[u8; 4], Mac>,
    /// Interfaces that take no frames from a native XDP program.
    pub no_xmit: BTreeSet<u32>,
    /// ICMP errors sent in the running second, by budget.
    pub icmp_sent: [(u64, u32); icmp::budget::COUNT as usize],
    /// By the hash of the address that they went to.
    pub icmp_peers: Vec<icmp::Peer>,
    /// Packets with these firewall marks count as the director's own, whatever their address.
    pub local_marks: BTreeSet<u32>,
    /// State of the generator of random numbers; not 0.
    pub dice: u32,
    /// New connections until the defence drops one.
    pub until_drop: u32,
    /// What the daemon is to look at.
    pub notes: Vec<SyncNote>,
}

impl HostTables {
    #[must_use]
    pub fn new(capacities: Capacities, hz: u32) -> Self {
        let dests = capacities.dests as usize;
        Self {
            capacities,
            clock: u64::from(hz) * 1000,
            settings: Settings::with_hz(hz),
            services: BTreeMap::new(),
            lists: vec![ListSlot::default(); capacities.list_slots as usize],
            hash_tables: vec![0; capacities.table_slots as usize],
            dests: vec![Dest::default(); dests],
            dest_states: vec![DestState::default(); dests],
            dest_stats: vec![Stats::default(); dests],
            sched_states: vec![SchedState::default(); capacities.services as usize],
            lblc: BTreeMap::new(),
            lblcr: BTreeMap::new(),
            templates: BTreeMap::new(),
            conns: BTreeMap::new(),
            half_open: BTreeMap::new(),
            ring: vec![RingSlot::default(); capacities.half_open as usize],
            ring_next: 0,
            synced_next: 0,
            newborn: Conn::default(),
            asked: FlowKey::default(),
            reasons: vec![0; reason::SLOTS as usize],
            routes: Vec::new(),
            neighbours: BTreeMap::new(),
            no_xmit: BTreeSet::new(),
            icmp_sent: Default::default(),
            icmp_peers: vec![icmp::Peer::default(); icmp::Peer::SLOTS as usize],
            local_marks: BTreeSet::new(),
            dice: 1,
            until_drop: 0,
            notes: Vec::new(),
        }
    }

    fn entry(&self, r: (bool, FlowKey)) -> Option<&Conn> {
        if r.0 {
            self.half_open.get(&r.1)
        } else {
            self.conns.get(&r.1)
        }
    }

    fn entry_mut(&mut self, r: (bool, FlowKey)) -> Option<&mut Conn> {
        if r.0 {
            self.half_open.get_mut(&r.1)
        } else {
            self.conns.get_mut(&r.1)
        }
    }

    fn best_route(&self, dst: [u8; 4]) -> Option<&HostRoute> {
        let bits = |a: [u8; 4], prefix: u8| {
            u32::from_be_bytes(a)
                .checked_shr(32 - u32::from(prefix))
                .unwrap_or(0)
        };
        self.routes
            .iter()
            .filter(|r| bits(r.net, r.prefix) == bits(dst, r.prefix))
            .max_by_key(|r| r.prefix)
    }
}

fn insert<K: Ord + Copy, V: Copy>(
    map: &mut BTreeMap<K, V>,
    room: u32,
    key: &K,
    value: &V,
    only_new: bool,
) -> bool {
    let there = map.contains_key(key);
    if (there && only_new) || (!there && map.len() >= room as usize) {
        return false;
    }
    map.insert(*key, *value);
    true
}

impl Tables for HostTables {
    /// Whether half-open, and the key.
    type ConnRef = (bool, FlowKey);

    fn now(&self) -> u64 {
        self.clock
    }
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }
    fn conn(&mut self, key: &FlowKey) -> Option<Self::ConnRef> {
        self.conns.contains_key(key).then_some((false, *key))
    }
    fn half_open(&mut self, key: &FlowKey) -> Option<Self::ConnRef> {
        self.half_open.contains_key(key).then_some((true, *key))
    }
    fn load(&self, r: Self::ConnRef) -> Conn {
        self.entry(r).copied().unwrap_or_default()
    }
    fn set_expires(&mut self, r: Self::ConnRef, seq: u32, expires: u64) {
        if let Some(c) = self.entry_mut(r).filter(|c| c.seq == seq) {
            c.expires = expires;
        }
    }
    fn set_packets(&mut self, r: Self::ConnRef, seq: u32, packets: u8) {
        if let Some(c) = self.entry_mut(r).filter(|c| c.seq == seq) {
            c.packets = packets;
        }
    }
    fn set_hop(&mut self, r: Self::ConnRef, seq: u32, hop: &Hop) {
        if let Some(c) = self.entry_mut(r).filter(|c| c.seq == seq) {
            c.hop = *hop;
        }
    }
    fn swap_status(&mut self, r: Self::ConnRef, seq: u32, old: Status, new: Status) -> bool {
        match self.entry_mut(r) {
            Some(c) if c.status == old && c.seq == seq => {
                c.status = new;
                true
            }
            _ => false,
        }
    }
    fn copy_to_conns(&mut self, key: &FlowKey, entry: Self::ConnRef) -> bool {
        let conn = self.load(entry);
        insert(
            &mut self.conns,
            self.capacities.conns * 2,
            key,
            &conn,
            false,
        )
    }
    fn insert_conn(&mut self, key: &FlowKey, conn: &Conn, only_new: bool) -> bool {
        let room = self.capacities.conns * 2;
        insert(&mut self.conns, room, key, conn, only_new)
    }
    fn insert_half_open(&mut self, key: &FlowKey, conn: &Conn, only_new: bool) -> bool {
        insert(
            &mut self.half_open,
            self.capacities.half_open * 2,
            key,
            conn,
            only_new,
        )
    }
    fn remove_conn(&mut self, key: &FlowKey) -> bool {
        self.conns.remove(key).is_some()
    }
    fn remove_half_open(&mut self, key: &FlowKey) -> bool {
        self.half_open.remove(key).is_some()
    }
    fn ring_ticket(&mut self) -> u32 {
        self.ring_next = self.ring_next.wrapping_add(1);
        self.ring_next.wrapping_sub(1)
    }
    fn synced_ticket(&mut self) -> u32 {
        self.synced_next = self.synced_next.wrapping_add(1);
        self.synced_next.wrapping_sub(1)
    }
    fn ring_replace(&mut self, slot: &RingSlot) -> RingSlot {
        let place = slot.seq as usize % self.ring.len();
        std::mem::replace(&mut self.ring[place], *slot)
    }
    fn put_newborn(&mut self, conn: &Conn) {
        self.newborn = *conn;
    }
    fn newborn(&self) -> Option<&Conn> {
        Some(&self.newborn)
    }
    fn ask(&mut self, key: &FlowKey) {
        self.asked = *key;
    }
    fn asked(&self) -> Option<&FlowKey> {
        Some(&self.asked)
    }
    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }
    fn listed(&self, slot: u32) -> Option<&ListSlot> {
        self.lists.get(slot as usize)
    }
    fn hashed(&self, slot: u32) -> Option<&u32> {
        self.hash_tables.get(slot as usize)
    }
    fn dest(&self, id: u32) -> Option<&Dest> {
        self.dests.get(id as usize)
    }
    fn dest_state(&self, id: u32) -> Option<&DestState> {
        self.dest_states.get(id as usize)
    }
    fn set_dest_hop(&mut self, id: u32, hop: &Hop) {
        self.dest_states[id as usize].hop = *hop;
    }
    fn add(&mut self, id: u32, counter: DestCounter, delta: i32) {
        let state = &mut self.dest_states[id as usize];
        let field = match counter {
            DestCounter::Active => &mut state.active,
            DestCounter::Inactive => &mut state.inactive,
            DestCounter::Persistent => &mut state.persistent,
        };
        *field = field.wrapping_add_signed(delta);
    }
    fn set_overloaded(&mut self, id: u32, overloaded: bool) {
        self.dest_states[id as usize].overloaded = overloaded.into();
    }
    fn count(&mut self, id: u32, stats: &Stats) {
        let total = &mut self.dest_stats[id as usize];
        *total = total.plus(*stats);
    }
    fn sched(&self, service: u32) -> Option<&SchedState> {
        self.sched_states.get(service as usize)
    }
    fn swap_sched(&mut self, service: u32, old: SchedState, new: SchedState) -> bool {
        let state = &mut self.sched_states[service as usize];
        let same = *state == old;
        if same {
            *state = new;
        }
        same
    }
    fn lblc(&self, key: &LblcKey) -> Option<&LblcEntry> {
        self.lblc.get(key)
    }
    fn put_lblc(&mut self, key: &LblcKey, entry: &LblcEntry) {
        self.lblc.insert(*key, *entry);
    }
    fn route(&mut self, query: &FibQuery) -> Hop {
        let kind = |k: HopKind| Hop {
            kind: k as u8,
            ..Hop::default()
        };
        if query.mark != 0 && self.local_marks.contains(&query.mark) {
            return kind(HopKind::Local);
        }
        let Some(via) = self.best_route(query.dst).and_then(|r| r.via) else {
            return kind(HopKind::Local);
        };
        let next_hop = via.gateway.unwrap_or(query.dst);
        let xmit = u8::from(!self.no_xmit.contains(&via.ifindex));
        let hop = Hop {
            ifindex: via.ifindex,
            src_mac: via.mac,
            mtu: via.mtu,
            xmit,
            ..Hop::default()
        };
        if let Some(dst_mac) = self.neighbours.get(&next_hop).copied() {
            return Hop {
                dst_mac,
                kind: HopKind::Send as u8,
                ..hop
            };
        }
        // Without a neighbour the kernel's helper tells neither the address to send from nor the MTU.
        let [a, b, c, d] = next_hop;
        Hop {
            ifindex: via.ifindex,
            dst_mac: [a, b, c, d, 0, 0],
            kind: HopKind::Unresolved as u8,
            xmit,
            ..Hop::default()
        }
    }
    fn random(&mut self) -> u32 {
        // Xorshift (Marsaglia 2003).
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        self.dice
    }
    fn drops(&mut self, rate: u32) -> bool {
        if self.until_drop > 1 {
            self.until_drop -= 1;
            return false;
        }
        self.until_drop = rate;
        true
    }
    fn set_dest_path(&mut self, id: u32, mtu: u16, until: u64) {
        let state = &mut self.dest_states[id as usize];
        (state.path_mtu, state.path_until) = (mtu.into(), until);
    }
    fn icmp_allowed(&mut self, budget: u32, per_second: u32, hz: u32) -> bool {
        let second = self.clock / u64::from(hz.max(1));
        let sent = &mut self.icmp_sent[budget as usize];
        if sent.0 != second {
            *sent = (second, 0);
        }
        sent.1 += 1;
        sent.1 <= per_second
    }
    fn icmp_peer_allowed(&mut self, addr: [u8; 4], hz: u32) -> bool {
        let now = self.clock as u32;
        self.icmp_peers[icmp::Peer::slot(addr) as usize].takes(now, hz)
    }
    fn tell(&mut self, note: &SyncNote) {
        self.notes.push(*note);
    }
    fn note(&mut self, slot: u32) {
        self.reasons[slot as usize] += 1;
    }
}
