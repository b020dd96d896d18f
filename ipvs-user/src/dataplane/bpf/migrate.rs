//! Takes the contents of tables of another layout, or of other sizes, over into those of this program, while packets go on
//! through the old ones: what the configuration does not make anew, entry by entry and field by field.
//!
//! First everything is copied; then, just before the programs are swapped, what changed since; and once more after. From then
//! on the new program owns its entries: what it touched is left alone.

mod old;
mod sync;

use std::{collections::BTreeMap, sync::Arc};

use aya::maps::{Array, HashMap, MapData, MapError};
use ipvs_common::{
    Conn, ConnFlags, DestState, FlowKey, LblcEntry, LblcKey, LblcrEntry, RingSlot, SchedState,
    Settings, Stats, Template, TemplateKey,
    maps::{self as names, Capacities},
};

use super::{
    LoadError, bpffs::Bpffs, layout::Layout, mapped::Mapped, maps::pinned, pins::Instance,
};
use old::Old;
use sync::{Change, Snapshot};

/// Half-open connections that the old program may begin while programs are swapped.
const AHEAD: u32 = 4096;
/// Index of no real server.
const NO_DEST: u32 = u32::MAX;

/// A migration under way.
pub struct Migration {
    /// An earlier process began it, and programs of the new layout may be in force already.
    resumed: bool,
    old: Old,
    new: New,
    half_open: Snapshot,
    conns: Snapshot,
    templates: Snapshot,
    lblc: Snapshot,
    lblcr: Snapshot,
}

/// What came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Migrated {
    /// Entries that were entered, changed or removed.
    pub connections: usize,
    pub templates: usize,
}

/// What the old tables counted until they were no longer used.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By index of the real server.
    pub dests: BTreeMap<u32, Stats>,
    /// By kind and name of the reason.
    pub reasons: BTreeMap<String, u64>,
}

/// The tables that are filled.
struct New {
    half_open: HashMap<MapData, FlowKey, Conn>,
    conns: HashMap<MapData, FlowKey, Conn>,
    templates: HashMap<MapData, TemplateKey, Template>,
    lblc: HashMap<MapData, LblcKey, LblcEntry>,
    lblcr: HashMap<MapData, LblcKey, LblcrEntry>,
    ring: Array<MapData, RingSlot>,
    heads: Array<MapData, u32>,
    sched_states: Array<MapData, SchedState>,
    states: Counts,
    sizes: Capacities,
}

