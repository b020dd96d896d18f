//! When the daemon keeps house, and when it goes on with the ageing of the tables: the first once a second, the second in
//! slices, with pauses that keep it to its share of one CPU. Knows neither what is done nor how long it may take.

use std::time::{Duration, Instant};

/// Housekeeping once in this time, if it takes much less than that; the tables are gone through as often, if they are small.
const SECOND: Duration = Duration::from_secs(1);
/// Housekeeping takes no more than one part in so many of the time.
const HOUSE: u32 = 5;
/// Ageing takes one part in so many.
const AGEING: u32 = 25;
/// The same while somebody waits for its outcome.
const URGENT: u32 = 4;

/// How a slice of ageing ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// Somebody waits for the next.
    Urgent,
    /// There are more in this round through the tables.
    More,
    /// It was the round's last.
    Last,
}

/// What is due when.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    house: Instant,
    slice: Instant,
    /// When the round through the tables began; `None` between rounds.
    round: Option<Instant>,
}

impl Pace {
    /// How long a slice should take: short enough for whoever waits for the director.
    pub const SLICE: Duration = Duration::from_millis(10);

    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            house: now + SECOND,
            slice: now + SECOND,
            round: None,
        }
    }

    /// When there is something to do next.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.house.min(self.slice)
    }

    #[must_use]
    pub fn is_house_due(&self, now: Instant) -> bool {
        now >= self.house
    }

    #[must_use]
    pub fn is_slice_due(&self, now: Instant) -> bool {
        now >= self.slice
    }

    /// The next slice shall not wait.
    pub fn hurry(&mut self, now: Instant) {
        self.slice = self.slice.min(now);
    }

    /// Housekeeping took so long.
    pub fn kept_house(&mut self, start: Instant, took: Duration) {
        self.house = start + SECOND.max(took * HOUSE);
    }

    /// A slice took so long.
    pub fn aged(&mut self, start: Instant, took: Duration, slice: Slice) {
        let round = *self.round.get_or_insert(start);
        let share = match slice {
            Slice::Urgent => URGENT,
            Slice::More | Slice::Last => AGEING,
        };
        self.slice = start + took * share;
        if slice == Slice::Last {
            self.round = None;
            self.slice = self.slice.max(round + SECOND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goes through tables that take so long; returns the rounds and the time that ageing took of a minute.
    fn minute(table: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut rounds, mut work, mut left) = (0, Duration::ZERO, table);
        while pace.due() < start + 60 * SECOND {
            let now = pace.due();
            if pace.is_house_due(now) {
                pace.kept_house(now, Duration::ZERO);
            }
            if !pace.is_slice_due(now) {
                continue;
            }
            let took = left.min(Pace::SLICE);
            left -= took;
            work += took;
            if left.is_zero() {
                pace.aged(now, took, Slice::Last);
                (rounds, left) = (rounds + 1, table);
            } else {
                pace.aged(now, took, Slice::More);
            }
        }
        (rounds, work)
    }

    #[test]
    fn small_tables_are_gone_through_each_second() {
        for table in [MS, 10 * MS, 39 * MS] {
            let (rounds, _) = minute(table);
            assert!((58..=60).contains(&rounds), "{table:?}: {rounds} rounds");
        }
    }

    #[test]
    fn large_tables_take_one_part_in_twenty_five() {
        for table in [100 * MS, 700 * MS, 3000 * MS] {
            let (rounds, work) = minute(table);
            assert!(work <= 61 * SECOND / 25, "{table:?}: {work:?}");
            assert!(work >= 58 * SECOND / 25, "{table:?}: {work:?}");
            assert_eq!(u128::from(rounds), work.as_nanos() / table.as_nanos());
        }
    }

    #[test]
    fn work_that_somebody_waits_for_goes_faster() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.hurry(now);
        assert!(pace.is_slice_due(now) && !pace.is_house_due(now));
        pace.aged(now, 10 * MS, Slice::Urgent);
        assert_eq!(pace.due(), now + 40 * MS);
    }

    #[test]
    fn slow_housekeeping_is_put_off() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.kept_house(now, 400 * MS);
        assert!(!pace.is_house_due(now + 1999 * MS));
        assert!(pace.is_house_due(now + 2000 * MS));
    }
}
