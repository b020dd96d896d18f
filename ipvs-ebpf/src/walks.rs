//! Choosing a real server, in the kernel: functions of their own to the verifier, and the walks of the schedulers, whose rounds
//! the kernel counts.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::helpers::generated::bpf_loop;
use ipvs_common::Service;
use ipvs_datapath::{
    conn::template,
    exit::NO_DEST,
    sched::{self, Goal, Scan, lblcr},
};

use crate::kernel_tables::{Maps, key_of};

macro_rules! walks {
    ($($round:ident, $chunk:ident: $goal:ident;)*) => {
        $(
            /// One round of a walk; 1 ends it.
            extern "C" fn $round(_round: u64, scan: *mut c_void) -> i64 {
                // Boxed, lest the compiler, who knows that there is nothing else, leave it out: the verifier does not.
                black_box($chunk(scan.cast())) & 1
            }

            /// A function to itself, because the verifier follows what a loop calls back once for each state of the walk that it
            /// finds different, but a function like this one only once, whatever the walk.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $chunk(scan: *mut Scan) -> i64 {
                // SAFETY: null, or what `go` has on its stack: the verifier looks at both sides.
                let Some(scan) = (unsafe { scan.as_mut() }) else {
                    return 1;
                };
                let maps = Maps::<[u8; 4]>::only();
                i64::from(sched::chunk(&maps, scan, Goal::$goal))
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
    first, walk_first: First;
    weighted, walk_weighted: Weighted;
    least_load, walk_least_load: LeastLoad;
    least_load_per_weight, walk_least_load_per_weight: LeastLoadPerWeight;
    shortest_delay, walk_shortest_delay: ShortestDelay;
    idle_or_shortest_delay, walk_idle_or_shortest_delay: IdleOrShortestDelay;
    heaviest, walk_heaviest: Heaviest;
    heaviest_with_room, walk_heaviest_with_room: HeaviestWithRoom;
    half_idle, walk_half_idle: HalfIdle;
    sum, walk_sum: Sum;
    pick, walk_pick: Pick;
    buckets, walk_buckets: Buckets;
    slots, walk_slots: Slots;
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
