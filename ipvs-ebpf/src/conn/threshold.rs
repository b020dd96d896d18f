//! The overload flag of a real server (ip_vs's upper and lower thresholds).

use crate::tables::Tables;

/// Looked at after a connection came: reaching the upper threshold sets the flag.
#[inline(always)]
pub fn after_bind<T: Tables>(t: &mut T, id: u32) {
    let Some(upper) = t.dest(id).map(|d| d.upper) else {
        return;
    };
    if upper != 0 && total(t, id) >= upper {
        t.set_overloaded(id, true);
    }
}

/// Looked at after a connection went: below the lower threshold, or below three quarters of the upper one, the flag goes.
#[inline(always)]
pub fn after_unbind<T: Tables>(t: &mut T, id: u32) {
    let Some((upper, lower)) = t.dest(id).map(|d| (d.upper, d.lower)) else {
        return;
    };
    let total = u64::from(total(t, id));
    let clear = if lower != 0 {
        total < u64::from(lower)
    } else if upper != 0 {
        total * 4 < u64::from(upper) * 3
    } else {
        true
    };
    if clear && t.dest_state(id).is_some_and(|s| s.overloaded != 0) {
        t.set_overloaded(id, false);
    }
}

#[inline(always)]
fn total<T: Tables>(t: &T, id: u32) -> u32 {
    t.dest_state(id)
        .map_or(0, |s| s.active.wrapping_add(s.inactive))
}
