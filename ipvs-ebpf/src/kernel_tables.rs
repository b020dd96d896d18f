//! The tables of the datapath over the BPF maps.
//!
//! Entries are read and written through the pointers that a lookup returns. Another CPU may do the same: what must not get
//! lost is changed atomically (counts, status, scheduler memory); deadlines and hops are single writers' or equal values.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    mem::offset_of,
    ptr::{self, NonNull},
};

use aya_ebpf::{
    bindings::{BPF_NOEXIST, xdp_md},
    helpers::generated::{bpf_get_prandom_u32, bpf_jiffies64},
};
use ipvs_common::{
    Conn, Dest, DestState, FlowKey, Hop, LblcEntry, LblcKey, ListSlot, RingSlot, SchedState,
    Service, ServiceKey, Settings, Stats, Status, SyncNote,
};
use ipvs_datapath::{
    DestCounter, FibQuery, Tables,
    conn::{Table, template::Joined},
    sched::{Found, Walk},
};

use crate::maps::{
    ASKED, CLOCK, CONNS, DEST_LISTS, DEST_STATES, DEST_STATS, DESTS, HALF_OPEN, HALF_OPEN_RING,
    HASH_TABLES, HEADS, LBLC, NEWBORN, REASONS, SCHED_STATES, SERVICES, SETTINGS, head, iface,
};

mod limits;
mod numbers;
mod sets;
mod templates;

pub(crate) use numbers::key_of;
use numbers::{dst, numbered, ports, src, ticket};

/// The tables, with the context that the routing helper wants (null where none is asked).
pub(crate) struct Maps(pub(crate) *mut xdp_md);

/// Adds to a count that other CPUs add to as well.
///
/// # Safety
/// `field` points into a live map value and is aligned.
#[inline(always)]
unsafe fn add(field: *mut u32, delta: u32) {
    // The result is not used: with a used result and relaxed order LLVM 22 miscompiles this (llvm-project#210280).
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(field, delta) };
}

impl Maps {
    #[inline(always)]
    fn state(id: u32) -> Option<*mut DestState> {
        DEST_STATES.get_ptr_mut(id)
    }
}

