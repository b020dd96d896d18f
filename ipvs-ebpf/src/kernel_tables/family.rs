//! What each family has of its own in the kernel: its maps, and the functions of their own to the verifier, which take a short
//! key as numbers and a long one by its address.

use core::{marker::PhantomData, ptr};

use aya_ebpf::{
    bindings::xdp_md,
    maps::{Array, HashMap, LruHashMap, PerCpuArray},
};
use ipvs_common::{
    Addr, Conn, FlowKey, Fragment, FragmentKey, Hop, Iface, RingSlot, Service, Template,
    TemplateKey, maps::head,
};
use ipvs_datapath::{FibQuery, Ip, pipeline::steps::Step};

use super::numbers::{dst, ports, src};
use crate::{
    maps::{
        ASKED, ASKED6, CONNS, CONNS6, FRAGMENTS, FRAGMENTS6, HALF_OPEN, HALF_OPEN_RING,
        HALF_OPEN_RING6, HALF_OPEN6, NEWBORN, NEWBORN6, TEMPLATES, TEMPLATES6, iface,
    },
    matches, notes, routes, six, tunnels, walks, xdp,
};

/// The tables of a family, with the context that the routing helper wants (null where none is asked).
pub(crate) struct Maps<A = [u8; 4]>(pub(super) *mut xdp_md, PhantomData<A>);

impl<A> Maps<A> {
    #[inline(always)]
    pub(crate) const fn of(ctx: *mut xdp_md) -> Self {
        Self(ctx, PhantomData)
    }

    /// For who asks for no route.
    #[inline(always)]
    pub(crate) const fn only() -> Self {
        Self::of(ptr::null_mut())
    }
}

pub(crate) trait Family: Ip<Other = <Self as Family>::Twin> {
    /// The other one.
    type Twin: Family<Twin = Self>;

    /// Places among the heads.
    const RING: u32;
    const SYNCED: u32;

    fn conns() -> &'static HashMap<FlowKey<Self>, Conn<Self>>;
    fn half_open() -> &'static HashMap<FlowKey<Self>, Conn<Self>>;
    fn ring() -> &'static Array<RingSlot<Self>>;
    fn templates() -> &'static HashMap<TemplateKey<Self>, Template>;
    fn newborn() -> &'static PerCpuArray<Conn<Self>>;
    fn asked() -> &'static PerCpuArray<FlowKey<Self>>;
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragment>;
    fn half_open_mask() -> u32;

    fn route(ctx: *mut xdp_md, query: &FibQuery<Self>) -> Hop;
    fn tell_flow(key: &FlowKey<Self>) -> bool;
    fn tell_template(key: &TemplateKey<Self>) -> bool;
    fn join(service: &Service, key: &FlowKey<Self>) -> u64;
    fn matched(ifindex: u32, key: &FlowKey<Self>) -> u64;
    fn lblcr_known(service: u32, dst: Self) -> u64;
    fn lblcr_join(service: u32, dst: Self, dest: u32);
    fn end(half_open: u32, key: &FlowKey<Self>) -> bool;
    fn evict(key: &FlowKey<Self>, seq: u32) -> bool;
    fn meet(key: &FlowKey<Self>) -> u64;
    fn promote(key: &FlowKey<Self>) -> bool;
    /// A step of the slow stages. Where addresses are short most are done in line.
    fn step(ctx: *mut xdp_md, step: Step, found: u32, iface: &Iface) -> u64;
    /// `of`: the type of service, and the protocol above it.
    fn ask_across(ctx: *mut xdp_md, id: u32, of: u32);
}

macro_rules! its_maps {
    ($conns:ident, $half_open:ident, $ring:ident, $templates:ident, $newborn:ident, $asked:ident, $fragments:ident, $mask:ident) => {
        #[inline(always)]
        fn conns() -> &'static HashMap<FlowKey<Self>, Conn<Self>> {
            &$conns
        }
        #[inline(always)]
        fn half_open() -> &'static HashMap<FlowKey<Self>, Conn<Self>> {
            &$half_open
        }
        #[inline(always)]
        fn ring() -> &'static Array<RingSlot<Self>> {
            &$ring
        }
        #[inline(always)]
        fn templates() -> &'static HashMap<TemplateKey<Self>, Template> {
            &$templates
        }
        #[inline(always)]
        fn newborn() -> &'static PerCpuArray<Conn<Self>> {
            &$newborn
        }
        #[inline(always)]
        fn asked() -> &'static PerCpuArray<FlowKey<Self>> {
            &$asked
        }
        #[inline(always)]
        fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragment> {
            &$fragments
        }
        #[inline(always)]
        fn half_open_mask() -> u32 {
            iface().$mask
        }
    };
}

impl Family for [u8; 4] {
    type Twin = Addr;
    const RING: u32 = head::RING;
    const SYNCED: u32 = head::SYNCED;

    its_maps!(
        CONNS,
        HALF_OPEN,
        HALF_OPEN_RING,
        TEMPLATES,
        NEWBORN,
        ASKED,
        FRAGMENTS,
        half_open_mask
    );

