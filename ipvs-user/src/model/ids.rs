//! Numbers given out and taken back, the lowest free one first, so that indices stay dense.

use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ids {
    /// No number from here on is in use.
    next: u32,
    free: BTreeSet<u32>,
    limit: u32,
}

impl Ids {
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            next: 0,
            free: BTreeSet::new(),
            limit,
        }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Numbers in use, as they were given out once.
    pub(super) fn restored(limit: u32, used: &BTreeSet<u32>) -> Self {
        let next = used.last().map_or(0, |last| last + 1);
        Self {
            next,
            free: (0..next).filter(|n| !used.contains(n)).collect(),
            limit,
        }
    }

    /// No number from here on is in use.
    pub(super) const fn end(&self) -> u32 {
        self.next
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        (self.next < self.limit).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(super) fn give_back(&mut self, id: u32) {
        debug_assert!(id < self.next, "never given out");
        self.free.insert(id);
        while self.next > 0 && self.free.remove(&(self.next - 1)) {
            self.next -= 1;
        }
    }
}
