//! Power of two choices: two real servers at random by weight, and the less loaded of them.

use ipvs_common::Service;

use super::{Goal, Scan, Walk};
use crate::{exit::NO_DEST, tables::Tables};

#[inline(always)]
pub(super) fn choose<T: Tables>(t: &mut T, service: &Service) -> u32 {
    let sum = t.walk(&Walk::over(service, Goal::Sum)).number();
    if sum == 0 {
        return NO_DEST;
    }
    let walk = Walk {
        a: below(wide(t), sum),
        b: below(wide(t), sum),
        ..Walk::over(service, Goal::Pick)
    };
    t.walk(&walk).dest()
}

/// Weights may be so large that their sum needs more bits than one number has.
#[inline(always)]
fn wide<T: Tables>(t: &mut T) -> u64 {
    u64::from(t.random()) << 32 | u64::from(t.random())
}

/// A number from 0 to `most`, of any.
#[inline(always)]
fn below(random: u64, most: u64) -> u64 {
    // The sum of weights cannot be the largest number there is.
    random.checked_rem(most.wrapping_add(1)).unwrap_or(0)
}

/// Each real server takes its weight off both numbers; where one is used up is a choice.
#[inline(always)]
pub(super) const fn look(scan: &mut Scan, id: u32, load: u64, weight: u64, usable: bool) -> bool {
    if !usable {
        return false;
    }
    if scan.best == NO_DEST {
        if scan.a <= weight {
            scan.take(id, load, weight);
        } else {
            scan.a -= weight;
        }
    }
    if scan.second == NO_DEST {
        if scan.b <= weight {
            scan.second = id;
            scan.second_cost = load;
            scan.second_weight = weight;
        } else {
            scan.b -= weight;
        }
    }
    scan.best != NO_DEST && scan.second != NO_DEST
}

/// The second choice, if it is less loaded for its weight.
#[inline(always)]
pub(super) const fn better(scan: &Scan) -> u32 {
    let by_second = scan.second_weight.wrapping_mul(scan.cost);
    let by_first = scan.weight.wrapping_mul(scan.second_cost);
    if scan.second != NO_DEST && (scan.best == NO_DEST || by_second > by_first) {
        scan.second
    } else {
        scan.best
    }
}
