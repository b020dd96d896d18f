//! The baselines, from doing nothing to a balancer without any of the things that make one usable.

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, LruHashMap, PerCpuArray},
    programs::XdpContext,
};
use ipvs_common::{
    FlowKey,
    bench::{FloorCount, FloorFlow, FloorReal},
    hdr::{Eth, Ipv4, Tcp},
};

use ipvs_datapath::rewrite::csum::fold;

use crate::bytes::{at, move_head};

/// Client flows, by the same 16 bytes as the director's.
#[map]
static FLOW_TABLE: LruHashMap<FlowKey, FloorFlow> = LruHashMap::with_max_entries(1, 0);
/// Flows that were never seen before, in a table of their own.
#[map]
static NEW_FLOWS: LruHashMap<FlowKey, FloorFlow> = LruHashMap::with_max_entries(1, 0);
#[map]
static REALS: Array<FloorReal> = Array::with_max_entries(256, 0);
/// Of everything, of the one service, and of each real server.
#[map]
static COUNTS: PerCpuArray<FloorCount> = PerCpuArray::with_max_entries(512, 0);

const ALL: u32 = 0;
const SERVICE: u32 = 1;
const FIRST_REAL: u32 = 256;

const ETHERTYPE_IPV4: u16 = 0x0800u16.to_be();
const L3: usize = size_of::<Eth>();
const L4: usize = L3 + size_of::<Ipv4>();
/// Version 4, five words: no options.
const PLAIN: u8 = 0x45;
const TCP: u8 = 6;
const IPIP: u8 = 4;
const FRAGMENT: u16 = 0x3fff;
const LEAST_TCP: u16 = 5;

/// The empty run.
#[xdp]
pub(crate) fn floor_drop(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Ethernet, IPv4, TCP.
#[xdp]
pub(crate) fn floor_parse(ctx: XdpContext) -> u32 {
    match parse(&ctx) {
        // The ports are part of the work.
        Some(key) if key.sport != [0, 0] && key.dport != [0, 0] => xdp_action::XDP_TX,
        _ => xdp_action::XDP_PASS,
    }
}

/// The same, one look into a table of flows, and the destination address that stands there.
#[xdp]
pub(crate) fn floor_lru_rewrite(ctx: XdpContext) -> u32 {
    match lru_rewrite(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

/// Parses, and enters the flow in a table that pushes out what was not used for the longest time.
#[xdp]
pub(crate) fn floor_lru_insert(ctx: XdpContext) -> u32 {
    match lru_insert(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

/// A balancer that only forwards what it knows, by Ethernet address.
#[xdp]
pub(crate) fn lean_l2(ctx: XdpContext) -> u32 {
    match known(&ctx).and_then(|real| rewrite(&ctx, real)) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

/// A balancer that only forwards what it knows, in IP in IP.
#[xdp]
pub(crate) fn lean_ipip(ctx: XdpContext) -> u32 {
    match known(&ctx).and_then(|real| encapsulate(&ctx, real)) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn parse(ctx: &XdpContext) -> Option<FlowKey> {
    let (eth, ip, tcp) = (
        at::<Eth>(ctx, 0)?,
        at::<Ipv4>(ctx, L3)?,
        at::<Tcp>(ctx, L4)?,
    );
    // SAFETY: within the frame, of alignment 1, and any bytes are a value.
    let (ether_type, ip, tcp) = unsafe { ((*eth).0.ether_type, &(*ip).0, &(*tcp).0) };
    let whole = ether_type == ETHERTYPE_IPV4
        && ip.vihl == PLAIN
        && ip.proto == TCP
        && u16::from_be_bytes(ip.frags) & FRAGMENT == 0
        && tcp.doff() >= LEAST_TCP;
    whole.then(|| FlowKey::in_words(ip.proto, ip.src_addr, tcp.source, ip.dst_addr, tcp.dest))
}

#[inline(always)]
fn lru_rewrite(ctx: &XdpContext) -> Option<()> {
    let flow = FLOW_TABLE.get_ptr(parse(ctx)?)?;
    let eth = at::<Eth>(ctx, 0)?;
    // SAFETY: a map value that stays mapped until the program ends; a header within the frame.
    unsafe { (*eth).0.dst_addr = (*flow).mac };
    Some(())
}

#[inline(always)]
fn lru_insert(ctx: &XdpContext) -> Option<()> {
    let key = parse(ctx)?;
    let eth = at::<Eth>(ctx, 0)?;
    // SAFETY: a header within the frame.
    let mac = unsafe { (*eth).0.src_addr };
    NEW_FLOWS.insert(key, FloorFlow { mac, real: 0 }, 0).ok()
}

/// The real server of a known flow; counts the packet.
#[inline(always)]
fn known(ctx: &XdpContext) -> Option<&'static FloorReal> {
    let flow = FLOW_TABLE.get_ptr(parse(ctx)?)?;
    let ip = at::<Ipv4>(ctx, L3)?;
    // SAFETY: as in `lru_rewrite`.
    let (real, len) = unsafe { (u32::from((*flow).real), u16::from_be_bytes((*ip).0.tot_len)) };
    for counter in [ALL, SERVICE, FIRST_REAL + real] {
        let count = COUNTS.get_ptr_mut(counter)?;
        // SAFETY: this CPU's value.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += u64::from(len);
        }
    }
    REALS.get(real)
}

#[inline(always)]
fn rewrite(ctx: &XdpContext, real: &FloorReal) -> Option<()> {
    let eth = at::<Eth>(ctx, 0)?;
    // SAFETY: within the frame, of alignment 1, and any bytes are a value.
    unsafe {
        (*eth).0.src_addr = (*eth).0.dst_addr;
        (*eth).0.dst_addr = real.mac;
    }
    Some(())
}

#[inline(always)]
fn encapsulate(ctx: &XdpContext, real: &FloorReal) -> Option<()> {
    // SAFETY: as in `rewrite`.
    let (eth, inner) = unsafe { (*at::<Eth>(ctx, 0)?, (*at::<Ipv4>(ctx, L3)?).0) };
    if !move_head(ctx.ctx, -(size_of::<Ipv4>() as i32)) {
        return None;
    }
    let mut outer = inner;
    outer.tot_len = (u16::from_be_bytes(inner.tot_len) + size_of::<Ipv4>() as u16).to_be_bytes();
    outer.id = [0; 2];
    outer.proto = IPIP;
    outer.check = [0; 2];
    (outer.src_addr, outer.dst_addr) = (real.tunnel_src, real.addr);
    outer.check = (!sum(bytemuck::cast(Ipv4(outer)))).to_ne_bytes();
    let (new_eth, new_ip) = (at::<Eth>(ctx, 0)?, at::<Ipv4>(ctx, L3)?);
    // SAFETY: as in `rewrite`.
    unsafe {
        *new_eth = eth;
        *new_ip = Ipv4(outer);
    }
    rewrite(ctx, real)
}

#[inline(always)]
fn sum(words: [[u8; 2]; 10]) -> u16 {
    let words = words.iter().map(|w| u32::from(u16::from_ne_bytes(*w)));
    fold(words.sum())
}
