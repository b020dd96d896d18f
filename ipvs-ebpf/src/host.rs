//! Frame and tables on the host: a byte vector with headroom, and trees. For tests, for replays, and for the daemon's own
//! tests; the clock and the routing table are set by hand.

mod flows;
mod frame;
mod links;
mod matches;
mod room;
mod run;
mod sets;
mod templates;

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    net::IpAddr,
};

use ipvs_common::{
    Addr, Conn, Dest, DestState, Egress, FlowKey, Fragment, FragmentKey, Hop, HopKind, Iface,
    LblcEntry, LblcKey, LblcrEntry, ListSlot, MatchKey, MatchNode, MatchSlot, RingSlot, SchedState,
    Service, ServiceKey, Settings, Stats, Status, SyncNote, VlanKey, maps::Capacities, reason,
};

use self::room::insert;
pub use self::{
    flows::{Flows, HostLink, HostRoute, Room, Width},
    frame::HostFrame,
    run::{run, run_held},
};
use crate::{
    icmp,
    service::Marked,
    tables::{DestCounter, FibQuery, Tables},
};

/// All tables, open to whoever wants to look.
#[derive(Clone, Debug)]
pub struct HostTables {
    pub capacities: Capacities,
    pub clock: u64,
    pub settings: Settings,
    pub services: BTreeMap<ServiceKey, Service>,
    pub lists: Vec<ListSlot>,
    pub hash_tables: Vec<u32>,
    /// Match rules.
    pub matches: BTreeMap<MatchKey, MatchNode>,
    pub match_slots: Vec<MatchSlot>,
    /// Interfaces by name.
    pub links: BTreeMap<String, u32>,
    /// Masqueraded real servers that are told of packets in no connection.
    pub masq_reals: BTreeMap<ServiceKey, u32>,
    pub dests: Vec<Dest>,
    pub dest_states: Vec<DestState>,
    pub dest_stats: Vec<Stats>,
    pub sched_states: Vec<SchedState>,
    pub lblc: BTreeMap<LblcKey, LblcEntry>,
    pub lblcr: BTreeMap<LblcKey, LblcrEntry>,
    pub reasons: Vec<u64>,
    /// What there is of IPv4 alone, and of IPv6.
    pub four: Flows<[u8; 4]>,
    pub six: Flows<Addr>,
    /// Interfaces that take no frames from a native XDP program.
    pub no_xmit: BTreeSet<u32>,
    /// VLAN devices by the tags that their frames come with, and by index.
    pub vlans: BTreeMap<VlanKey, Iface>,
    pub tagged: BTreeMap<u32, Egress>,
    /// Where a frame came in whose tags were taken off.
    pub inbound: Iface,
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
            matches: BTreeMap::new(),
            match_slots: vec![MatchSlot::default(); capacities.match_slots as usize],
            links: BTreeMap::new(),
            masq_reals: BTreeMap::new(),
            dests: vec![Dest::default(); dests],
            dest_states: vec![DestState::default(); dests],
            dest_stats: vec![Stats::default(); dests],
            sched_states: vec![SchedState::default(); capacities.services as usize],
            lblc: BTreeMap::new(),
            lblcr: BTreeMap::new(),
            reasons: vec![0; reason::SLOTS as usize],
            four: Flows::new(capacities.half_open),
            six: Flows::new(capacities.half_open6),
            no_xmit: BTreeSet::new(),
            vlans: BTreeMap::new(),
            tagged: BTreeMap::new(),
            inbound: Iface::default(),
            icmp_sent: Default::default(),
            icmp_peers: vec![icmp::Peer::default(); icmp::Peer::SLOTS as usize],
            local_marks: BTreeSet::new(),
            dice: 1,
            until_drop: 0,
        }
    }

    /// The tables as a packet of one family sees them.
    pub const fn of<A: Width>(&mut self) -> View<'_, A> {
        View(self, PhantomData)
    }
}

/// [`HostTables`] for one family.
#[derive(Debug)]
pub struct View<'t, A>(pub &'t mut HostTables, PhantomData<A>);

impl<A: Width> View<'_, A> {
    fn flows(&self) -> &Flows<A> {
        A::flows(self.0)
    }

    fn flows_mut(&mut self) -> &mut Flows<A> {
        A::flows_mut(self.0)
    }

    fn room(&self) -> Room {
        A::room(&self.0.capacities)
    }
}

