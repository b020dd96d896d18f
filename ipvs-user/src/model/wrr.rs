//! What weighted round robin goes by, and where its walk stands after a change.

use ipvs_common::SchedState;

use super::state::RealServer;

/// The weights through which the walk comes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrrRange {
    /// The largest weight, less the step, plus one; 0 if nobody has a weight.
    pub max: u32,
    /// The greatest common divisor of the weights.
    pub step: u32,
}

impl WrrRange {
    #[must_use]
    pub fn of(dests: &[RealServer]) -> Self {
        let weights = || dests.iter().map(|d| d.spec.weight);
        let step = weights().fold(0, gcd).max(1);
        let max = weights().max().unwrap_or(0).saturating_sub(step - 1);
        Self { max, step }
    }

    /// The walk starts over at the head of the list; the weight that it was at is kept as far as it can be.
    #[must_use]
    pub const fn restart(self, before: SchedState) -> SchedState {
        let weight = if before.weight == 0 || before.weight > self.max {
            self.max
        } else if self.step > 1 {
            before.weight / self.step * self.step + 1
        } else {
            before.weight
        };
        SchedState { last: 0, weight }
    }
}

/// The greatest common divisor; of a number and 0, the number.
pub(crate) const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
