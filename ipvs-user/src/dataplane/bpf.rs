//! The kernel's maps as a [`Dataplane`], and the programs that work on them. The only user of aya in the daemon.
//!
//! Knows how a table is stored and how a program gets into the kernel; knows nothing of services, interfaces' addresses or
//! configuration files.

mod again;
mod attach;
mod available;
mod batch;
mod blob;
mod bpffs;
mod clock;
mod control;
mod error;
mod family;
mod handover;
mod inspect;
mod layout;
mod loader;
mod mapped;
mod maps;
mod matches;
mod memory;
mod migrate;
mod object;
mod open;
mod overload;
mod per_cpu;
mod pins;
mod raw;
mod read;
mod refusal;
mod sync;
mod sys;
mod translate;
mod walk;

use std::collections::BTreeSet;

use aya::maps::{HashMap, MapData, PerCpuValues};
use ipvs_common::{
    Addr, Dest, DestState, Entry, Flow, FlowKey, LblcKey, ListSlot, MatchKey, MatchNode, MatchSlot,
    Note, SchedState, Service, ServiceKey, Settings, Stats, Synced, Template, Tie,
    maps::{self as names, Capacities},
};
use ipvs_datapath::conn::expected::Expected;
use nix::net::if_::if_nametoindex;

pub use again::{Again, Looked};
pub use attach::{Attachment, Former, IfaceProgram, ModePolicy, Ready, Successor};
pub use available::Available;
pub(super) use error::os_error;
pub use error::{AttachError, LoadError};
pub use handover::{EgressTable, Messages, PuntReader, PuntRing, VlanTable};
pub use layout::{Field, Layout, Sizes, Type};
pub use loader::{Clock, Loader};
pub use memory::{Need, Shortage};
pub use migrate::{Counted, Migrated, Migration};
pub use object::OBJECT;
pub use open::{NotePad, Opened};
pub use pins::{Instance, PinError, instances};

use super::{Cache, Dataplane, Place, Result, Seen, Stop, Task};
use crate::ledger::{Key, Value};
use control::Control;
use mapped::Mapped;
use maps::Maps;
use overload::OverloadMarks;
use refusal::{absent_is_fine, failed, remove_all, remove_where, service_text};
use walk::Buffers;

/// The tables in the kernel, and the programs that end what is in them.
pub struct BpfDataplane {
    loader: Loader,
    control: Control,
    maps: Maps,
    overload: OverloadMarks,
    lists: Mapped<ListSlot>,
    hash_tables: Mapped<[u32; 2]>,
    match_slots: Mapped<MatchSlot>,
    egress: Option<EgressTable>,
    vlans: Option<VlanTable>,
    punt: Option<PuntRing>,
    again: Option<Again>,
    messages: Option<Messages>,
    buffers: Buffers,
    ledger: HashMap<MapData, Key, Value>,
    hz: u32,
    cpus: usize,
}

impl BpfDataplane {
    /// Makes the programs of interfaces over these tables.
    #[must_use]
    pub fn loader(&self) -> Loader {
        self.loader.clone()
    }

    /// What the tables were expected to take.
    #[must_use]
    pub fn need(&self) -> Need {
        Need::of(self.loader.capacities(), self.cpus)
    }

    /// Bytes of kernel memory of the large tables, by name.
    #[must_use]
    pub fn memory(&self) -> Vec<(&'static str, u64)> {
        self.maps.memory()
    }

    /// Sets the clock ([`Clock::Manual`]).
    pub fn set_clock(&mut self, ticks: u64) -> Result<()> {
        let set = self.maps.clock.set(0, ticks, 0);
        set.map_err(failed(names::CLOCK, "update", 0))
    }
}

impl Dataplane for BpfDataplane {
    fn capacities(&self) -> Capacities {
        self.loader.capacities()
    }

    fn hz(&self) -> u32 {
        self.hz
    }

    fn now(&self) -> Result<u64> {
        self.control.now().map_err(failed(names::CLOCK, "read", 0))
    }

    fn put_settings(&mut self, settings: &Settings) -> Result<()> {
        let set = self.maps.settings.set(0, settings, 0);
        set.map_err(failed(names::SETTINGS, "update", 0))
    }

