//! Walks over all real servers of a service, or over the slots of its hash table.
//!
//! A walk goes on in chunks. In the kernel each chunk is one round of a loop of the kernel's (`bpf_loop`): the verifier looks at
//! a chunk once, however long the list is.

use ipvs_common::{DestState, ListSlot, Service};

use super::{hashing, overhead, twos, wrr};
use crate::{exit::NO_DEST, tables::Tables};

/// Places in a chunk.
const CHUNK: u32 = 16;
/// How often a walk comes by the end of the list at most.
const TURNS: u32 = 4;

/// Chunks that a walk over so many places takes, at most.
#[must_use]
#[inline(always)]
pub const fn chunks(places: u32) -> u32 {
    places.div_ceil(CHUNK) + TURNS + 1
}

/// What a walk looks for.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// rr: the first usable one.
    First,
    /// wrr: the first of a weight that comes down by steps.
    Weighted,
    /// lc.
    LeastLoad,
    /// wlc.
    LeastLoadPerWeight,
    /// sed.
    ShortestDelay,
    /// nq.
    IdleOrShortestDelay,
    /// fo.
    Heaviest,
    /// ovf.
    HeaviestWithRoom,
    /// lblc, lblcr: any with fewer active connections than half its weight.
    HalfIdle,
    /// twos: the sum of the weights of the usable ones; [`Found::number`].
    Sum,
    /// twos: the less loaded of the two at which two numbers are used up.
    Pick,
    /// sh: the first usable one of the buckets behind another.
    Buckets,
    /// mh: the same among the slots, each found by hashing again.
    Slots,
}

impl Goal {
    #[inline(always)]
    const fn is(self, other: Self) -> bool {
        self as u8 == other as u8
    }
}

/// A walk to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    pub goal: Goal,
    /// The list (or the hash table).
    pub base: u32,
    pub len: u32,
    /// Place to begin at; `len` and more: at the head, by way of the end.
    pub start: u32,
    /// What the goal wants to know; see where the walk is made.
    pub a: u64,
    pub b: u64,
}

impl Walk {
    /// From the head of the list, once around.
    #[must_use]
    #[inline(always)]
    pub const fn over(service: &Service, goal: Goal) -> Self {
        Self {
            goal,
            base: service.list_base,
            len: service.list_len,
            start: 0,
            a: 0,
            b: 0,
        }
    }
}

/// What a walk found, in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found(pub u64);

impl Found {
    /// The real server, or [`NO_DEST`].
    #[must_use]
    #[inline(always)]
    pub const fn dest(self) -> u32 {
        self.0 as u32
    }

    /// wrr: the weight that the walk came down to.
    #[must_use]
    #[inline(always)]
    pub const fn weight(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// [`Goal::Sum`].
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A walk under way. Whole numbers of registers, because the kernel's loop hands its address on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    pub base: u32,
    pub len: u32,
    /// Place looked at next.
    pub place: u32,
    /// Looks left.
    pub left: u32,
    /// Best so far, with what it costs and by which weight that is shared.
    pub best: u32,
    /// twos: the second choice.
    pub second: u32,
    pub cost: u64,
    pub weight: u64,
    pub second_cost: u64,
    pub second_weight: u64,
    /// As in [`Walk`], counted on.
    pub a: u64,
    pub b: u64,
}

impl Scan {
    #[must_use]
    #[inline(always)]
    pub const fn new(base: u32, len: u32, start: u32, goal: Goal, a: u64, b: u64) -> Self {
        // Worse than anyone: some load on no weight. Where the weight alone counts, no weight.
        let (cost, weight) = if goal.is(Goal::LeastLoad) {
            (u64::MAX, 0)
        } else if goal.is(Goal::Weighted) {
            (0, if start == 0 { u64::MAX } else { 0 })
        } else {
            (1, 0)
        };
        Self {
            base,
            len,
            place: start,
            // wrr: what is left of this round, one round to see all weights, one at the weight that is there.
            left: if goal.is(Goal::Weighted) {
                len.saturating_mul(TURNS)
            } else {
                len
            },
            best: NO_DEST,
            second: NO_DEST,
            cost,
            weight,
            second_cost: 0,
            second_weight: 0,
            a,
            b,
        }
    }

