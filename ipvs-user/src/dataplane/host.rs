//! The datapath's tables on the host, shared with whoever pushes packets through them: for tests and for the replay of traces.
//! The clock stands until someone moves it.

mod matches;
mod told;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipvs_common::{
    Addr, Dest, DestState, Entry, Flow, FlowKey, LblcKey, ListSlot, MatchKey, MatchNode, MatchSlot,
    Note, SchedState, Service, ServiceKey, Settings, Stats, Synced, Template, Tie,
    maps::{self, Capacities},
};
use ipvs_datapath::{
    conn::{
        Table,
        expected::{self, Expected},
    },
    host::HostTables,
};

use super::{Cache, Dataplane, Place, Result, Stop, TableError, Task};
use matches::{read_slots, write_slots};
use walk::{walk_connections, walk_templates};

use crate::{
    carries::Carries,
    ledger::{Key, Value},
};

/// The tables of [`ipvs_datapath::host`] behind a lock.
#[derive(Clone, Debug)]
pub struct HostDataplane {
    tables: Arc<Mutex<HostTables>>,
    carries: Carries,
    ledger: Arc<Mutex<BTreeMap<Key, Value>>>,
}

impl HostDataplane {
    #[must_use]
    pub fn new(tables: Arc<Mutex<HostTables>>) -> Self {
        Self {
            tables,
            carries: Carries::DATAPATH,
            ledger: Arc::default(),
        }
    }

    /// Takes what it is told whether or not its packets are handled so: for tests of what stands before the tables.
    #[must_use]
    pub fn carrying(self, carries: Carries) -> Self {
        Self { carries, ..self }
    }

    fn noted(&self) -> MutexGuard<'_, BTreeMap<Key, Value>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A test that failed with the lock held leaves nothing half done that matters here.
    fn tables(&self) -> MutexGuard<'_, HostTables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns a missing slot into the error that the kernel's map would give.
fn slot<T>(found: Option<T>, map: &'static str, operation: &'static str, key: u32) -> Result<T> {
    found.ok_or_else(|| TableError {
        map,
        operation,
        key: key.to_string(),
        source: "no such index".into(),
    })
}

impl Dataplane for HostDataplane {
    fn capacities(&self) -> Capacities {
        self.tables().capacities
    }

    fn carries(&self) -> Carries {
        self.carries
    }

    fn hz(&self) -> u32 {
        self.tables().settings.hz
    }

    fn now(&self) -> Result<u64> {
        Ok(self.tables().clock)
    }

    fn put_settings(&mut self, settings: &Settings) -> Result<()> {
        self.tables().settings = *settings;
        Ok(())
    }