    fn put_service(&mut self, key: &ServiceKey, service: &Service) -> Result<()> {
        let put = self.maps.services.insert(key, service, 0);
        put.map_err(failed(names::SERVICES, "update", service_text(key)))
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<()> {
        absent_is_fine(self.maps.services.remove(key)).map_err(failed(
            names::SERVICES,
            "delete",
            service_text(key),
        ))
    }

    fn put_masq_real(&mut self, key: &ServiceKey, dest: u32) -> Result<()> {
        let put = self.maps.masq_reals.insert(key, dest, 0);
        put.map_err(failed(names::MASQ_REALS, "update", service_text(key)))
    }

    fn remove_masq_real(&mut self, key: &ServiceKey) -> Result<()> {
        absent_is_fine(self.maps.masq_reals.remove(key)).map_err(failed(
            names::MASQ_REALS,
            "delete",
            service_text(key),
        ))
    }

    fn masq_reals(&self) -> Result<Vec<(ServiceKey, u32)>> {
        batch::entries(&self.maps.masq_reals).map_err(failed(names::MASQ_REALS, "read", "all"))
    }

    fn put_match_nodes(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()> {
        self.enter_matches(nodes)
    }

    fn remove_match_nodes(&mut self, keys: &[MatchKey]) -> Result<()> {
        self.drop_matches(keys)
    }

    fn match_nodes(&self) -> Result<Vec<(MatchKey, MatchNode)>> {
        self.all_matches()
    }

    fn write_match_slots(&mut self, base: u32, slots: &[MatchSlot]) -> Result<()> {
        self.put_slots(base, slots)
    }

    fn read_match_slots(&self, base: u32, len: u32) -> Result<Vec<MatchSlot>> {
        self.slots(base, len)
    }

    fn link(&self, name: &str) -> Option<u32> {
        if_nametoindex(name).ok()
    }

    fn write_list(&mut self, base: u32, list: &[ListSlot]) -> Result<()> {
        let written = self.lists.write(base as usize, list).then_some(());
        written.ok_or_else(|| failed(names::DEST_LISTS, "update", base)("no such slots"))
    }

    fn write_table(&mut self, base: u32, dests: &[u32]) -> Result<()> {
        let (pairs, odd) = dests.as_chunks();
        let last = odd.first().map(|last| [*last, 0]);
        let pairs: Vec<[u32; 2]> = pairs.iter().copied().chain(last).collect();
        let written = base.is_multiple_of(2) && self.hash_tables.write(base as usize / 2, &pairs);
        let written = written.then_some(());
        written.ok_or_else(|| failed(names::HASH_TABLES, "update", base)("no such slots"))
    }

    fn put_dest(&mut self, id: u32, dest: &Dest) -> Result<()> {
        let set = self.maps.dests.set(id, dest, 0);
        set.map_err(failed(names::DESTS, "update", id))
    }

    fn clear_dest(&mut self, id: u32) -> Result<()> {
        let state = self.maps.dest_states.set(id, DestState::default(), 0);
        state.map_err(failed(names::DEST_STATES, "update", id))?;
        let zero = PerCpuValues::try_from(vec![Stats::default(); self.cpus]).map_err(failed(
            names::DEST_STATS,
            "update",
            id,
        ))?;
        let stats = self.maps.dest_stats.set(id, zero, 0);
        stats.map_err(failed(names::DEST_STATS, "update", id))
    }

    fn dest_state(&self, id: u32) -> Result<DestState> {
        let state = self.maps.dest_states.get(&id, 0);
        state.map_err(failed(names::DEST_STATES, "lookup", id))
    }

    fn dest_stats(&self, id: u32) -> Result<Stats> {
        let each = self.maps.dest_stats.get(&id, 0);
        let each = each.map_err(failed(names::DEST_STATS, "lookup", id))?;
        Ok(each.iter().fold(Stats::default(), |sum, s| sum.plus(*s)))
    }

    fn all_dest_stats(&self, count: u32) -> Result<Vec<Stats>> {
        let map = &self.maps.dest_stats;
        let all = per_cpu::folded(map, self.cpus, count, |a: Stats, b| a.plus(b));
        all.map_err(failed(names::DEST_STATS, "read", "all"))
    }

    fn sched_state(&self, service: u32) -> Result<SchedState> {
        let state = self.maps.sched_states.get(&service, 0);
        state.map_err(failed(names::SCHED_STATES, "lookup", service))
    }

    fn put_sched_state(&mut self, service: u32, state: &SchedState) -> Result<()> {
        let set = self.maps.sched_states.set(service, state, 0);
        set.map_err(failed(names::SCHED_STATES, "update", service))
    }

    fn clear_caches(&mut self, service: u32) -> Result<()> {
        remove_where(names::LBLC, &mut self.maps.lblc, |key, _| {
            key.service == service
        })?;
        remove_where(names::LBLCR, &mut self.maps.lblcr, |key, _| {
            key.service == service
        })
    }

    fn clear_caches_of(&mut self, dests: &BTreeSet<u32>) -> Result<()> {
        remove_where(names::LBLC, &mut self.maps.lblc, |_, entry| {
            dests.contains(&entry.dest)
        })?;
        remove_where(names::LBLCR, &mut self.maps.lblcr, |_, entry| {
            entry.members().iter().any(|m| dests.contains(m))
        })
    }

    fn clear_overload(&mut self, id: u32) -> Result<()> {
        let cleared = self.overload.clear(id).then_some(());
        cleared.ok_or_else(|| failed(names::DEST_STATES, "update", id)("no such index"))
    }

    fn expect(&mut self, key: &Flow, expected: &Expected) -> Result<bool> {
        let (table, entered) = if key.is_v4() {
            let key = FlowKey::<[u8; 4]>::narrow(key);
            (names::HALF_OPEN, self.control.announce(&key, expected))
        } else {
            (names::HALF_OPEN6, self.control.announce(key, expected))
        };
        let entered = entered.map_err(failed(table, "announce", "one"))?;
        Ok(entered == 1)
    }

    fn sync_notes(&mut self, most: usize) -> Vec<Note> {
        self.notes(most)
    }

    fn find_established(&self, key: &Flow) -> Result<Option<Entry>> {
        if key.is_v4() {
            self.one_conn::<[u8; 4]>(key)
        } else {
            self.one_conn::<Addr>(key)
        }
    }

    fn find_template(&self, key: &Tie) -> Result<Option<Template>> {
        if key.is_v4() {
            self.one_template::<[u8; 4]>(key)
        } else {
            self.one_template::<Addr>(key)
        }
    }

    fn sync_connections(&mut self, told: &[(Flow, Synced)]) -> Result<u32> {
        self.enter_conns(told)
    }

    fn sync_templates(&mut self, told: &[(Tie, Synced)]) -> Result<u32> {
        self.enter_templates(told)
    }

    fn conns(&self) -> Result<Vec<(Flow, Entry)>> {
        let mut conns = self.conns_of::<[u8; 4]>()?;
        conns.extend(self.conns_of::<Addr>()?);
        Ok(conns)
    }

    fn templates(&self) -> Result<Vec<(Tie, Template)>> {
        let mut templates = self.templates_of::<[u8; 4]>()?;
        templates.extend(self.templates_of::<Addr>()?);
        Ok(templates)
    }

    fn reasons(&self) -> Result<Vec<u64>> {
        let sum = |slot| match self.maps.reasons.get(&slot, 0) {
            Ok(each) => Ok(each.iter().sum()),
            Err(e) => Err(failed(names::REASONS, "lookup", slot)(e)),
        };
        (0..self.maps.reasons.len()).map(sum).collect()
    }

    fn cached(&self, cache: Cache) -> Result<Vec<(LblcKey, u64)>> {
        self.cache(cache)
    }

    fn remove_cached(&mut self, cache: Cache, keys: &[LblcKey]) -> Result<()> {
        match cache {
            Cache::Lblc => remove_all(names::LBLC, &mut self.maps.lblc, keys),
            Cache::Lblcr => remove_all(names::LBLCR, &mut self.maps.lblcr, keys),
        }
    }

    fn settings(&self) -> Result<Settings> {
        let settings = self.maps.settings.get(&0, 0);
        settings.map_err(failed(names::SETTINGS, "lookup", 0))
    }

    fn services(&self) -> Result<Vec<(ServiceKey, Service)>> {
        let services = batch::entries(&self.maps.services);
        services.map_err(failed(names::SERVICES, "read", "all"))
    }

    fn read_list(&self, base: u32, len: u32) -> Result<Vec<ListSlot>> {
        self.list(base, len)
    }

    fn read_table(&self, base: u32, len: u32) -> Result<Vec<u32>> {
        self.table(base, len)
    }

    fn dest(&self, id: u32) -> Result<Dest> {
        let dest = self.maps.dests.get(&id, 0);
        dest.map_err(failed(names::DESTS, "lookup", id))
    }

    fn ledger(&self) -> Result<Vec<(Key, Value)>> {
        let entries = batch::entries(&self.ledger);
        entries.map_err(failed(names::LEDGER, "read", "all"))
    }

    fn put_ledger(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        self.note(entries)
    }

    fn remove_ledger(&mut self, keys: &[Key]) -> Result<()> {
        self.forget(keys)
    }

    fn walk(&mut self, task: Task<'_>, place: &mut Place, stop: Stop) -> Result<bool> {
        self.walk_tables(task, place, stop)
    }
}
