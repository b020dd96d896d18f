//! The tables of the datapath over the BPF maps.
//!
//! Entries are read and written through the pointers that a lookup returns. Another CPU may do the same: what must not get
//! lost is changed atomically (counts, status, scheduler memory); deadlines and hops are single writers' or equal values.

use core::mem::offset_of;
use core::ptr::{self, NonNull};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_get_prandom_u32, bpf_jiffies64},
};
use ipvs_common::{
    Conn, Dest, DestState, DropReason, Event, FlowKey, Fragment, FragmentKey, Hop, Iface,
    LblcEntry, LblcKey, ListSlot, RingSlot, SchedState, Service, ServiceKey, Settings, Stats,
    Status, SyncNote,
};
use ipvs_datapath::{
    DestCounter, FibQuery, Frame, Tables,
    conn::{Table, tcp_state::Direction, template::Joined},
    fwd::wrap::Inside,
    icmp::{Limit, Limited},
    matching::Matched,
    pipeline::steps::{self, Step, Went},
    sched::{Found, Walk},
    service::Marked,
};

use crate::{
    maps::{
        CLOCK, DEST_LISTS, DEST_STATES, DEST_STATS, DESTS, HASH_TABLES, LBLC, MASQ_REALS, REASONS,
        SCHED_STATES, SERVICES, SETTINGS, iface, own_place,
    },
    transport, tunnels,
};

mod family;
mod fragments;
mod limits;
mod links;
mod matches;
mod numbers;
mod passing;
mod ring;
mod sets;
mod templates;

pub(crate) use family::{Family, Maps};
pub(crate) use numbers::key_of;
use numbers::{add, numbered, swap, ticket};

impl<A: Family> Tables for Maps<A> {
    type ConnRef = NonNull<Conn<A>>;
    type Across<'t>
        = Maps<A::Other>
    where
        Self: 't;

