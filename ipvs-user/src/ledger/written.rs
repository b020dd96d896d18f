//! What stands in the ledger, as far as this process wrote or read it.

use std::collections::BTreeMap;

use super::{Changes, DestRecord, Key, Kind, Value};

#[derive(Clone, Debug, Default)]
pub struct Written {
    entries: BTreeMap<Key, Value>,
    /// Number of the last batch.
    batch: u64,
    /// The largest [`DestRecord::seq`] there was.
    seq: u64,
}

impl Written {
    #[must_use]
    pub fn new(entries: BTreeMap<Key, Value>) -> Self {
        let dests = entries.iter().filter(|(key, _)| key.is(Kind::Dest));
        let seqs = dests.map(|(_, value)| value.read::<DestRecord>().seq);
        let seq = seqs.max().unwrap_or(0);
        Self {
            entries,
            batch: 0,
            seq,
        }
    }

    #[must_use]
    pub fn get(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).copied()
    }

    pub fn set(&mut self, key: Key, value: Option<Value>) {
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
    }

    /// Those of the changes that change anything.
    #[must_use]
    pub fn news(&self, mut changes: Changes) -> Changes {
        changes.retain(|key, value| self.get(*key) != *value);
        changes
    }

    pub const fn next_batch(&mut self) -> u64 {
        self.batch += 1;
        self.batch
    }

    /// For a real server that comes to the head of its list.
    pub const fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Where a real server stands among the others of its list.
    #[must_use]
    pub fn seq_of(&self, dest: u32) -> u64 {
        let known = self.get(Key::new(Kind::Dest, dest));
        known.map_or(0, |value| value.read::<DestRecord>().seq)
    }
}
