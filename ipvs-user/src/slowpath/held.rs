//! Fragments that came before the first one of their packet: held until that is here, bounded in number and in time, and looked at
//! again more and more seldom.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Who comes later than that does not come.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most of them overtook the first one by less.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const IN_ALL: usize = 1024;

/// A fragment, and the interface that it came in by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Early {
    pub(super) ifindex: u32,
    pub(super) frame: Vec<u8>,
}

struct Entry {
    early: Early,
    since: Instant,
    /// Until the next look, and as long behind that.
    pause: Duration,
    due: Instant,
}

#[derive(Default)]
pub(super) struct Held(VecDeque<Entry>);

impl Held {
    /// Gives the one back that waited longest, if there is no room for another: it is the one whose first one will hardly come.
    pub(super) fn push(&mut self, early: Early, now: Instant) -> Option<Early> {
        let oldest = (self.0.len() >= IN_ALL).then(|| self.0.pop_front());
        self.0.push_back(Entry {
            early,
            since: now,
            pause: FIRST_LOOK,
            due: now + FIRST_LOOK,
        });
        oldest.flatten().map(|entry| entry.early)
    }

    /// When the next one is to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|entry| entry.due).min()
    }

    /// Has all that are due looked at, in the order in which they came; those that need not wait any longer go. Returns those that
    /// waited in vain.
    pub(super) fn look(
        &mut self,
        now: Instant,
        mut waits: impl FnMut(&Early) -> bool,
    ) -> Vec<Early> {
        let mut in_vain = Vec::new();
        self.0.retain_mut(|entry| {
            if entry.due > now {
                return true;
            }
            if !waits(&entry.early) {
                return false;
            }
            if now.duration_since(entry.since) >= PATIENCE {
                in_vain.push(entry.early.clone());
                return false;
            }
            entry.pause *= 2;
            entry.due = now + entry.pause;
            true
        });
        in_vain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early(n: u8) -> Early {
        Early {
            ifindex: 1,
            frame: vec![n],
        }
    }

    #[test]
    fn held_ones_are_looked_at_more_and_more_seldom_and_given_up_in_the_end() {
        let (mut held, start) = (Held::default(), Instant::now());
        assert_eq!(held.push(early(1), start), None);
        let (mut looks, mut now) = (0, start);
        let lost = loop {
            now = held.due().expect("it waits").max(now);
            let lost = held.look(now, |_| {
                looks += 1;
                true
            });
            if !lost.is_empty() {
                break lost;
            }
        };
        assert_eq!(lost, [early(1)]);
        assert_eq!(looks, 11);
        assert!(now - start >= PATIENCE && now - start < 2 * PATIENCE);
        assert_eq!(held.due(), None);
    }

    #[test]
    fn what_need_not_wait_goes_in_the_order_of_arrival() {
        let (mut held, start) = (Held::default(), Instant::now());
        for n in 0..3 {
            assert_eq!(held.push(early(n), start), None);
        }
        let mut seen = Vec::new();
        let now = start + FIRST_LOOK;
        let lost = held.look(now, |e| {
            seen.push(e.frame[0]);
            e.frame[0] == 1
        });
        assert_eq!((seen, lost), (vec![0, 1, 2], Vec::new()));
        assert_eq!(held.due(), Some(now + 2 * FIRST_LOOK));
    }

    #[test]
    fn there_is_no_room_for_more_than_so_many_and_the_oldest_goes() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert_eq!(held.push(early(1), now), None);
        for _ in 1..IN_ALL {
            assert_eq!(held.push(early(2), now), None);
        }
        assert_eq!(held.push(early(3), now), Some(early(1)));
        assert_eq!(held.0.len(), IN_ALL);
    }
}
