//! What a director must know again after a restart and no table of the datapath says: which real server stands where in its
//! list, which are in the trash, where counters were zeroed, what the knobs are at.
//!
//! Plain records under numbered keys, so that a change writes what it changed and no more. Pure: where they are kept is the
//! dataplane's business, when they are written the reconciler's.

mod matches;
mod record;
mod restore;
mod written;

use std::collections::BTreeMap;

use bytemuck::{Pod, Zeroable};

pub use matches::MatchRecord;
pub use record::{
    DESCRIBED, DestRecord, DestStanding, KnobRecord, ReasonRecord, ServiceRecord, TotalRecord,
};
pub use restore::{Restored, Unreadable, restore};
pub use written::Written;

/// Entries that hold for a batch that is under way have this bit in their kind.
const PENDING: u32 = 1 << 16;

/// What an entry is about.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// There is a ledger; its value is empty.
    Begun = 1,
    /// A batch is under way: what is pending under its number is what it comes to.
    Batch = 2,
    /// By index of the service.
    Service = 3,
    /// By index of the real server.
    Dest = 4,
    /// Counters of the whole.
    Total = 5,
    /// By number, in no order.
    Knob = 6,
    /// By number, in no order.
    Reason = 7,
    /// What the tables counted that a migration came from is among these counts.
    Carried = 8,
    /// By place among the match rules.
    Match = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Begun,
        Self::Batch,
        Self::Service,
        Self::Dest,
        Self::Total,
        Self::Knob,
        Self::Reason,
        Self::Carried,
        Self::Match,
    ];
}

/// Place of an entry.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct Key {
    kind: u32,
    id: u32,
}

impl Key {
    pub const BEGUN: Self = Self::new(Kind::Begun, 0);
    pub const BATCH: Self = Self::new(Kind::Batch, 0);
    pub const TOTAL: Self = Self::new(Kind::Total, 0);
    pub const CARRIED: Self = Self::new(Kind::Carried, 0);

    #[must_use]
    pub const fn new(kind: Kind, id: u32) -> Self {
        Self {
            kind: kind as u32,
            id,
        }
    }

    /// Where the same entry waits for its batch to be done.
    #[must_use]
    pub const fn pending(self) -> Self {
        Self {
            kind: self.kind | PENDING,
            ..self
        }
    }

    #[must_use]
    pub const fn is_pending(self) -> bool {
        self.kind & PENDING != 0
    }

    /// What it is about, be it pending or not; `None`: this version does not know.
    #[must_use]
    pub fn record(self) -> Option<Kind> {
        let kind = self.settled().kind;
        Kind::ALL.into_iter().find(|k| *k as u32 == kind)
    }

    const fn settled(self) -> Self {
        Self {
            kind: self.kind & !PENDING,
            ..self
        }
    }

    const fn is(self, kind: Kind) -> bool {
        self.kind == kind as u32
    }
}

/// An entry: one of the records, as bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Value {
    /// Of a pending entry: the number of its batch.
    pub batch: u64,
    /// 0: the entry goes with its batch.
    pub present: u64,
    pub bytes: [u8; Value::ROOM],
}

impl Value {
    pub const ROOM: usize = 128;
    /// Bytes before the record.
    pub const HEAD: usize = 16;

    /// An empty record under a head as it stands.
    #[must_use]
    pub fn with_head(head: &[u8]) -> Option<Self> {
        let (batch, present) = head.split_first_chunk::<8>()?;
        Some(Self {
            batch: u64::from_ne_bytes(*batch),
            present: u64::from_ne_bytes(*present.first_chunk()?),
            bytes: [0; Self::ROOM],
        })
    }

    #[must_use]
    pub fn of<T: Pod>(record: &T) -> Self {
        const { assert!(size_of::<T>() <= Self::ROOM) };
        let mut value = Self {
            present: 1,
            ..Self::zeroed()
        };
        value.bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(record));
        value
    }

    #[must_use]
    pub fn read<T: Pod>(&self) -> T {
        const { assert!(size_of::<T>() <= Self::ROOM) };
        bytemuck::pod_read_unaligned(&self.bytes[..size_of::<T>()])
    }
}

/// Entries that change together; `None`: goes.
pub type Changes = BTreeMap<Key, Option<Value>>;

/// The changes as they wait while their batch is under way.
#[must_use]
pub fn pending(changes: &Changes, batch: u64) -> Vec<(Key, Value)> {
    let wait = |(key, value): (&Key, &Option<Value>)| {
        let value = value.unwrap_or_else(Value::zeroed);
        (key.pending(), Value { batch, ..value })
    };
    changes.iter().map(wait).collect()
}

/// Indices of the real servers of a settled ledger.
#[must_use]
pub fn dests(settled: &BTreeMap<Key, Value>) -> Vec<u32> {
    let dests = settled.keys().filter(|key| key.is(Kind::Dest));
    dests.map(|key| key.id).collect()
}

/// What a ledger comes to: with a batch that was cut short, the entries as they are to be after it. Also the indices of the
/// real servers that it touched, if there was one.
#[must_use]
pub fn settle(entries: &[(Key, Value)]) -> (BTreeMap<Key, Value>, Option<Vec<u32>>) {
    let mut settled: BTreeMap<_, _> = entries
        .iter()
        .filter(|(key, _)| !key.is_pending())
        .copied()
        .collect();
    let Some(batch) = settled.remove(&Key::BATCH) else {
        return (settled, None);
    };
    let mut touched = Vec::new();
    for (key, value) in entries.iter().filter(|(key, _)| key.is_pending()) {
        if value.batch != batch.batch {
            continue;
        }
        let key = key.settled();
        if value.present == 0 {
            settled.remove(&key);
        } else {
            settled.insert(key, Value { batch: 0, ..*value });
        }
        if key.is(Kind::Dest) {
            touched.push(key.id);
        }
    }
    (settled, Some(touched))
}
