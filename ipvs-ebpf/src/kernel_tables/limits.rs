//! How long packets may be on a way, and how many ICMP errors may still be sent.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use ipvs_common::Address;
use ipvs_datapath::icmp::Peer;

use crate::maps::{DEST_STATES, ICMP_BUDGET, ICMP_PEERS};

#[inline(always)]
pub(super) fn set_path(id: u32, mtu: u16, until: u64) {
    let Some(state) = DEST_STATES.get_ptr_mut(id) else {
        return;
    };
    // SAFETY: a map value.
    unsafe {
        (*state).path_mtu = u32::from(mtu);
        (*state).path_until = until;
    }
}

#[inline(always)]
pub(super) fn allowed(now: u64, budget: u32, per_second: u32, hz: u32) -> bool {
    let second = now / u64::from(hz.max(1));
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

#[inline(always)]
pub(super) fn peer_allowed<A: Address>(now: u64, addr: A, hz: u32) -> bool {
    let Some(peer) = ICMP_PEERS.get_ptr_mut(Peer::slot(addr)) else {
        return false;
    };
    // SAFETY: a map value; what two CPUs take at once may count once.
    unsafe { (*peer).takes(now as u32, hz) }
}