    fn put_service(&mut self, key: &ServiceKey, service: &Service) -> Result<()> {
        let mut t = self.tables();
        if t.services.len() >= t.capacities.services as usize && !t.services.contains_key(key) {
            return slot(None, maps::SERVICES, "update", service.id);
        }
        t.services.insert(*key, *service);
        Ok(())
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<()> {
        self.tables().services.remove(key);
        Ok(())
    }

    fn put_masq_real(&mut self, key: &ServiceKey, dest: u32) -> Result<()> {
        self.tables().masq_reals.insert(*key, dest);
        Ok(())
    }

    fn remove_masq_real(&mut self, key: &ServiceKey) -> Result<()> {
        self.tables().masq_reals.remove(key);
        Ok(())
    }

    fn masq_reals(&self) -> Result<Vec<(ServiceKey, u32)>> {
        let t = self.tables();
        Ok(t.masq_reals
            .iter()
            .map(|(key, dest)| (*key, *dest))
            .collect())
    }

    fn put_match_nodes(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()> {
        self.tables().matches.extend(nodes.iter().copied());
        Ok(())
    }

    fn remove_match_nodes(&mut self, keys: &[MatchKey]) -> Result<()> {
        let mut t = self.tables();
        for key in keys {
            t.matches.remove(key);
        }
        Ok(())
    }

    fn match_nodes(&self) -> Result<Vec<(MatchKey, MatchNode)>> {
        Ok(self.tables().matches.clone().into_iter().collect())
    }

    fn write_match_slots(&mut self, base: u32, slots: &[MatchSlot]) -> Result<()> {
        write_slots(&mut self.tables(), base, slots)
    }

    fn read_match_slots(&self, base: u32, len: u32) -> Result<Vec<MatchSlot>> {
        read_slots(&self.tables(), base, len)
    }

    fn link(&self, name: &str) -> Option<u32> {
        self.tables().links.get(name).copied()
    }

    fn write_list(&mut self, base: u32, list: &[ListSlot]) -> Result<()> {
        let mut t = self.tables();
        let from = base as usize;
        let room = t.lists.get_mut(from..from + list.len());
        slot(room, maps::DEST_LISTS, "update", base)?.copy_from_slice(list);
        Ok(())
    }

    fn write_table(&mut self, base: u32, dests: &[u32]) -> Result<()> {
        let mut t = self.tables();
        let from = base as usize;
        let room = t.hash_tables.get_mut(from..from + dests.len());
        slot(room, maps::HASH_TABLES, "update", base)?.copy_from_slice(dests);
        Ok(())
    }

    fn put_dest(&mut self, id: u32, dest: &Dest) -> Result<()> {
        *slot(
            self.tables().dests.get_mut(id as usize),
            maps::DESTS,
            "update",
            id,
        )? = *dest;
        Ok(())
    }

    fn clear_dest(&mut self, id: u32) -> Result<()> {
        let mut t = self.tables();
        let state = t.dest_states.get_mut(id as usize);
        *slot(state, maps::DEST_STATES, "update", id)? = DestState::default();
        let stats = t.dest_stats.get_mut(id as usize);
        *slot(stats, maps::DEST_STATS, "update", id)? = Stats::default();
        Ok(())
    }

    fn dest_state(&self, id: u32) -> Result<DestState> {
        let state = self.tables().dest_states.get(id as usize).copied();
        slot(state, maps::DEST_STATES, "lookup", id)
    }

    fn dest_stats(&self, id: u32) -> Result<Stats> {
        let stats = self.tables().dest_stats.get(id as usize).copied();
        slot(stats, maps::DEST_STATS, "lookup", id)
    }

    fn all_dest_stats(&self, count: u32) -> Result<Vec<Stats>> {
        let all = self
            .tables()
            .dest_stats
            .get(..count as usize)
            .map(Vec::from);
        slot(all, maps::DEST_STATS, "lookup", count)
    }

    fn sched_state(&self, service: u32) -> Result<SchedState> {
        let state = self.tables().sched_states.get(service as usize).copied();
        slot(state, maps::SCHED_STATES, "lookup", service)
    }

    fn put_sched_state(&mut self, service: u32, state: &SchedState) -> Result<()> {
        let mut t = self.tables();
        let found = t.sched_states.get_mut(service as usize);
        *slot(found, maps::SCHED_STATES, "update", service)? = *state;
        Ok(())
    }

    fn clear_caches(&mut self, service: u32) -> Result<()> {
        let mut t = self.tables();
        t.lblc.retain(|key, _| key.service != service);
        t.lblcr.retain(|key, _| key.service != service);
        Ok(())
    }

    fn clear_caches_of(&mut self, dests: &BTreeSet<u32>) -> Result<()> {
        let mut t = self.tables();
        t.lblc.retain(|_, e| !dests.contains(&e.dest));
        t.lblcr
            .retain(|_, e| !e.members().iter().any(|m| dests.contains(m)));
        Ok(())
    }

    fn clear_overload(&mut self, id: u32) -> Result<()> {
        let mut t = self.tables();
        let state = t.dest_states.get_mut(id as usize);
        slot(state, maps::DEST_STATES, "update", id)?.overloaded = 0;
        Ok(())
    }

    fn expect(&mut self, key: &Flow, expected: &Expected) -> Result<bool> {
        let t = &mut *self.tables();
        Ok(if key.is_v4() {
            expected::announce(&mut t.of::<[u8; 4]>(), &FlowKey::narrow(key), expected)
        } else {
            expected::announce(&mut t.of::<Addr>(), key, expected)
        })
    }

    fn sync_notes(&mut self, most: usize) -> Vec<Note> {
        let t = &mut *self.tables();
        let of_four = most.min(t.four.notes.len());
        let of_six = (most - of_four).min(t.six.notes.len());
        let four = t.four.notes.drain(..of_four).map(|note| note.wide());
        four.chain(t.six.notes.drain(..of_six)).collect()
    }

    fn find_established(&self, key: &Flow) -> Result<Option<Entry>> {
        Ok(told::established(&self.tables(), key))
    }

    fn find_template(&self, key: &Tie) -> Result<Option<Template>> {
        Ok(told::template(&self.tables(), key))
    }

    fn sync_connections(&mut self, told: &[(Flow, Synced)]) -> Result<u32> {
        Ok(told::enter(&mut self.tables(), told))
    }

    fn sync_templates(&mut self, told: &[(Tie, Synced)]) -> Result<u32> {
        Ok(told::tie(&mut self.tables(), told))
    }

    fn conns(&self) -> Result<Vec<(Flow, Entry)>> {
        let t = self.tables();
        let four = t.four.conns.iter().chain(&t.four.half_open);
        let six = t.six.conns.iter().chain(&t.six.half_open);
        let four = four.map(|(k, c)| (k.wide(), c.wide()));
        Ok(four.chain(six.map(|(k, c)| (*k, *c))).collect())
    }

    fn templates(&self) -> Result<Vec<(Tie, Template)>> {
        let t = self.tables();
        let four = t.four.templates.iter().map(|(k, t)| (k.wide(), *t));
        Ok(four
            .chain(t.six.templates.iter().map(|(k, t)| (*k, *t)))
            .collect())
    }

    fn reasons(&self) -> Result<Vec<u64>> {
        Ok(self.tables().reasons.clone())
    }

    fn cached(&self, cache: Cache) -> Result<Vec<(LblcKey, u64)>> {
        let t = self.tables();
        Ok(match cache {
            Cache::Lblc => t.lblc.iter().map(|(k, e)| (*k, e.last_use)).collect(),
            Cache::Lblcr => t.lblcr.iter().map(|(k, e)| (*k, e.last_use)).collect(),
        })
    }

    fn remove_cached(&mut self, cache: Cache, keys: &[LblcKey]) -> Result<()> {
        let mut t = self.tables();
        for key in keys {
            match cache {
                Cache::Lblc => drop(t.lblc.remove(key)),
                Cache::Lblcr => drop(t.lblcr.remove(key)),
            }
        }
        Ok(())
    }

    fn settings(&self) -> Result<Settings> {
        Ok(self.tables().settings)
    }

    fn services(&self) -> Result<Vec<(ServiceKey, Service)>> {
        Ok(self
            .tables()
            .services
            .iter()
            .map(|(k, s)| (*k, *s))
            .collect())
    }

    fn read_list(&self, base: u32, len: u32) -> Result<Vec<ListSlot>> {
        let t = self.tables();
        let list = t.lists.get(base as usize..(base + len) as usize);
        slot(list.map(Vec::from), maps::DEST_LISTS, "lookup", base)
    }

    fn read_table(&self, base: u32, len: u32) -> Result<Vec<u32>> {
        let t = self.tables();
        let table = t.hash_tables.get(base as usize..(base + len) as usize);
        slot(table.map(Vec::from), maps::HASH_TABLES, "lookup", base)
    }

    fn dest(&self, id: u32) -> Result<Dest> {
        let dest = self.tables().dests.get(id as usize).copied();
        slot(dest, maps::DESTS, "lookup", id)
    }

    fn ledger(&self) -> Result<Vec<(Key, Value)>> {
        Ok(self.noted().iter().map(|(k, v)| (*k, *v)).collect())
    }

    fn put_ledger(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let room = self.tables().capacities.entries(maps::LEDGER);
        let mut noted = self.noted();
        let new = entries.iter().filter(|(key, _)| !noted.contains_key(key));
        if noted.len() + new.count() > room.unwrap_or_default() as usize {
            return slot(None, maps::LEDGER, "update", 0);
        }
        noted.extend(entries.iter().copied());
        Ok(())
    }

    fn remove_ledger(&mut self, keys: &[Key]) -> Result<()> {
        let mut noted = self.noted();
        for key in keys {
            noted.remove(key);
        }
        Ok(())
    }

    /// Whole at any time, but for parts.
    fn walk(&mut self, mut task: Task<'_>, place: &mut Place, stop: Stop) -> Result<bool> {
        let t = &mut *self.tables();
        for table in [Table::HalfOpen, Table::Established] {
            walk_connections::<[u8; 4]>(t, table, &mut task, place.at, stop);
            walk_connections::<Addr>(t, table, &mut task, place.at, stop);
        }
        walk_templates::<[u8; 4]>(t, &mut task);
        walk_templates::<Addr>(t, &mut task);
        place.at += 1;
        let parts = match stop {
            Stop::Part(parts) => parts,
            Stop::Never | Stop::After(_) => 1,
        };
        let ended = place.at >= parts;
        if ended {
            *place = place.next_round();
        }
        Ok(ended)
    }
}
