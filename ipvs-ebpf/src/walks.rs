//! Choosing a real server, in the kernel: functions of their own to the verifier, and the walks of the schedulers, whose rounds
//! the kernel counts.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use ipvs_common::Service;
use ipvs_datapath::{
    conn::template,
    exit::NO_DEST,
    sched::{self, Goal, Scan, lblcr},
};

use crate::kernel_tables::{Maps, key_of};

macro_rules! walks {
    ($($round:ident: $goal:ident),* $(,)?) => {
        $(
            /// One round of a walk; 1 ends it.
            extern "C" fn $round(_round: u64, scan: *mut c_void) -> i64 {
                // SAFETY: the kernel hands on what `go` gave it.
                let scan = unsafe { &mut *scan.cast::<Scan>() };
                let maps = Maps::<[u8; 4]>::only();
                i64::from(sched::chunk(&maps, scan, Goal::$goal, |a, b, c, d| lower(a, b, c, d)))
            }
        )*

        /// Makes a walk; `what` is the goal, and from its ninth bit on the place to begin at.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn walk(base: u32, len: u32, what: u32, a: u64, b: u64) -> u64 {
            let start = what >> 8;
            match what as u8 {
                $(n if n == Goal::$goal as u8 => go(base, len, start, Goal::$goal, a, b, $round),)*
                _ => u64::MAX,
            }
        }
    };
}

walks! {
    first: First,
    weighted: Weighted,
    least_load: LeastLoad,
    least_load_per_weight: LeastLoadPerWeight,
    shortest_delay: ShortestDelay,
    idle_or_shortest_delay: IdleOrShortestDelay,
    heaviest: Heaviest,
    heaviest_with_room: HeaviestWithRoom,
    half_idle: HalfIdle,
    sum: Sum,
    pick: Pick,
    buckets: Buckets,
    slots: Slots,
}

#[inline(always)]
fn go(
    base: u32,
    len: u32,
    start: u32,
    goal: Goal,
    a: u64,
    b: u64,
    round: extern "C" fn(u64, *mut c_void) -> i64,
) -> u64 {
    let mut scan = Scan::new(base, len, start, goal, a, b);
    let rounds = sched::chunks(scan.left);
    // SAFETY: the function is of this object and takes the scan, which outlives the call.
    unsafe { bpf_loop(rounds, round as *mut c_void, (&raw mut scan).cast(), 0) };
    scan.found(goal).0
}

/// [`sched::lower`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lower(asked: u64, bounds: u64, seen: u64, whole: u64) -> u64 {
    sched::lower(asked, bounds, seen, whole)
}

/// [`lblcr::known`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_known(service: u32, dst: u32) -> u64 {
    lblcr::known(&mut Maps::only(), service, dst.to_ne_bytes())
}

/// [`lblcr::join`]; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_join(service: u32, dst: u32, dest: u32) -> u32 {
    lblcr::join(&mut Maps::only(), service, dst.to_ne_bytes(), dest);
    0
}

/// [`template::join`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn join(
    service: *const Service,
    src: u32,
    dst: u32,
    ports: u32,
    proto: u32,
) -> u64 {
    // SAFETY: null, or a service on the caller's stack: the verifier looks at both sides.
    let Some(service) = (unsafe { service.as_ref() }) else {
        return u64::from(NO_DEST);
    };
    let key = key_of(src, dst, ports, proto);
    template::join(&mut Maps::only(), service, &key).0
}