    #[inline(always)]
    fn now(&self) -> u64 {
        if iface().test_clock != 0 {
            return CLOCK.get(0).copied().unwrap_or(0);
        }
        // SAFETY: takes nothing and reads a counter.
        unsafe { bpf_jiffies64() }
    }
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }
    #[inline(always)]
    fn conn(&mut self, key: &FlowKey<A>) -> Option<NonNull<Conn<A>>> {
        A::conns().get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn half_open(&mut self, key: &FlowKey<A>) -> Option<NonNull<Conn<A>>> {
        A::half_open().get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn load(&self, conn: NonNull<Conn<A>>) -> Conn<A> {
        // SAFETY: a value pointer of a lookup in this run: it stays mapped until the program ends (the entry itself may be
        // given to another flow within that time; ip_vs accepts a packet gone astray at an expiry, and so do we).
        unsafe { ptr::read(conn.as_ptr()) }
    }
    #[inline(always)]
    fn set_expires(&mut self, conn: NonNull<Conn<A>>, seq: u32, expires: u64) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).expires = expires;
            }
        }
    }
    #[inline(always)]
    fn set_packets(&mut self, conn: NonNull<Conn<A>>, seq: u32, packets: u8) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).packets = packets;
            }
        }
    }
    #[inline(always)]
    fn set_hop(&mut self, conn: NonNull<Conn<A>>, seq: u32, hop: &Hop) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).hop = *hop;
            }
        }
    }
    #[inline(always)]
    fn swap_status(&mut self, conn: NonNull<Conn<A>>, seq: u32, old: Status, new: Status) -> bool {
        const { assert!(offset_of!(Conn<A>, status) % 8 == 0) };
        const { assert!(offset_of!(Conn<A>, seq) == offset_of!(Conn<A>, status) + 4) };
        // SAFETY: as in `load`; status and number are eight bytes at a multiple of eight.
        unsafe {
            let place = conn.as_ptr().cast::<u8>().add(offset_of!(Conn<A>, status));
            swap(place.cast(), numbered(old, seq), numbered(new, seq))
        }
    }
    #[inline(always)]
    fn copy_to_conns(&mut self, key: &FlowKey<A>, entry: NonNull<Conn<A>>) -> bool {
        // SAFETY: as in `load`; the kernel copies from one map's value to the other's.
        A::conns().insert(key, unsafe { entry.as_ref() }, 0).is_ok()
    }
    #[inline(always)]
    fn insert_conn(&mut self, key: &FlowKey<A>, conn: &Conn<A>, only_new: bool) -> bool {
        let flags = if only_new { BPF_NOEXIST.into() } else { 0 };
        A::conns().insert(key, conn, flags).is_ok()
    }
    #[inline(always)]
    fn insert_half_open(&mut self, key: &FlowKey<A>, conn: &Conn<A>, only_new: bool) -> bool {
        A::half_open()
            .insert(key, conn, if only_new { BPF_NOEXIST.into() } else { 0 })
            .is_ok()
    }
    #[inline(always)]
    fn remove_conn(&mut self, key: &FlowKey<A>) -> bool {
        A::conns().remove(key).is_ok()
    }
    #[inline(always)]
    fn remove_half_open(&mut self, key: &FlowKey<A>) -> bool {
        A::half_open().remove(key).is_ok()
    }
    #[inline(always)]
    fn ring_ticket(&mut self) -> u32 {
        ticket(A::RING)
    }
    #[inline(always)]
    fn synced_ticket(&mut self) -> u32 {
        ticket(A::SYNCED)
    }
    #[inline(always)]
    fn ring_replace(&mut self, slot: &RingSlot<A>) -> RingSlot<A> {
        ring::replace(slot)
    }
    #[inline(always)]
    fn fragment(&self, key: &FragmentKey<A>) -> Option<&Fragment> {
        fragments::find(key)
    }
    #[inline(always)]
    fn put_fragment(&mut self, key: &FragmentKey<A>, fragment: &Fragment) {
        fragments::put(key, fragment);
    }
    #[inline(always)]
    fn set_fragment_dest(&mut self, key: &FragmentKey<A>, dest: u32) {
        fragments::set_dest(key, dest);
    }
    #[inline(always)]
    fn look_ahead(&mut self) {
        ring::look_ahead::<A>();
    }
    #[inline(always)]
    fn put_newborn(&mut self, conn: &Conn<A>) {
        passing::leave_conn(self.0, conn);
    }
    #[inline(always)]
    fn newborn(&self) -> Option<&Conn<A>> {
        A::newborn().get(own_place(self.0))
    }
    #[inline(always)]
    fn leave_dest(&mut self, dest: u32) {
        passing::leave_dest::<A>(self.0, dest);
    }
    #[inline(always)]
    fn leave_mark(&mut self, marked: Marked) {
        passing::leave_mark::<A>(self.0, marked);
    }
    #[inline(always)]
    fn ask(&mut self, key: &FlowKey<A>) {
        passing::leave_key(self.0, key);
    }
    #[inline(always)]
    fn asked(&self) -> Option<&FlowKey<A>> {
        A::asked().get(own_place(self.0))
    }
    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        // SAFETY: not preallocated: a replaced value stays readable until the program ends.
        unsafe { SERVICES.get(key) }
    }
    #[inline(always)]
    fn matched(&self, iface: &Iface, key: &FlowKey<A>) -> Matched {
        Matched(A::matched(iface.ifindex, key))
    }
    #[inline(always)]
    fn masqueraded(&self, key: &ServiceKey) -> Option<&u32> {
        // SAFETY: not preallocated: a replaced value stays readable until the program ends.
        unsafe { MASQ_REALS.get(key) }
    }
    #[inline(always)]
    fn listed(&self, slot: u32) -> Option<&ListSlot> {
        DEST_LISTS.get(slot)
    }
    #[inline(always)]
    fn hashed(&self, slot: u32) -> Option<&u32> {
        let pair: *const u32 = HASH_TABLES.get_ptr(slot / 2)?.cast();
        // SAFETY: the first or the second of the pair.
        Some(unsafe { &*pair.add((slot % 2) as usize) })
    }
    #[inline(always)]
    fn dest(&self, id: u32) -> Option<&Dest> {
        DESTS.get(id)
    }
    #[inline(always)]
    fn dest_state(&self, id: u32) -> Option<&DestState> {
        DEST_STATES.get(id)
    }
    #[inline(always)]
    fn set_dest_hop(&mut self, id: u32, hop: &Hop) {
        if let Some(state) = limits::state(id) {
            // SAFETY: a map value.
            unsafe { (*state).hop = *hop };
        }
    }
    #[inline(always)]
    fn add(&mut self, id: u32, counter: DestCounter, delta: i32) {
        let Some(state) = limits::state(id) else {
            return;
        };
        // SAFETY: fields of a map value, aligned.
        unsafe {
            let field = match counter {
                DestCounter::Active => &raw mut (*state).active,
                DestCounter::Inactive => &raw mut (*state).inactive,
                DestCounter::Persistent => &raw mut (*state).persistent,
            };
            add(field, delta as u32);
        }
    }
    #[inline(always)]
    fn set_overloaded(&mut self, id: u32, overloaded: bool) {
        if let Some(state) = limits::state(id) {
            // SAFETY: a map value.
            unsafe { (*state).overloaded = overloaded.into() };
        }
    }
    #[inline(always)]
    fn count(&mut self, id: u32, stats: &Stats) {
        if let Some(total) = DEST_STATS.get_ptr_mut(id) {
            // SAFETY: this CPU's value.
            unsafe { *total = (*total).plus(*stats) };
        }
    }
    #[inline(always)]
    fn sched(&self, service: u32) -> Option<&SchedState> {
        SCHED_STATES.get(service)
    }
    #[inline(always)]
    fn swap_sched(&mut self, service: u32, old: SchedState, new: SchedState) -> bool {
        let Some(state) = SCHED_STATES.get_ptr_mut(service) else {
            return false;
        };
        // SAFETY: a map value of eight bytes, aligned as the kernel aligns all of them.
        unsafe { swap(state.cast(), bytemuck::cast(old), bytemuck::cast(new)) }
    }
    #[inline(always)]
    fn lblc(&self, key: &LblcKey) -> Option<&LblcEntry> {
        // SAFETY: copied at once; a recycled entry names a real server that `sched::lblc` checks.
        unsafe { LBLC.get(key) }
    }
    #[inline(always)]
    fn put_lblc(&mut self, key: &LblcKey, entry: &LblcEntry) {
        // Without room the address is scheduled anew each time, no more.
        let _ = LBLC.insert(key, entry, 0);
    }
    #[inline(always)]
    fn route(&mut self, query: &FibQuery<A>) -> Hop {
        A::route(self.0, query)
    }
    #[inline(always)]
    fn route_across(&mut self, query: &FibQuery<A::Other>) -> Hop {
        <A::Other as Family>::route(self.0, query)
    }
    #[inline(always)]
    fn across(&mut self) -> Maps<A::Other> {
        Maps::of(self.0)
    }
    #[inline(always)]
    fn ask_across(&mut self, id: u32, tos: u8, proto: u8, _iface: &Iface) {
        A::ask_across(self.0, id, u32::from(tos) | u32::from(proto) << 8);
    }
    #[inline(always)]
    fn wrap<F: Frame>(&mut self, _f: &mut F, dest: u32, inside: Inside) -> Result<(), DropReason> {
        tunnels::wrap(self.0, dest, inside)
    }
    #[inline(always)]
    fn set_dest_path(&mut self, id: u32, mtu: u16, until: u64) {
        limits::set_path(id, mtu, until);
    }
    #[inline(always)]
    fn icmp_limit(&mut self, limit: &Limit) -> Limited {
        limits::icmp(self.now(), limit)
    }
    #[inline(always)]
    fn tell(&mut self, note: &SyncNote<A>) {
        let told = if note.is_template == 0 {
            A::tell_flow(&note.flow)
        } else {
            A::tell_template(&note.template)
        };
        if !told {
            self.event(Event::SyncMissed);
        }
    }
    #[inline(always)]
    fn note(&mut self, slot: u32) {
        if let Some(count) = REASONS.get_ptr_mut(slot) {
            // SAFETY: this CPU's value.
            unsafe { *count += 1 };
        }
    }
    #[inline(always)]
    fn random(&mut self) -> u32 {
        // SAFETY: takes nothing.
        unsafe { bpf_get_prandom_u32() }
    }
    #[inline(always)]
    fn drops(&mut self, rate: u32) -> bool {
        limits::drops(rate)
    }
    #[inline(always)]
    fn walk(&mut self, walk: &Walk) -> Found {
        Found(crate::walks::walk(
            walk.base,
            walk.len,
            walk.goal as u32 | walk.start << 8,
            walk.a,
            walk.b,
        ))
    }
    #[inline(always)]
    fn join(&mut self, service: &Service, key: &FlowKey<A>) -> Joined {
        Joined(A::join(service, key))
    }
    #[inline(always)]
    fn lblcr_known(&mut self, service: u32, dst: A) -> u64 {
        A::lblcr_known(service, dst)
    }
    #[inline(always)]
    fn lblcr_join(&mut self, service: u32, dst: A, dest: u32) {
        A::lblcr_join(service, dst, dest);
    }
    #[inline(always)]
    fn end(&mut self, table: Table, key: &FlowKey<A>) -> bool {
        A::end(u32::from(table == Table::HalfOpen), key)
    }
    #[inline(always)]
    fn evict(&mut self, key: &FlowKey<A>, seq: u32) -> bool {
        A::evict(key, seq)
    }
    #[inline(always)]
    fn meet(&mut self, key: &FlowKey<A>) -> u64 {
        A::meet(key)
    }
    #[inline(always)]
    fn next_state(&self, proto: u8, flags: u8, direction: Direction, state: u8) -> u8 {
        let by = direction.number().into();
        transport::next_state(proto.into(), flags.into(), by, state.into()) as u8
    }
    #[inline(always)]
    fn promote(&mut self, key: &FlowKey<A>) -> bool {
        A::promote(key)
    }
    #[inline(always)]
    fn leave_as_newborn(&mut self, entry: NonNull<Conn<A>>) {
        passing::leave_entry(self.0, entry);
    }
    #[inline(always)]
    fn step<F: Frame>(&mut self, step: Step, f: &mut F, iface: &Iface, found: u32) -> Went {
        if A::LONG || matches!(step, Step::Interpret | Step::InterpretAcross | Step::Tell) {
            Went(A::step(self.0, step, found, iface))
        } else {
            steps::take(step, f, self, iface, found)
        }
    }
}
