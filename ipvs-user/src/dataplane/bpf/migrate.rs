//! Takes the contents of tables of another layout, or of other sizes, over into those of this program, while packets go on
//! through the old ones: what the configuration does not make anew, entry by entry and field by field.
//!
//! First everything is copied; then, just before the programs are swapped, what changed since; and once more after. What others
//! touched in the new tables, the director or the new program, is theirs and left alone. What a start finds that comes after a
//! crash, and what it does, stands in `pins/standing.rs`.

mod flows;
mod memories;
mod old;
mod sync;

use std::{
    collections::BTreeMap,
    mem::offset_of,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use aya::maps::{Array, MapData, MapError};
use ipvs_common::{
    Addr, DestState, Settings, Stats,
    maps::{self as names, Capacities},
};

use super::{
    LoadError, bpffs::Bpffs, layout::Layout, mapped::Mapped, maps::pinned, pins::Instance,
};
use flows::Flows;
use memories::Memories;
use old::Old;
use sync::Phase;

/// Half-open connections that the old program may begin while programs are swapped.
const AHEAD: u32 = 4096;

/// A migration under way.
pub struct Migration {
    /// An earlier process began it, and programs of the new layout are in force already.
    resumed: bool,
    old: Old,
    four: Flows<[u8; 4]>,
    six: Flows<Addr>,
    states: Counts,
    memories: Memories,
}

/// What came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Migrated {
    /// Entries that were entered, changed or removed.
    pub connections: usize,
    pub templates: usize,
    /// Entries that found no room when there was no way back.
    pub lost: usize,
    /// Entries that the layout of this program cannot hold.
    pub unfit: usize,
}

/// What the old tables counted until they were no longer used.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By index of the real server.
    pub dests: BTreeMap<u32, Stats>,
    /// By kind and name of the reason.
    pub reasons: BTreeMap<String, u64>,
}

/// The counts of real servers, which packets change at the same time.
struct Counts(Mapped<DestState>);

/// One of the counts.
#[derive(Clone, Copy)]
enum Count {
    Active,
    Inactive,
    Persistent,
}

impl Counts {
    fn map(states: &Array<MapData, DestState>, entries: u32) -> Result<Self, LoadError> {
        use aya::maps::IterableMap as _;
        let mapped = Mapped::map(states.map().fd(), entries).map_err(LoadError::States)?;
        Ok(Self(mapped))
    }

    fn add(&self, dest: u32, count: Count, delta: i32) {
        let offset = match count {
            Count::Active => offset_of!(DestState, active),
            Count::Inactive => offset_of!(DestState, inactive),
            Count::Persistent => offset_of!(DestState, persistent),
        };
        if let Some(place) = self.place(dest, offset) {
            place.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// The mark of a real server.
    fn overloaded(&self, dest: u32) -> Option<u32> {
        let place = self.place(dest, offset_of!(DestState, overloaded))?;
        Some(place.load(Ordering::Relaxed))
    }

    fn set_overloaded(&self, dest: u32, mark: u32) {
        if let Some(place) = self.place(dest, offset_of!(DestState, overloaded)) {
            place.store(mark, Ordering::Relaxed);
        }
    }

    /// A number in the state of a real server; `None`: there is no such index.
    fn place(&self, dest: u32, offset: usize) -> Option<&AtomicU32> {
        let state = self.0.entry(dest as usize)?;
        let place: *mut u32 = state.wrapping_byte_add(offset).cast();
        // SAFETY: within the mapping, aligned to four, alive as long as `self`; packets access it by atomic operations, too.
        Some(unsafe { AtomicU32::from_ptr(place) })
    }
}

impl Migration {
    /// From a generation into another one, whose tables are there and empty, unless that is resumed.
    pub(super) fn new(
        instance: &Arc<Instance>,
        from: &str,
        to: &Bpffs,
        capacities: Capacities,
        resumed: bool,
    ) -> Result<Self, LoadError> {
        let layout = Layout::here(capacities);
        Ok(Self {
            resumed,
            old: Old::open(instance.generation(from)?, &layout)?,
            four: Flows::open(to, capacities.half_open)?,
            six: Flows::open(to, capacities.half_open6)?,
            states: Counts::map(&pinned(to, names::DEST_STATES)?, capacities.dests)?,
            memories: Memories::open(to)?,
        })
    }

    /// What a director reads first: its ledger and the settings, over the defaults of what is new.
    pub(super) fn configuration(
        &self,
        defaults: Settings,
    ) -> Result<(old::Ledger, Settings), LoadError> {
        Ok((self.old.ledger()?, self.old.settings(defaults)?))
    }

    /// Copies what is new or changed since the last time. `swapped`: the new program is in force.
    pub fn sync(&mut self, swapped: bool) -> Result<Migrated, LoadError> {
        let phase = match (self.resumed, swapped) {
            (true, _) => Phase::Resumed,
            (false, true) => Phase::Swapped,
            (false, false) => Phase::Before,
        };
        // What takes as long as there are destinations comes first: connections are to be as new as can be at the swap.
        if phase == Phase::Before {
            self.memories.sync(&mut self.old, &self.states)?;
        }
        let four = self.four.sync(&mut self.old, &self.states, phase)?;
        let six = self.six.sync(&mut self.old, &self.states, phase)?;
        Ok(Migrated {
            connections: four.connections + six.connections,
            templates: four.templates + six.templates,
            lost: four.lost + six.lost,
            unfit: self.old.unfit(),
        })
    }

    /// What the old tables counted; final once no packet goes through them.
    pub fn counted(&self) -> Result<Counted, LoadError> {
        let mut counted = Counted {
            reasons: self.old.reasons()?,
            ..Counted::default()
        };
        for dest in self.old.dests()? {
            counted.dests.insert(dest, self.old.dest_stats(dest)?);
        }
        Ok(counted)
    }
}

/// The number that the next half-open connection is to get in the new ring, if that is not its program's business already: those
/// that the old program gives out from here to the swap must not come twice.
fn next_number(old: u32, now: u32, size: u32, before: bool) -> Option<u32> {
    let next = old.wrapping_add(AHEAD.min(size / 2));
    (before || now == 0).then_some(next)
}

fn failed(name: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map { name, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_half_open_connections_go_on_behind_those_of_the_old_program() {
        let first = next_number(100, 0, 1 << 20, true).unwrap();
        assert_eq!(first, 100 + AHEAD);
        // It went on meanwhile.
        let second = next_number(5000, first, 1 << 20, true);
        assert_eq!(second, Some(5000 + AHEAD));
        assert_eq!(next_number(u32::MAX, 0, 16, true), Some(7));
        // The new program counts by itself, unless nobody told it where to begin.
        assert_eq!(next_number(9000, 9500, 1 << 20, false), None);
        assert_eq!(next_number(9000, 0, 1 << 20, false), Some(9000 + AHEAD));
    }
}
