//! Frames that wait until the link-layer address of their next hop is known. Bounded in number and in time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ipvs_common::PuntHeader;

use crate::net::NextHop;

/// The kernel gives up a neighbour after three probes, a second apart.
const PATIENCE: Duration = Duration::from_secs(3);
/// Frames for one next hop; the kernel's own queue (`unres_qlen`) has about as many.
const PER_HOP: usize = 100;
const IN_ALL: usize = 1024;

struct Entry {
    header: PuntHeader,
    frame: Vec<u8>,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Waiting(BTreeMap<NextHop, Vec<Entry>>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, hop: NextHop) -> bool {
        self.0.contains_key(&hop)
    }

    pub(super) fn hops(&self) -> Vec<NextHop> {
        self.0.keys().copied().collect()
    }

    /// False if the queue is full, and the frame lost.
    pub(super) fn push(
        &mut self,
        hop: NextHop,
        header: PuntHeader,
        frame: Vec<u8>,
        since: Instant,
    ) -> bool {
        let in_all: usize = self.0.values().map(Vec::len).sum();
        if in_all >= IN_ALL || self.0.get(&hop).is_some_and(|q| q.len() >= PER_HOP) {
            return false;
        }
        self.0.entry(hop).or_default().push(Entry {
            header,
            frame,
            since,
        });
        true
    }

    /// All that wait for this next hop, in the order of their arrival.
    pub(super) fn take(&mut self, hop: NextHop) -> Vec<(PuntHeader, Vec<u8>)> {
        let entries = self.0.remove(&hop).unwrap_or_default();
        entries.into_iter().map(|e| (e.header, e.frame)).collect()
    }

    /// Drops what waited too long and returns how many frames that were.
    pub(super) fn give_up(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        self.0.retain(|_, queue| {
            let before = queue.len();
            queue.retain(|e| now.duration_since(e.since) < PATIENCE);
            lost += (before - queue.len()) as u64;
            !queue.is_empty()
        });
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn hop(host: u8) -> NextHop {
        NextHop {
            ifindex: 1,
            addr: Ipv4Addr::new(10, 0, 0, host).into(),
        }
    }

    fn push(waiting: &mut Waiting, host: u8, since: Instant) -> bool {
        waiting.push(hop(host), PuntHeader::default(), vec![host], since)
    }

    #[test]
    fn one_silent_neighbour_does_not_take_the_room_of_others() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        while push(&mut waiting, 1, now) {}
        assert!(push(&mut waiting, 2, now));
        assert_eq!(waiting.take(hop(1)).len(), PER_HOP);
    }

    #[test]
    fn frames_are_given_up_after_three_seconds() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        push(&mut waiting, 1, now);
        push(&mut waiting, 1, now + Duration::from_secs(2));
        assert_eq!(waiting.give_up(now + PATIENCE), 1);
        assert_eq!(waiting.take(hop(1)).len(), 1);
        assert!(waiting.is_empty());
    }
}