    /// The result of a walk that ended.
    #[must_use]
    #[inline(always)]
    pub const fn found(&self, goal: Goal) -> Found {
        if goal.is(Goal::Sum) {
            Found(self.a)
        } else if goal.is(Goal::Weighted) {
            Found(self.best as u64 | self.a << 32)
        } else if goal.is(Goal::Pick) {
            Found(twos::better(self) as u64)
        } else {
            Found(self.best as u64)
        }
    }

    #[inline(always)]
    pub(super) const fn take(&mut self, dest: u32, cost: u64, weight: u64) {
        self.best = dest;
        self.cost = cost;
        self.weight = weight;
    }
}

/// Makes a walk from one end to the other.
#[inline(always)]
pub fn make<T: Tables>(t: &T, w: &Walk) -> Found {
    let mut scan = Scan::new(w.base, w.len, w.start, w.goal, w.a, w.b);
    while !chunk(t, &mut scan, w.goal) {}
    scan.found(w.goal)
}

/// The next few places of a walk, but not past the end of the list; tells whether the walk is over.
#[inline(always)]
pub fn chunk<T: Tables>(t: &T, scan: &mut Scan, goal: Goal) -> bool {
    if scan.place >= scan.len {
        // Comes to 0, but the verifier does not know, and so takes all rounds for the same.
        scan.place -= scan.len;
        if goal.is(Goal::Weighted) && wrr::at_the_end(scan) {
            return true;
        }
    }
    for _ in 0..CHUNK {
        if scan.left == 0 {
            return true;
        }
        if scan.place >= scan.len {
            return false;
        }
        scan.left -= 1;
        let ended = if goal.is(Goal::Buckets) || goal.is(Goal::Slots) {
            hashing::probe(t, scan, goal)
        } else {
            step(t, scan, goal)
        };
        if ended {
            return true;
        }
        scan.place += 1;
    }
    false
}

/// One place of the list.
#[inline(always)]
fn step<T: Tables>(t: &T, scan: &mut Scan, goal: Goal) -> bool {
    let Some(slot) = t.listed(scan.base.wrapping_add(scan.place)) else {
        return true;
    };
    let Some(state) = t.dest_state(slot.dest) else {
        return true;
    };
    look(scan, goal, slot, state)
}

/// Takes a real server into account; true ends the walk.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "each branch in a walk counts against the verifier's stack of them"
)]
fn look(scan: &mut Scan, goal: Goal, slot: &ListSlot, state: &DestState) -> bool {
    let (id, weight) = (slot.dest, u64::from(slot.weight));
    let active = u64::from(state.active);
    let usable = (slot.weight != 0) & (state.overloaded == 0);
    match goal {
        Goal::First => {
            if usable {
                scan.best = id;
            }
            usable
        }
        Goal::Weighted => wrr::look(scan, id, weight, usable),
        Goal::LeastLoad => {
            let load = overhead(state);
            if usable & (load < scan.cost) {
                scan.take(id, load, weight);
            }
            false
        }
        Goal::LeastLoadPerWeight => per_weight(scan, id, overhead(state), weight, usable),
        Goal::ShortestDelay => per_weight(scan, id, active + 1, weight, usable),
        Goal::IdleOrShortestDelay => {
            if usable & (active == 0) {
                scan.best = id;
                return true;
            }
            per_weight(scan, id, active + 1, weight, usable)
        }
        Goal::Heaviest => {
            if usable & (weight > scan.weight) {
                scan.take(id, 0, weight);
            }
            false
        }
        Goal::HeaviestWithRoom => {
            if usable & (active <= weight) & (weight > scan.weight) {
                scan.take(id, 0, weight);
            }
            false
        }
        Goal::HalfIdle => {
            let idle = active * 2 < weight;
            if idle {
                scan.best = id;
            }
            idle
        }
        Goal::Sum => {
            if usable {
                scan.a += weight;
            }
            false
        }
        Goal::Pick => twos::look(scan, id, overhead(state), weight, usable),
        Goal::Buckets | Goal::Slots => true,
    }
}

/// Loads are compared by cross multiplication: cost/weight below that of the best. Of equals the first, which is the newest.
#[inline(always)]
pub(super) const fn per_weight(
    scan: &mut Scan,
    id: u32,
    cost: u64,
    weight: u64,
    usable: bool,
) -> bool {
    if usable & (scan.cost.wrapping_mul(weight) > cost.wrapping_mul(scan.weight)) {
        scan.take(id, cost, weight);
    }
    false
}
