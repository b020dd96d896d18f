//! The datapath's tables on the host, shared with whoever pushes packets through them: for tests and for the replay of traces.
//! The clock stands until someone moves it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipvs_common::{
    Conn, Dest, DestState, FlowKey, ListSlot, SchedState, Service, ServiceKey, Settings, Stats,
    Template, TemplateKey,
    maps::{self, Capacities},
};
use ipvs_datapath::{conn::Table, expire, host::HostTables};

use super::{Dataplane, Result, TableError};

/// The tables of [`ipvs_datapath::host`] behind a lock.
#[derive(Clone, Debug)]
pub struct HostDataplane(Arc<Mutex<HostTables>>);

impl HostDataplane {
    #[must_use]
    pub const fn new(tables: Arc<Mutex<HostTables>>) -> Self {
        Self(tables)
    }

    /// A test that failed with the lock held leaves nothing half done that matters here.
    fn tables(&self) -> MutexGuard<'_, HostTables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn conns(&self) -> Result<Vec<(FlowKey, Conn)>> {
        let t = self.tables();
        let both = t.conns.iter().chain(&t.half_open);
        Ok(both.map(|(k, c)| (*k, *c)).collect())
    }

    fn templates(&self) -> Result<Vec<(TemplateKey, Template)>> {
        Ok(self
            .tables()
            .templates
            .iter()
            .map(|(k, t)| (*k, *t))
            .collect())
    }

    fn reasons(&self) -> Result<Vec<u64>> {
        Ok(self.tables().reasons.clone())
    }

    fn expire(&mut self) -> Result<()> {
        let mut t = self.tables();
        let now = t.clock;
        for table in [Table::HalfOpen, Table::Established] {
            let flows = match table {
                Table::HalfOpen => &t.half_open,
                Table::Established => &t.conns,
            };
            let due = flows.iter().filter(|(_, c)| c.expires <= now);
            let due: Vec<_> = due.map(|(key, _)| *key).collect();
            for key in &due {
                expire::connection(&mut *t, table, key);
            }
        }
        let due = t.templates.iter().filter(|(_, t)| t.expires <= now);
        let templates: Vec<_> = due.map(|(key, _)| *key).collect();
        for key in &templates {
            expire::template(&mut *t, key);
        }
        Ok(())
    }
}
