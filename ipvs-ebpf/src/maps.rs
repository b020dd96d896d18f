//! The BPF maps.
//!
//! Sizes here are placeholders: the loader sets them (`ipvs_common::maps::Capacities`). The statics have the names that
//! `ipvs_common::maps` gives them.

use core::hint::black_box;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, xdp_md},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use ipvs_common::{
    Addr, Conn, Dest, DestState, Egress, FlowKey, Fragment, FragmentKey, Iface, LblcEntry, LblcKey,
    LblcrEntry, ListSlot, MatchNode, MatchPlace, MatchSlot, RingSlot, SchedState, Service,
    ServiceKey, Settings, Stats, Template, TemplateKey, VlanKey,
    maps::{LINKS, MATCH_PREFIXES, head, stage},
    reason,
    sync::NOTES_BYTES,
};
use ipvs_datapath::icmp;

/// Bytes that are summed at once: what the checksum helper takes.
pub(crate) const SCRATCH_CHUNK: usize = 512;

#[map]
pub(crate) static SERVICES: HashMap<ServiceKey, Service> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static MATCHES: LpmTrie<MatchPlace, MatchNode> =
    LpmTrie::with_max_entries(MATCH_PREFIXES, 0);
#[map]
pub(crate) static MATCH_SLOTS: Array<MatchSlot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(crate) static DEST_LISTS: Array<ListSlot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(crate) static HASH_TABLES: Array<[u32; 2]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(crate) static DESTS: Array<Dest> = Array::with_max_entries(1, 0);
// The daemon takes overload marks off in place (`OverloadMarks`), so it maps this one into memory.
#[map]
pub(crate) static DEST_STATES: Array<DestState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(crate) static DEST_STATS: PerCpuArray<Stats> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static SCHED_STATES: Array<SchedState> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static LBLC: LruHashMap<LblcKey, LblcEntry> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static LBLCR: LruHashMap<LblcKey, LblcrEntry> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static LBLCR_BLANK: Array<LblcrEntry> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static TEMPLATES: HashMap<TemplateKey, Template> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static CONNS: HashMap<FlowKey, Conn> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN: HashMap<FlowKey, Conn> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN_RING: Array<RingSlot> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static TEMPLATES6: HashMap<TemplateKey<Addr>, Template> =
    HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static CONNS6: HashMap<FlowKey<Addr>, Conn<Addr>> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN6: HashMap<FlowKey<Addr>, Conn<Addr>> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN_RING6: Array<RingSlot<Addr>> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static HEADS: Array<u32> = Array::with_max_entries(head::COUNT, 0);
#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static EGRESS: HashMap<u32, Egress> =
    HashMap::with_max_entries(LINKS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static VLANS: HashMap<VlanKey, Iface> =
    HashMap::with_max_entries(LINKS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static TAGGED_WAY: PerCpuArray<u32> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(reason::SLOTS, 0);
#[map]
pub(crate) static SCRATCH: PerCpuArray<[u8; SCRATCH_CHUNK + 8]> =
    PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static PUNT: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
#[map]
pub(crate) static SYNC_NOTES: RingBuf = RingBuf::with_byte_size(NOTES_BYTES, 0);
#[map]
pub(crate) static NEWBORN: PerCpuArray<Conn> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static NEWBORN6: PerCpuArray<Conn<Addr>> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static MASQ_REALS: HashMap<ServiceKey, u32> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static ASKED: PerCpuArray<FlowKey> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static ASKED6: PerCpuArray<FlowKey<Addr>> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static INBOUND: PerCpuArray<Iface> = PerCpuArray::with_max_entries(2, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, Fragment> =
    LruHashMap::with_max_entries(Fragment::ROOM, 0);
#[map]
pub(crate) static FRAGMENTS6: LruHashMap<FragmentKey<Addr>, Fragment> =
    LruHashMap::with_max_entries(Fragment::ROOM, 0);
#[map]
pub(crate) static STAGES: ProgramArray = ProgramArray::with_max_entries(stage::COUNT, 0);
#[map]
pub(crate) static CLOCK: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static ICMP_BUDGET: Array<IcmpBudget> = Array::with_max_entries(icmp::budget::COUNT, 0);
#[map]
pub(crate) static ICMP_PEERS: Array<icmp::Peer> = Array::with_max_entries(icmp::Peer::SLOTS, 0);

/// ICMP errors of the running second.
#[repr(C)]
pub(crate) struct IcmpBudget {
    pub(crate) second: u64,
    pub(crate) sent: u64,
}

#[unsafe(no_mangle)]
static IFACE: Iface = Iface {
    mac: [0; 6],
    mode: 0,
    tx: 0,
    ifindex: 0,
    mark: 0,
    mtu: 0,
    half_open_mask: 0,
    half_open6_mask: 0,
    test_clock: 0,
    held: 0,
    port: 0,
    tags_len: 0,
    tags: [0; 8],
};

/// Leaves them to the stages behind the first one.
#[inline(always)]
pub(crate) fn leave_iface(ctx: *mut xdp_md, held: u32) {
    set_inbound(ctx, &Iface { held, ..*iface() });
}

/// From the next stage on the frame came in by this interface.
#[inline(always)]
pub(crate) fn set_inbound(ctx: *mut xdp_md, iface: &Iface) {
    if let Some(place) = INBOUND.get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe { *place = *iface };
    }
}

/// Leaves the interface that a frame is to leave by to the stage that puts tags on.
#[inline(always)]
pub(crate) fn leave_way(ctx: *mut xdp_md, way: u32) {
    if let Some(place) = TAGGED_WAY.get_ptr_mut(own_place(ctx)) {
        // SAFETY: this CPU's value.
        unsafe { *place = way };
    }
}

/// What was left there.
#[inline(always)]
pub(crate) fn way_left(ctx: *mut xdp_md) -> Option<&'static u32> {
    TAGGED_WAY.get(own_place(ctx))
}

/// What the first stage left, for a load that serves all interfaces. The map has that place.
#[inline(always)]
pub(crate) fn inbound(ctx: *mut xdp_md) -> Option<&'static Iface> {
    INBOUND.get(own_place(ctx))
}

/// Where a run has what it passes on to its later stages, in maps for each CPU: frames that come in have the first place, and runs that
/// the daemon makes (which come in by the loopback device) the second. Before 6.3 a frame may come in on the CPU in the middle of such a
/// run.
#[inline(always)]
pub(crate) fn own_place(ctx: *mut xdp_md) -> u32 {
    const LOOPBACK: u32 = 1;
    // SAFETY: the context that the kernel gave the program.
    u32::from(unsafe { (*ctx).ingress_ifindex } == LOOPBACK)
}

/// The constants of this load of the program. The compiler must not take the zeros above for them; the verifier takes what
/// the loader wrote.
#[inline(always)]
pub(crate) fn iface() -> &'static Iface {
    // SAFETY: a static of this object, which the loader filled and froze before the program ran.
    unsafe { &*black_box(&raw const IFACE) }
}