    #[inline(always)]
    fn route(ctx: *mut xdp_md, query: &FibQuery<Self>) -> Hop {
        routes::v4(ctx, query)
    }
    #[inline(always)]
    fn tell_flow(key: &FlowKey<Self>) -> bool {
        notes::tell_flow(src(key), dst(key), ports(key), u32::from(key.proto)) != 0
    }
    #[inline(always)]
    fn tell_template(key: &TemplateKey<Self>) -> bool {
        let [client, vip, rest]: [u32; 3] = bytemuck::cast(*key);
        notes::tell_template(client, vip, rest) != 0
    }
    #[inline(always)]
    fn join(service: &Service, key: &FlowKey<Self>) -> u64 {
        walks::join(
            service,
            src(key),
            dst(key),
            ports(key),
            u32::from(key.proto),
        )
    }
    #[inline(always)]
    fn matched(ifindex: u32, key: &FlowKey<Self>) -> u64 {
        let proto = u32::from(key.proto);
        matches::matched(src(key), dst(key), ports(key), proto, ifindex)
    }
    #[inline(always)]
    fn lblcr_known(service: u32, dst: Self) -> u64 {
        walks::lblcr_known(service, u32::from_ne_bytes(dst))
    }
    #[inline(always)]
    fn lblcr_join(service: u32, dst: Self, dest: u32) {
        walks::lblcr_join(service, u32::from_ne_bytes(dst), dest);
    }
    #[inline(always)]
    fn end(half_open: u32, key: &FlowKey<Self>) -> bool {
        xdp::end_conn(
            src(key),
            dst(key),
            ports(key),
            u32::from(key.proto),
            half_open,
        ) != 0
    }
    #[inline(always)]
    fn evict(key: &FlowKey<Self>, seq: u32) -> bool {
        xdp::evict_conn(src(key), dst(key), ports(key), u32::from(key.proto), seq) != 0
    }
    #[inline(always)]
    fn meet(key: &FlowKey<Self>) -> u64 {
        xdp::meet_conn(src(key), dst(key), ports(key), u32::from(key.proto))
    }
    #[inline(always)]
    fn promote(key: &FlowKey<Self>) -> bool {
        xdp::promote_conn(src(key), dst(key), ports(key), u32::from(key.proto)) != 0
    }
    #[inline(always)]
    fn step(ctx: *mut xdp_md, step: Step, found: u32, iface: &Iface) -> u64 {
        if matches!(step, Step::Interpret) {
            tunnels::interpret4(ctx, found, iface)
        } else if matches!(step, Step::InterpretAcross) {
            tunnels::interpret_across4(ctx, found, iface)
        } else {
            tunnels::tell4(ctx, found, iface)
        }
    }
    #[inline(always)]
    fn ask_across(ctx: *mut xdp_md, id: u32, of: u32) {
        tunnels::ask_across4(ctx, id, of);
    }
}

impl Family for Addr {
    type Twin = [u8; 4];
    const RING: u32 = head::RING6;
    const SYNCED: u32 = head::SYNCED6;

    its_maps!(
        CONNS6,
        HALF_OPEN6,
        HALF_OPEN_RING6,
        TEMPLATES6,
        NEWBORN6,
        ASKED6,
        FRAGMENTS6,
        half_open6_mask
    );

    #[inline(always)]
    fn route(ctx: *mut xdp_md, query: &FibQuery<Self>) -> Hop {
        routes::v6(ctx, query)
    }
    #[inline(always)]
    fn tell_flow(key: &FlowKey<Self>) -> bool {
        six::tell_flow6(key) != 0
    }
    #[inline(always)]
    fn tell_template(key: &TemplateKey<Self>) -> bool {
        six::tell_template6(key) != 0
    }
    #[inline(always)]
    fn join(service: &Service, key: &FlowKey<Self>) -> u64 {
        six::join6(service, key)
    }
    #[inline(always)]
    fn matched(ifindex: u32, key: &FlowKey<Self>) -> u64 {
        matches::matched6(key, ifindex)
    }
    #[inline(always)]
    fn lblcr_known(service: u32, dst: Self) -> u64 {
        six::lblcr_known6(service, &raw const dst)
    }
    #[inline(always)]
    fn lblcr_join(service: u32, dst: Self, dest: u32) {
        six::lblcr_join6(service, &raw const dst, dest);
    }
    #[inline(always)]
    fn end(half_open: u32, key: &FlowKey<Self>) -> bool {
        six::end_conn6(key, half_open) != 0
    }
    #[inline(always)]
    fn evict(key: &FlowKey<Self>, seq: u32) -> bool {
        six::evict_conn6(key, seq) != 0
    }
    #[inline(always)]
    fn meet(key: &FlowKey<Self>) -> u64 {
        six::meet_conn6(key)
    }
    #[inline(always)]
    fn promote(key: &FlowKey<Self>) -> bool {
        six::promote_conn6(key) != 0
    }
    #[inline(always)]
    fn step(ctx: *mut xdp_md, step: Step, found: u32, iface: &Iface) -> u64 {
        six::step(ctx, step, found, iface)
    }
    #[inline(always)]
    fn ask_across(ctx: *mut xdp_md, id: u32, of: u32) {
        tunnels::ask_across6(ctx, id, of);
    }
}
