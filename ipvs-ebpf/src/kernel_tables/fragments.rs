//! What first fragments told, over its BPF maps.

use ipvs_common::{Fragment, FragmentKey};

use super::Family;

#[inline(always)]
pub(super) fn find<A: Family>(key: &FragmentKey<A>) -> Option<&'static Fragment> {
    // SAFETY: read at once; a place that was given to another packet meanwhile sends a fragment astray at worst, as an
    // identification used twice does.
    unsafe { A::fragments().get(key) }
}

#[inline(always)]
pub(super) fn put<A: Family>(key: &FragmentKey<A>, fragment: &Fragment) {
    // Without room the later ones wait in vain, and are counted.
    let _ = A::fragments().insert(key, fragment, 0);
}

#[inline(always)]
pub(super) fn set_dest<A: Family>(key: &FragmentKey<A>, dest: u32) {
    if let Some(known) = A::fragments().get_ptr_mut(key) {
        // SAFETY: a map value.
        unsafe { (*known).dest = dest };
    }
}