impl Tables for Maps {
    type ConnRef = NonNull<Conn>;

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
    fn conn(&mut self, key: &FlowKey) -> Option<NonNull<Conn>> {
        CONNS.get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn half_open(&mut self, key: &FlowKey) -> Option<NonNull<Conn>> {
        HALF_OPEN.get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn load(&self, conn: NonNull<Conn>) -> Conn {
        // SAFETY: a value pointer of a lookup in this run: it stays mapped until the program ends (the entry itself may be
        // given to another flow within that time; ip_vs accepts a packet gone astray at an expiry, and so do we).
        unsafe { ptr::read(conn.as_ptr()) }
    }
    #[inline(always)]
    fn set_expires(&mut self, conn: NonNull<Conn>, seq: u32, expires: u64) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).expires = expires;
            }
        }
    }
    #[inline(always)]
    fn set_packets(&mut self, conn: NonNull<Conn>, seq: u32, packets: u8) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).packets = packets;
            }
        }
    }
    #[inline(always)]
    fn set_hop(&mut self, conn: NonNull<Conn>, seq: u32, hop: &Hop) {
        // SAFETY: as in `load`.
        unsafe {
            if (*conn.as_ptr()).seq == seq {
                (*conn.as_ptr()).hop = *hop;
            }
        }
    }
    #[inline(always)]
    fn swap_status(&mut self, conn: NonNull<Conn>, seq: u32, old: Status, new: Status) -> bool {
        const { assert!(offset_of!(Conn, status) % 8 == 0) };
        const { assert!(offset_of!(Conn, seq) == offset_of!(Conn, status) + 4) };
        // SAFETY: as in `load`; status and number are eight bytes at a multiple of eight.
        let (_, swapped) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                conn.as_ptr()
                    .cast::<u8>()
                    .add(offset_of!(Conn, status))
                    .cast(),
                numbered(old, seq),
                numbered(new, seq),
            )
        };
        swapped
    }
    #[inline(always)]
    fn copy_to_conns(&mut self, key: &FlowKey, entry: NonNull<Conn>) -> bool {
        // SAFETY: as in `load`; the kernel copies from one map's value to the other's.
        CONNS.insert(key, unsafe { entry.as_ref() }, 0).is_ok()
    }
    #[inline(always)]
    fn insert_conn(&mut self, key: &FlowKey, conn: &Conn, only_new: bool) -> bool {
        let flags = if only_new { BPF_NOEXIST.into() } else { 0 };
        CONNS.insert(key, conn, flags).is_ok()
    }
    #[inline(always)]
    fn insert_half_open(&mut self, key: &FlowKey, conn: &Conn, only_new: bool) -> bool {
        HALF_OPEN
            .insert(key, conn, if only_new { BPF_NOEXIST.into() } else { 0 })
            .is_ok()
    }
    #[inline(always)]
    fn remove_conn(&mut self, key: &FlowKey) -> bool {
        CONNS.remove(key).is_ok()
    }
    #[inline(always)]
    fn remove_half_open(&mut self, key: &FlowKey) -> bool {
        HALF_OPEN.remove(key).is_ok()
    }
    #[inline(always)]
    fn ring_ticket(&mut self) -> u32 {
        ticket(head::RING)
    }
    #[inline(always)]
    fn synced_ticket(&mut self) -> u32 {
        ticket(head::SYNCED)
    }
    #[inline(always)]
    fn ring_replace(&mut self, slot: &RingSlot) -> RingSlot {
        let Some(place) = HALF_OPEN_RING.get_ptr_mut(slot.seq & iface().half_open_mask) else {
            return RingSlot::default();
        };
        // SAFETY: a map value; two CPUs meet here only if a whole ring of others came in between.
        unsafe {
            let old = ptr::read(place);
            ptr::write(place, *slot);
            old
        }
    }
    #[inline(always)]
    fn look_ahead(&mut self) {
        let Some(head) = HEADS.get(head::RING) else {
            return;
        };
        let Some(oldest) = HALF_OPEN_RING.get_ptr(*head & iface().half_open_mask) else {
            return;
        };
        // SAFETY: a map value; a place that another CPU writes just now names nobody, which does no harm.
        let oldest = unsafe { ptr::read(oldest) };
        if oldest.used != 0 {
            HALF_OPEN.get_ptr(oldest.key);
        }
    }
    #[inline(always)]
    fn put_newborn(&mut self, conn: &Conn) {
        if let Some(place) = NEWBORN.get_ptr_mut(0) {
            // SAFETY: this CPU's value.
            unsafe { *place = *conn };
        }
    }
    #[inline(always)]
    fn newborn(&self) -> Option<&Conn> {
        NEWBORN.get(0)
    }
    #[inline(always)]
    fn ask(&mut self, key: &FlowKey) {
        if let Some(place) = ASKED.get_ptr_mut(0) {
            // SAFETY: this CPU's value.
            unsafe { *place = *key };
        }
    }
    #[inline(always)]
    fn asked(&self) -> Option<&FlowKey> {
        ASKED.get(0)
    }
    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        // SAFETY: not preallocated: a replaced value stays readable until the program ends.
        unsafe { SERVICES.get(key) }
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
        if let Some(state) = Self::state(id) {
            // SAFETY: a map value.
            unsafe { (*state).hop = *hop };
        }
    }
    #[inline(always)]
    fn add(&mut self, id: u32, counter: DestCounter, delta: i32) {
        let Some(state) = Self::state(id) else { return };
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
        if let Some(state) = Self::state(id) {
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
        const { assert!(size_of::<SchedState>() == 8) };
        // SAFETY: a map value of eight bytes, aligned as the kernel aligns all of them.
        let (_, swapped) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                state.cast(),
                bytemuck::cast(old),
                bytemuck::cast(new),
            )
        };
        swapped
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
    fn route(&mut self, query: &FibQuery) -> Hop {
        crate::xdp::route(self.0, query)
    }
    #[inline(always)]
    fn set_dest_path(&mut self, id: u32, mtu: u16, until: u64) {
        limits::set_path(id, mtu, until);
    }
    #[inline(always)]
    fn icmp_allowed(&mut self, budget: u32, per_second: u32, hz: u32) -> bool {
        limits::allowed(self.now(), budget, per_second, hz)
    }
    #[inline(always)]
    fn icmp_peer_allowed(&mut self, addr: [u8; 4], hz: u32) -> bool {
        limits::peer_allowed(self.now(), addr, hz)
    }
    #[inline(always)]
    fn tell(&mut self, note: &SyncNote) {
        crate::notes::tell(self, note);
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
        let Some(left) = HEADS.get_ptr_mut(head::UNTIL_DROP) else {
            return false;
        };
        // SAFETY: a map value, aligned. A count lost between two CPUs only moves the next drop.
        unsafe {
            if *left > 1 {
                *left -= 1;
                return false;
            }
            *left = rate;
        }
        true
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
    fn join(&mut self, service: &Service, key: &FlowKey) -> Joined {
        Joined(crate::walks::join(
            service,
            src(key),
            dst(key),
            ports(key),
            u32::from(key.proto),
        ))
    }
    #[inline(always)]
    fn lblcr_known(&mut self, service: u32, dst: [u8; 4]) -> u64 {
        crate::walks::lblcr_known(service, u32::from_ne_bytes(dst))
    }
    #[inline(always)]
    fn lblcr_join(&mut self, service: u32, dst: [u8; 4], dest: u32) {
        crate::walks::lblcr_join(service, u32::from_ne_bytes(dst), dest);
    }
    #[inline(always)]
    fn end(&mut self, table: Table, key: &FlowKey) -> bool {
        let half_open = u32::from(table == Table::HalfOpen);
        crate::xdp::end_conn(
            src(key),
            dst(key),
            ports(key),
            u32::from(key.proto),
            half_open,
        ) != 0
    }
    #[inline(always)]
    fn evict(&mut self, key: &FlowKey, seq: u32) -> bool {
        crate::xdp::evict_conn(src(key), dst(key), ports(key), u32::from(key.proto), seq) != 0
    }
    #[inline(always)]
    fn meet(&mut self, key: &FlowKey) -> u64 {
        crate::xdp::meet_conn(src(key), dst(key), ports(key), u32::from(key.proto))
    }
    #[inline(always)]
    fn promote(&mut self, key: &FlowKey) -> bool {
        crate::xdp::promote_conn(src(key), dst(key), ports(key), u32::from(key.proto)) != 0
    }
}