/// Groups, and addresses that mean something on one link only, or on none: IPv6 is not forwarded from or to such.
fn stays_here(addr: Addr) -> bool {
    match addr.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

impl<A: Width> Tables for View<'_, A> {
    /// Whether half-open, and the key.
    type ConnRef = (bool, FlowKey<A>);
    type Across<'t>
        = View<'t, A::Other>
    where
        Self: 't;

    fn now(&self) -> u64 {
        self.0.clock
    }
    fn settings(&self) -> Option<&Settings> {
        Some(&self.0.settings)
    }
    fn conn(&mut self, key: &FlowKey<A>) -> Option<Self::ConnRef> {
        self.flows()
            .conns
            .contains_key(key)
            .then_some((false, *key))
    }
    fn half_open(&mut self, key: &FlowKey<A>) -> Option<Self::ConnRef> {
        self.flows()
            .half_open
            .contains_key(key)
            .then_some((true, *key))
    }
    fn load(&self, r: Self::ConnRef) -> Conn<A> {
        self.flows().entry(r).copied().unwrap_or_default()
    }
    fn set_expires(&mut self, r: Self::ConnRef, seq: u32, expires: u64) {
        if let Some(c) = self.flows_mut().entry_mut(r).filter(|c| c.seq == seq) {
            c.expires = expires;
        }
    }
    fn set_packets(&mut self, r: Self::ConnRef, seq: u32, packets: u8) {
        if let Some(c) = self.flows_mut().entry_mut(r).filter(|c| c.seq == seq) {
            c.packets = packets;
        }
    }
    fn set_hop(&mut self, r: Self::ConnRef, seq: u32, hop: &Hop) {
        if let Some(c) = self.flows_mut().entry_mut(r).filter(|c| c.seq == seq) {
            c.hop = *hop;
        }
    }
    fn swap_status(&mut self, r: Self::ConnRef, seq: u32, old: Status, new: Status) -> bool {
        match self.flows_mut().entry_mut(r) {
            Some(c) if c.status == old && c.seq == seq => {
                c.status = new;
                true
            }
            _ => false,
        }
    }
    fn copy_to_conns(&mut self, key: &FlowKey<A>, entry: Self::ConnRef) -> bool {
        let conn = self.load(entry);
        let room = self.room().conns;
        insert(&mut self.flows_mut().conns, room, key, &conn, false)
    }
    fn insert_conn(&mut self, key: &FlowKey<A>, conn: &Conn<A>, only_new: bool) -> bool {
        let room = self.room().conns;
        insert(&mut self.flows_mut().conns, room, key, conn, only_new)
    }
    fn insert_half_open(&mut self, key: &FlowKey<A>, conn: &Conn<A>, only_new: bool) -> bool {
        let room = self.room().half_open;
        insert(&mut self.flows_mut().half_open, room, key, conn, only_new)
    }
    fn remove_conn(&mut self, key: &FlowKey<A>) -> bool {
        self.flows_mut().conns.remove(key).is_some()
    }
    fn remove_half_open(&mut self, key: &FlowKey<A>) -> bool {
        self.flows_mut().half_open.remove(key).is_some()
    }
    fn ring_ticket(&mut self) -> u32 {
        self.flows_mut().ring_next = self.flows().ring_next.wrapping_add(1);
        self.flows().ring_next.wrapping_sub(1)
    }
    fn synced_ticket(&mut self) -> u32 {
        self.flows_mut().synced_next = self.flows().synced_next.wrapping_add(1);
        self.flows().synced_next.wrapping_sub(1)
    }
    fn ring_replace(&mut self, slot: &RingSlot<A>) -> RingSlot<A> {
        let ring = &mut self.flows_mut().ring;
        let place = slot.seq as usize % ring.len();
        std::mem::replace(&mut ring[place], *slot)
    }
    fn put_newborn(&mut self, conn: &Conn<A>) {
        self.flows_mut().newborn = *conn;
    }
    fn newborn(&self) -> Option<&Conn<A>> {
        Some(&self.flows().newborn)
    }
    fn leave_mark(&mut self, marked: Marked) {
        let newborn = &mut self.flows_mut().newborn;
        (newborn.mark, newborn.seq) = (marked.mark, marked.by_rule.into());
    }
    fn fragment(&self, key: &FragmentKey<A>) -> Option<&Fragment> {
        self.flows().fragments.get(key)
    }
    fn put_fragment(&mut self, key: &FragmentKey<A>, fragment: &Fragment) {
        self.flows_mut().fragments.insert(*key, *fragment);
    }
    fn set_fragment_dest(&mut self, key: &FragmentKey<A>, dest: u32) {
        if let Some(known) = self.flows_mut().fragments.get_mut(key) {
            known.dest = dest;
        }
    }
    fn leave_dest(&mut self, dest: u32) {
        self.flows_mut().newborn.dest = dest;
    }
    fn ask(&mut self, key: &FlowKey<A>) {
        self.flows_mut().asked = *key;
    }
    fn asked(&self) -> Option<&FlowKey<A>> {
        Some(&self.flows().asked)
    }
    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.0.services.get(key)
    }
    fn masqueraded(&self, key: &ServiceKey) -> Option<&u32> {
        self.0.masq_reals.get(key)
    }
    fn listed(&self, slot: u32) -> Option<&ListSlot> {
        self.0.lists.get(slot as usize)
    }
    fn hashed(&self, slot: u32) -> Option<&u32> {
        self.0.hash_tables.get(slot as usize)
    }
    fn dest(&self, id: u32) -> Option<&Dest> {
        self.0.dests.get(id as usize)
    }
    fn dest_state(&self, id: u32) -> Option<&DestState> {
        self.0.dest_states.get(id as usize)
    }
    fn set_dest_hop(&mut self, id: u32, hop: &Hop) {
        self.0.dest_states[id as usize].hop = *hop;
    }
    fn add(&mut self, id: u32, counter: DestCounter, delta: i32) {
        let state = &mut self.0.dest_states[id as usize];
        let field = match counter {
            DestCounter::Active => &mut state.active,
            DestCounter::Inactive => &mut state.inactive,
            DestCounter::Persistent => &mut state.persistent,
        };
        *field = field.wrapping_add_signed(delta);
    }
    fn set_overloaded(&mut self, id: u32, overloaded: bool) {
        self.0.dest_states[id as usize].overloaded = overloaded.into();
    }
    fn count(&mut self, id: u32, stats: &Stats) {
        let total = &mut self.0.dest_stats[id as usize];
        *total = total.plus(*stats);
    }
    fn sched(&self, service: u32) -> Option<&SchedState> {
        self.0.sched_states.get(service as usize)
    }
    fn swap_sched(&mut self, service: u32, old: SchedState, new: SchedState) -> bool {
        let state = &mut self.0.sched_states[service as usize];
        let same = *state == old;
        if same {
            *state = new;
        }
        same
    }
    fn lblc(&self, key: &LblcKey) -> Option<&LblcEntry> {
        self.0.lblc.get(key)
    }
    fn put_lblc(&mut self, key: &LblcKey, entry: &LblcEntry) {
        self.0.lblc.insert(*key, *entry);
    }
    fn route(&mut self, query: &FibQuery<A>) -> Hop {
        let kind = |k: HopKind| Hop {
            kind: k as u8,
            ..Hop::default()
        };
        if query.mark != 0 && self.0.local_marks.contains(&query.mark) {
            return kind(HopKind::Local);
        }
        if [query.src, query.dst].iter().any(|a| stays_here(a.wide())) {
            return kind(HopKind::Local);
        }
        let Some(via) = self.flows().best_route(query.dst).and_then(|r| r.via) else {
            return kind(HopKind::Local);
        };
        let next_hop = via.gateway.unwrap_or(query.dst);
        let (xmit, most) = self.0.takes(via.ifindex);
        let hop = Hop {
            ifindex: via.ifindex,
            src_mac: via.mac,
            mtu: via.mtu.min(most),
            xmit,
            ..Hop::default()
        };
        if let Some(dst_mac) = self.flows().neighbours.get(&next_hop).copied() {
            return Hop {
                dst_mac,
                kind: HopKind::Send as u8,
                ..hop
            };
        }
        // Without a neighbour the kernel's helper tells neither the address to send from nor the MTU.
        A::unresolved(via.ifindex, xmit, next_hop)
    }
    fn route_across(&mut self, query: &FibQuery<A::Other>) -> Hop {
        self.across().route(query)
    }
    fn across(&mut self) -> View<'_, A::Other> {
        self.0.of()
    }
    fn random(&mut self) -> u32 {
        // Xorshift (Marsaglia 2003).
        self.0.dice ^= self.0.dice << 13;
        self.0.dice ^= self.0.dice >> 17;
        self.0.dice ^= self.0.dice << 5;
        self.0.dice
    }
    fn drops(&mut self, rate: u32) -> bool {
        if self.0.until_drop > 1 {
            self.0.until_drop -= 1;
            return false;
        }
        self.0.until_drop = rate;
        true
    }
    fn set_dest_path(&mut self, id: u32, mtu: u16, until: u64) {
        let state = &mut self.0.dest_states[id as usize];
        (state.path_mtu, state.path_until) = (mtu.into(), until);
    }
    fn icmp_limit(&mut self, limit: &icmp::Limit) -> icmp::Limited {
        let now = self.0.clock;
        let second = now / u64::from(limit.hz.max(1));
        let sent = &mut self.0.icmp_sent[limit.budget as usize];
        if sent.0 != second {
            *sent = (second, 0);
        }
        sent.1 += 1;
        if sent.1 > limit.per_second {
            return icmp::Limited::ALL;
        }
        let peer = self.0.icmp_peers.get_mut(limit.peer as usize);
        if peer.is_some_and(|p| !p.takes(now as u32, limit.hz)) {
            return icmp::Limited::PEER;
        }
        icmp::Limited::NOT
    }
    fn tell(&mut self, note: &SyncNote<A>) {
        self.flows_mut().notes.push(*note);
    }
    fn note(&mut self, slot: u32) {
        self.0.reasons[slot as usize] += 1;
    }
}
