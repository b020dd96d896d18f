//! How long packets may be on a way, how many ICMP errors may still be sent, and which new connections are dropped.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use ipvs_common::{DestState, maps::head};
use ipvs_datapath::icmp::{Limit, Limited};

use crate::maps::{DEST_STATES, HEADS, ICMP_BUDGET, ICMP_PEERS};

#[inline(always)]
pub(super) fn state(id: u32) -> Option<*mut DestState> {
    DEST_STATES.get_ptr_mut(id)
}

#[inline(always)]
pub(super) fn set_path(id: u32, mtu: u16, until: u64) {
    let Some(state) = state(id) else {
        return;
    };
    // SAFETY: a map value.
    unsafe {
        (*state).path_mtu = u32::from(mtu);
        (*state).path_until = until;
    }
}

#[inline(always)]
pub(super) fn icmp(now: u64, l: &Limit) -> Limited {
    Limited(icmp_limit(now, l.budget, l.peer, l.per_second, l.hz))
}

/// The same. A function of its own to the verifier, because the stages that send errors have used up their stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn icmp_limit(now: u64, budget: u32, peer: u32, per_second: u32, hz: u32) -> u32 {
    if !is_within(now / u64::from(hz.max(1)), budget, per_second) {
        return Limited::ALL.0;
    }
    let Some(peer) = ICMP_PEERS.get_ptr_mut(peer) else {
        return Limited::NOT.0;
    };
    // SAFETY: a map value; what two CPUs take at once may count once.
    if unsafe { (*peer).takes(now as u32, hz) } {
        Limited::NOT.0
    } else {
        Limited::PEER.0
    }
}

#[inline(always)]
fn is_within(second: u64, budget: u32, per_second: u32) -> bool {
    let Some(budget) = ICMP_BUDGET.get_ptr_mut(budget) else {
        return false;
    };
    // SAFETY: a map value, aligned. CPUs that begin a second at once may send a few more in it.
    unsafe {
        if (*budget).second != second {
            (*budget).second = second;
            (*budget).sent = 0;
        }
        let sent = &raw mut (*budget).sent;
        atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(sent, 1) < u64::from(per_second)
    }
}

/// One of `rate`.
#[inline(always)]
pub(super) fn drops(rate: u32) -> bool {
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
