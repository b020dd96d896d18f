//! Places for the lists of dest indices. A list that a service no longer refers to is left alone for a while, because a packet
//! in flight may still walk it.

use std::collections::{BTreeMap, VecDeque};

/// A run of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Block {
    pub base: u32,
    pub len: u32,
}

/// First fit, with neighbours joined. Time is whatever the caller counts in; it only has to move on.
#[derive(Clone, Debug)]
pub struct ListSpace {
    /// Base to length.
    free: BTreeMap<u32, u32>,
    /// Released blocks and the time from which they may be used again, oldest first.
    quarantine: VecDeque<(u64, Block)>,
    hold: u64,
}

impl ListSpace {
    /// All of `slots` is free; released blocks rest for `hold`.
    #[must_use]
    pub fn new(slots: u32, hold: u64) -> Self {
        Self {
            free: BTreeMap::from([(0, slots)]),
            quarantine: VecDeque::new(),
            hold,
        }
    }

    /// Takes a block that is in use already. False: it is not, or not wholly, free.
    pub fn occupy(&mut self, block: Block) -> bool {
        let Block { base, len } = block;
        if len == 0 {
            return true;
        }
        let Some((&start, &room)) = self.free.range(..=base).next_back() else {
            return false;
        };
        let (before, taken) = (base - start, base - start + len);
        if taken > room {
            return false;
        }
        self.free.remove(&start);
        if before > 0 {
            self.free.insert(start, before);
        }
        if taken < room {
            self.free.insert(base + len, room - taken);
        }
        true
    }

    /// `None`: no run of `len` slots is free now.
    pub fn take(&mut self, len: u32, now: u64) -> Option<Block> {
        if len == 0 {
            return Some(Block::default());
        }
        self.end_quarantine(now);
        let (&base, &room) = self.free.iter().find(|&(_, &room)| room >= len)?;
        self.free.remove(&base);
        if room > len {
            self.free.insert(base + len, room - len);
        }
        Some(Block { base, len })
    }

    /// Gives back a block that packets may still be reading.
    pub fn release(&mut self, block: Block, now: u64) {
        if block.len > 0 {
            self.quarantine.push_back((now + self.hold, block));
        }
    }

    /// Gives back a block that no service ever referred to.
    pub fn give_back(&mut self, block: Block) {
        if block.len == 0 {
            return;
        }
        let Block { mut base, mut len } = block;
        if let Some(next) = self.free.remove(&(base + len)) {
            len += next;
        }
        if let Some((&before, &room)) = self.free.range(..base).next_back()
            && before + room == base
        {
            base = before;
            len += room;
        }
        self.free.insert(base, len);
    }

    /// Frees the blocks that rested long enough.
    pub fn end_quarantine(&mut self, now: u64) {
        while let Some(&(until, block)) = self.quarantine.front()
            && until <= now
        {
            self.quarantine.pop_front();
            self.give_back(block);
        }
    }

    /// Slots that are neither in use nor resting.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        self.free.values().sum()
    }
}
