//! Searches of the match rules, in the kernel: functions of their own to the verifier, whose rounds the kernel counts.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::helpers::generated::bpf_loop;
use ipvs_common::{Addr, FlowKey};
use ipvs_datapath::{
    Tables as _,
    matching::{self, Matched, ROUNDS, Search},
};

use crate::kernel_tables::{Family, Maps, key_of};

/// One round of a search; 1 ends it.
extern "C" fn round(_round: u64, search: *mut c_void) -> i64 {
    // Boxed, lest the compiler, who knows that there is nothing else, leave it out: the verifier does not.
    black_box(match_round(search.cast())) & 1
}

/// The same over IPv6.
extern "C" fn round6(_round: u64, search: *mut c_void) -> i64 {
    black_box(match_round6(search.cast())) & 1
}

/// A function to itself: old verifiers (6.1) follow what the loop calls back once only, by what the search is before the first round, and
/// leave out whatever that one does not come by. Of a function like this one they take the search for anything.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn match_round(search: *mut Search<[u8; 4]>) -> i64 {
    // SAFETY: null, or what `find` has on its stack: the verifier looks at both sides.
    let search = unsafe { search.as_mut() };
    search.map_or(1, |s| i64::from(matching::round(&Maps::only(), s)))
}

/// The same over IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn match_round6(search: *mut Search<Addr>) -> i64 {
    // SAFETY: as in `match_round`.
    let search = unsafe { search.as_mut() };
    search.map_or(1, |s| i64::from(matching::round(&Maps::only(), s)))
}

#[inline(always)]
fn find<A: Family>(
    ifindex: u32,
    key: &FlowKey<A>,
    round: extern "C" fn(u64, *mut c_void) -> i64,
) -> u64 {
    let set = Maps::<A>::only().settings().map_or(0, |s| s.match_set);
    let mut search = Search::new(set, ifindex, key);
    // SAFETY: the function is of this object and takes the search, which outlives the call.
    unsafe { bpf_loop(ROUNDS, round as *mut c_void, (&raw mut search).cast(), 0) };
    search.found().0
}

/// [`matching::find`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn matched(src: u32, dst: u32, ports: u32, proto: u32, ifindex: u32) -> u64 {
    find(ifindex, &key_of(src, dst, ports, proto), round)
}

/// [`matching::find`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn matched6(key: *const FlowKey<Addr>, ifindex: u32) -> u64 {
    // SAFETY: null, or a key on the caller's stack: the verifier looks at both sides.
    let key = unsafe { key.as_ref() };
    key.map_or(Matched::NONE.0, |key| find(ifindex, key, round6))
}