impl New {
    fn open(dir: &Bpffs, sizes: Capacities) -> Result<Self, LoadError> {
        let states: Array<MapData, DestState> = pinned(dir, names::DEST_STATES)?;
        Ok(Self {
            half_open: pinned(dir, names::HALF_OPEN)?,
            conns: pinned(dir, names::CONNS)?,
            templates: pinned(dir, names::TEMPLATES)?,
            lblc: pinned(dir, names::LBLC)?,
            lblcr: pinned(dir, names::LBLCR)?,
            ring: pinned(dir, names::HALF_OPEN_RING)?,
            heads: pinned(dir, names::HEADS)?,
            sched_states: pinned(dir, names::SCHED_STATES)?,
            states: Counts::map(&states, sizes.dests)?,
            sizes,
        })
    }
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
        use std::{mem::offset_of, sync::atomic::AtomicU32, sync::atomic::Ordering};
        let Some(state) = self.0.entry(dest as usize) else {
            return;
        };
        let offset = match count {
            Count::Active => offset_of!(DestState, active),
            Count::Inactive => offset_of!(DestState, inactive),
            Count::Persistent => offset_of!(DestState, persistent),
        };
        let place: *mut u32 = state.wrapping_byte_add(offset).cast();
        // SAFETY: within the mapping, aligned to four, alive as long as `self`; packets add to it by atomic operations, too.
        let place = unsafe { AtomicU32::from_ptr(place) };
        place.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
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
            new: New::open(to, capacities)?,
            half_open: Snapshot::default(),
            conns: Snapshot::default(),
            templates: Snapshot::default(),
            lblc: Snapshot::default(),
            lblcr: Snapshot::default(),
        })
    }

    /// What a director reads first: its ledger and the settings, over the defaults of what is new.
    pub(super) fn configuration(
        &self,
        defaults: Settings,
    ) -> Result<(old::Ledger, Settings), LoadError> {
        Ok((self.old.ledger()?, self.old.settings(defaults)?))
    }

    /// Copies what is new or changed since the last time. Before the first swap of a program everything that differs is
    /// brought to what the old tables have; after, only what the new program did not touch.
    pub fn sync(&mut self, swapped: bool) -> Result<Migrated, LoadError> {
        let swapped = swapped || self.resumed;
        // In this order, because that is the way an entry moves: met twice it counts once, but none is missed.
        let mut half_open = self.old.conns(names::HALF_OPEN)?;
        let conns = self.old.conns(names::CONNS)?;
        let promoted = conns.iter().map(|(key, _)| *key);
        let promoted: std::collections::HashSet<_> = promoted.collect();
        half_open.retain(|(key, _)| !promoted.contains(key));
        let templates = self.old.templates()?;

        let Self { new, .. } = self;
        let states = &new.states;
        let counted = |change: Change<'_, Conn>| {
            let of = |conn: &Conn, delta| {
                if let Some(count) = count_of(conn) {
                    states.add(conn.dest, count, delta);
                }
            };
            change.each(of);
        };
        // Templates before the connections that hold them; those that were promoted enter before they leave.
        let persistent = |change: Change<'_, Template>| {
            change.each(|template: &Template, delta| {
                if template.dest != NO_DEST {
                    states.add(template.dest, Count::Persistent, delta);
                }
            });
        };
        let moved = self.templates.apply(
            (names::TEMPLATES, &mut new.templates),
            &templates,
            swapped,
            persistent,
        )?;
        let mut connections =
            self.conns
                .apply((names::CONNS, &mut new.conns), &conns, swapped, counted)?;
        connections += self.half_open.apply(
            (names::HALF_OPEN, &mut new.half_open),
            &half_open,
            swapped,
            counted,
        )?;
        self.ring(&half_open, swapped)?;
        if !swapped {
            self.memories()?;
        }
        Ok(Migrated {
            connections,
            templates: moved,
        })
    }

    /// The ring of half-open connections, in the new one's size.
    fn ring(&mut self, half_open: &[(FlowKey, Conn)], swapped: bool) -> Result<(), LoadError> {
        let size = self.new.sizes.half_open.max(1);
        for (key, conn) in half_open {
            if conn.status.flags & ConnFlags::REPLY != 0 {
                continue;
            }
            let slot = RingSlot {
                key: *key,
                seq: conn.seq,
                used: 1,
            };
            let place = conn.seq % size;
            let now = self.new.ring.get(&place, 0);
            let now = now.map_err(failed(names::HALF_OPEN_RING))?;
            if now == slot || swapped && now.used != 0 {
                continue;
            }
            let set = self.new.ring.set(place, slot, 0);
            set.map_err(failed(names::HALF_OPEN_RING))?;
        }
        // Numbers that the old program gives out meanwhile must not come twice.
        let next = self.old.ring_head()?.wrapping_add(AHEAD.min(size / 2));
        let now = self.new.heads.get(&0, 0).map_err(failed(names::HEADS))?;
        if now == 0 {
            let set = self.new.heads.set(0, next, 0);
            set.map_err(failed(names::HEADS))?;
        }
        Ok(())
    }

    /// What schedulers remember, and who is overloaded.
    fn memories(&mut self) -> Result<(), LoadError> {
        for service in self.old.services()? {
            let state = self.old.sched_state(service)?;
            let set = self.new.sched_states.set(service, state, 0);
            set.map_err(failed(names::SCHED_STATES))?;
        }
        let lblc = self.old.lblc()?;
        let map = (names::LBLC, &mut self.new.lblc);
        self.lblc.apply(map, &lblc, false, |_| ())?;
        let lblcr = self.old.lblcr()?;
        let map = (names::LBLCR, &mut self.new.lblcr);
        self.lblcr.apply(map, &lblcr, false, |_| ())?;
        for dest in self.old.dests()? {
            let before = self.old.dest_state(dest)?;
            let Some(state) = self.new.states.0.entry(dest as usize) else {
                continue;
            };
            // SAFETY: within the mapping, aligned; no packet of the new program is under way yet.
            unsafe { (&raw mut (*state).overloaded).write_volatile(before.overloaded) };
        }
        Ok(())
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

/// Which count of its real server a connection is in.
fn count_of(conn: &Conn) -> Option<Count> {
    let flags = conn.status.flags;
    if flags & ConnFlags::REPLY != 0 || conn.dest == NO_DEST {
        return None;
    }
    Some(if flags & ConnFlags::ACTIVE != 0 {
        Count::Active
    } else {
        Count::Inactive
    })
}

fn failed(name: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map { name, source }
}
