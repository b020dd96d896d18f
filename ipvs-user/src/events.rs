//! What happened, for those who want to follow it: a ring of the last events. Nobody who listens is ever waited for; a reader
//! that is too slow is told how many it missed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::api::wire::{Event, What};

/// Events that are kept for readers.
const KEPT: usize = 4096;

#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// Number of the next event; `None`: there will be no more.
    next: watch::Sender<Option<u64>>,
}

struct Ring {
    next: u64,
    kept: VecDeque<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        let ring = Ring {
            next: 1,
            kept: VecDeque::new(),
        };
        Self(Arc::new(Shared {
            ring: Mutex::new(ring),
            next: watch::Sender::new(Some(1)),
        }))
    }
}

impl Events {
    pub fn tell(&self, what: What) {
        self.tell_all([what]);
    }

    /// Tells these, with nothing in between.
    pub fn tell_all(&self, all: impl IntoIterator<Item = What>) {
        let mut ring = self.ring();
        for what in all {
            ring.add(what);
        }
        let next = ring.next;
        self.0.next.send_if_modified(|told| match told {
            Some(told) => {
                *told = next;
                true
            }
            None => false,
        });
    }

    /// Readers come to an end.
    pub fn close(&self) {
        self.0.next.send_replace(None);
    }

    /// Reads from the event of this number on; `None`: from the next one on.
    #[must_use]
    pub fn reader(&self, since: Option<u64>) -> EventReader {
        let next = self.ring().next;
        EventReader {
            at: since.unwrap_or(next).min(next),
            events: self.clone(),
            told: self.0.next.subscribe(),
            greeted: false,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn add(&mut self, what: What) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        let event = event(self.next, what);
        self.kept.push_back(Arc::new(event));
        self.next += 1;
    }
}

fn event(seq: u64, what: What) -> Event {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Event {
        seq,
        time: since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        what,
    }
}

pub struct EventReader {
    events: Events,
    at: u64,
    told: watch::Receiver<Option<u64>>,
    greeted: bool,
}

impl EventReader {
    /// The next one, as soon as there is one; `None`: there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if !self.greeted {
            self.greeted = true;
            return Some(Arc::new(event(self.at, What::Connected {})));
        }
        let at = self.at;
        let there = self.told.wait_for(|next| next.is_none_or(|n| n > at)).await;
        there.ok().and_then(|next| *next)?;
        Some(self.take())
    }

    fn take(&mut self) -> Arc<Event> {
        let ring = self.events.ring();
        let first = ring.next - ring.kept.len() as u64;
        if self.at < first {
            let missed = What::Missed {
                events: first - self.at,
            };
            self.at = first;
            return Arc::new(event(first, missed));
        }
        let found = Arc::clone(&ring.kept[(self.at - first) as usize]);
        self.at += 1;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detached(n: usize) -> What {
        What::InterfaceDetached {
            name: format!("eth{n}"),
        }
    }

    #[tokio::test]
    async fn events_come_in_order_with_their_numbers() {
        let events = Events::default();
        let mut reader = events.reader(None);
        assert_eq!(reader.next().await.unwrap().what, What::Connected {});
        events.tell_all([detached(1), detached(2)]);
        events.tell(detached(3));
        for n in 1..=3 {
            let event = reader.next().await.unwrap();
            assert_eq!((event.seq, &event.what), (n as u64, &detached(n)));
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_goes_on() {
        let events = Events::default();
        let mut reader = events.reader(None);
        reader.next().await;
        for n in 0..KEPT + 10 {
            events.tell(detached(n));
        }
        let missed = reader.next().await.unwrap();
        assert_eq!(missed.what, What::Missed { events: 10 });
        assert_eq!(missed.seq, 11);
        assert_eq!(reader.next().await.unwrap().seq, 11);
    }

    #[tokio::test]
    async fn a_reader_can_begin_with_what_was() {
        let events = Events::default();
        events.tell_all((0..5).map(detached));
        let mut reader = events.reader(Some(4));
        assert_eq!(reader.next().await.unwrap().seq, 4);
        assert_eq!(reader.next().await.unwrap().what, detached(3));
    }

    #[tokio::test]
    async fn readers_end_with_the_daemon() {
        let events = Events::default();
        let mut reader = events.reader(None);
        reader.next().await;
        events.close();
        assert_eq!(reader.next().await, None);
    }
}
