//! When an entry's turn comes to be told again: once in a period, each at a second of its own, so that they are spread over the
//! whole of it. Nothing is kept of an entry for that. Pure.

use bytemuck::Pod;

/// Seconds between two turns, if the knob does not say.
const PERIOD: u64 = 60;
/// Repeats (`sync_retries`) follow each other in this part of the period.
const REPEAT: u64 = 8;

/// The seconds whose turns are now, and how often one comes.
#[derive(Debug)]
pub(super) struct Turns {
    /// Behind this second, up to the next.
    from: u64,
    to: u64,
    period: u64,
    retries: u64,
    /// Connections under a template are not told of.
    pub(super) persist_only: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            from: 0,
            to: 0,
            period: PERIOD,
            retries: 0,
            persist_only: false,
        }
    }
}

impl Turns {
    pub(super) const fn begin(&mut self, second: u64) {
        (self.from, self.to) = (second, second);
    }

    /// A round of a walk begins: it serves the turns since the one before it.
    pub(super) const fn begin_round(&mut self, second: u64) {
        (self.from, self.to) = (self.to, second);
    }

    /// Takes up what the knobs are at.
    pub(super) const fn set(&mut self, period: u32, retries: u32, persist_only: bool) {
        self.period = if period == 0 { PERIOD } else { period as u64 };
        self.retries = retries as u64;
        self.persist_only = persist_only;
    }

    /// Seconds between two turns of an entry with this timeout: twice within it at least.
    pub(super) fn period_of(&self, timeout: u64) -> u64 {
        self.period.min(timeout / 2).max(1)
    }

    pub(super) fn is_due(&self, hash: u32, timeout: u64) -> bool {
        let period = self.period_of(timeout);
        let gap = (period / REPEAT).max(1);
        (0..=self.retries).any(|n| {
            let second = (u64::from(hash) + n * gap) % period;
            // How long ago at the end of this round.
            let ago = (self.to + period - second) % period;
            self.to.saturating_sub(ago) > self.from && ago <= self.to
        })
    }
}

/// A number that has nothing to do with the order of keys.
pub(super) fn hash<K: Pod>(key: &K) -> u32 {
    let bytes = bytemuck::bytes_of(key);
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However long the rounds take, over a long time each entry has one turn a period, but none twice in a round.
        #[test]
        fn each_has_one_turn_in_a_period(
            hash: u32,
            start in 0..100_000_u64,
            period in 1..100_u32,
            rounds in proptest::collection::vec(0..10_u64, 100),
        ) {
            let mut turns = Turns::default();
            turns.set(period, 0, false);
            turns.begin(start);
            let (mut second, mut due) = (start, 0);
            for round in rounds {
                second += round.min(u64::from(period));
                turns.begin_round(second);
                due += u64::from(turns.is_due(hash, 900));
            }
            let periods = (second - start) / u64::from(period);
            let shortest = u64::from(period) < 10;
            prop_assert!(due <= periods + 1);
            prop_assert!(shortest || due >= periods);
        }
    }

    #[test]
    fn short_timeouts_are_told_of_twice_within_them() {
        let turns = Turns::default();
        assert_eq!(turns.period_of(900), 60);
        assert_eq!(turns.period_of(100), 50);
        assert_eq!(turns.period_of(10), 5);
        assert_eq!(turns.period_of(1), 1);
    }

    #[test]
    fn retries_follow_within_the_period() {
        let mut turns = Turns::default();
        turns.set(80, 2, false);
        turns.begin(800);
        let due: Vec<u64> = (801..=880)
            .filter(|second| {
                turns.begin_round(*second);
                turns.is_due(5, 900)
            })
            .collect();
        assert_eq!(due, [805, 815, 825]);
    }
}
