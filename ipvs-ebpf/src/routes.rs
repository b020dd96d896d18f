//! The kernel's routing and neighbour tables.

use core::mem;

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibParams, xdp_md},
    helpers::generated::bpf_fib_lookup,
};
use ipvs_common::{Addr, Hop, HopKind};
use ipvs_datapath::FibQuery;

use crate::maps::EGRESS;

/// Asks the kernel's routing table, policy rules included, and its neighbour table.
#[inline(always)]
pub(crate) fn v4(ctx: *mut xdp_md, query: &FibQuery) -> Hop {
    const AF_INET: u8 = 2;
    // SAFETY: integers and unions of integers, for which all zeros are a value.
    let mut params: FibParams = unsafe { mem::zeroed() };
    ask_for(&mut params, AF_INET, query);
    params.__bindgen_anon_2.tos = query.tos;
    params.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(query.src);
    params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(query.dst);
    let answer = look_up(ctx, &mut params, query.mark);
    // SAFETY: plain integers in either reading.
    let next_hop = unsafe { params.__bindgen_anon_4.ipv4_dst };
    let mut hop = hop(answer, &mut params);
    if answer == NO_NEIGHBOUR {
        // The helper left the places of the link-layer addresses alone.
        hop.learned = next_hop;
    }
    hop
}

/// The same of IPv6.
#[inline(always)]
pub(crate) fn v6(ctx: *mut xdp_md, query: &FibQuery<Addr>) -> Hop {
    const AF_INET6: u8 = 10;
    // SAFETY: as in `v4`.
    let mut params: FibParams = unsafe { mem::zeroed() };
    ask_for(&mut params, AF_INET6, query);
    params.__bindgen_anon_3.ipv6_src = bytemuck::cast(query.src);
    params.__bindgen_anon_4.ipv6_dst = bytemuck::cast(query.dst);
    let answer = look_up(ctx, &mut params, query.mark);
    // SAFETY: plain integers in either reading.
    let next_hop: [u32; 4] = unsafe { params.__bindgen_anon_4.ipv6_dst };
    let hop = hop(answer, &mut params);
    if answer == NO_NEIGHBOUR {
        return Hop::unresolved(hop.ifindex, hop.xmit, bytemuck::cast(next_hop));
    }
    hop
}

#[inline(always)]
const fn ask_for<A: Copy>(params: &mut FibParams, family: u8, query: &FibQuery<A>) {
    params.family = family;
    params.l4_protocol = query.proto;
    // Any length makes the kernel report the route's MTU; 1 byte fits every route.
    params.__bindgen_anon_1.tot_len = 1;
    params.ifindex = query.ifindex;
}

#[inline(always)]
fn look_up(ctx: *mut xdp_md, params: &mut FibParams, mark: u32) -> i64 {
    if mark != 0 {
        // The mark shares its place with the addresses of the answer.
        let [a, b, c, d] = mark.to_ne_bytes();
        params.smac = [a, b, c, d, 0, 0];
        let answer = ask(ctx, params, BY_MARK);
        if answer != UNKNOWN_FLAG {
            return answer;
        }
    }
    ask(ctx, params, 0)
}

/// `BPF_FIB_LOOKUP_MARK`, which kernels have from 6.10 on.
const BY_MARK: u32 = 1 << 5;
/// What older ones answer.
const UNKNOWN_FLAG: i64 = -22;

#[inline(always)]
fn ask(ctx: *mut xdp_md, params: &mut FibParams, flags: u32) -> i64 {
    let size = size_of::<FibParams>() as i32;
    // SAFETY: a valid context, and parameters of the size given.
    unsafe { bpf_fib_lookup(ctx.cast(), params, size, flags) }
}

/// The helper's return codes (`BPF_FIB_LKUP_RET_*`).
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const NO_NEIGHBOUR: i64 = 7;

#[inline(always)]
fn hop(answer: i64, params: &mut FibParams) -> Hop {
    let kind = match answer {
        SUCCESS => HopKind::Send,
        NOT_FORWARDED => HopKind::Local,
        NO_NEIGHBOUR => HopKind::Unresolved,
        _ => HopKind::Refused,
    };
    let mut xmit = 0;
    // SAFETY: EGRESS is not preallocated, and the values are copied at once.
    if let Some(egress) = unsafe { EGRESS.get(params.ifindex) } {
        xmit = egress.xmit as u8;
        // The port of a VLAN device may take less than the device says. Put into the answer, as the stack has no room beside it.
        // SAFETY: plain integers in either reading.
        let told = unsafe { params.__bindgen_anon_1.mtu_result };
        if egress.mtu as u16 != 0 && (egress.mtu as u16) < told {
            params.__bindgen_anon_1.mtu_result = egress.mtu as u16;
        }
    }
    // SAFETY: plain integers in either reading; the helper left the route's MTU.
    let mtu = unsafe { params.__bindgen_anon_1.mtu_result };
    Hop {
        ifindex: params.ifindex,
        dst_mac: params.dmac,
        src_mac: params.smac,
        // Without a neighbour the helper leaves the length there that it was asked with.
        mtu: if matches!(kind, HopKind::Send) {
            mtu
        } else {
            0
        },
        kind: kind as u8,
        xmit,
        learned: 0,
        epoch: 0,
    }
}
