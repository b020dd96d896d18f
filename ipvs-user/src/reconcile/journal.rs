//! Writes to the tables that can be taken back.

use ipvs_common::{Dest, ListSlot, SchedState, Service, ServiceKey, Settings};

use super::{ReconcileError, Tables, matches::Standing};
use crate::{
    dataplane::{Dataplane, TableError},
    ledger::{self, Changes, Key, Value},
    plan::{self, Block},
};

/// How to take one write back.
#[derive(Clone, Copy)]
enum Undo {
    Service(ServiceKey, Option<Service>),
    Dest(u32, Option<Dest>),
    Sched(u32, SchedState),
    Settings(Settings),
    /// An entry of the ledger.
    Entry(Key, Option<Value>),
    /// The batch is no longer under way.
    Batch,
}

pub(super) struct Journal<'a> {
    pub(super) tables: &'a mut Tables,
    pub(super) dataplane: &'a mut dyn Dataplane,
    undo: Vec<Undo>,
    /// Lists written; in use once the change is done.
    taken: Vec<Block>,
    /// Lists that are out of use once the change is done.
    replaced: Vec<Block>,
    taken_tables: Vec<Block>,
    replaced_tables: Vec<Block>,
    /// Match rules written, and those that were in force before.
    taken_matches: Option<Standing>,
    replaced_matches: Option<Standing>,
    /// Entries that wait for the batch to be done.
    pending: Vec<Key>,
}

impl<'a> Journal<'a> {
    pub(super) const fn new(tables: &'a mut Tables, dataplane: &'a mut dyn Dataplane) -> Self {
        Self {
            tables,
            dataplane,
            undo: Vec::new(),
            taken: Vec::new(),
            replaced: Vec::new(),
            taken_tables: Vec::new(),
            replaced_tables: Vec::new(),
            taken_matches: None,
            replaced_matches: None,
            pending: Vec::new(),
        }
    }

    pub(super) fn taken_matches(&mut self, taken: Standing) {
        self.taken_matches = Some(taken);
    }

    pub(super) fn replaced_matches(&mut self, replaced: Standing) {
        self.replaced_matches = Some(replaced);
    }

    /// Notes what the batch comes to, before it begins: whoever finds it unfinished finishes it.
    pub(super) fn announce(&mut self, records: &Changes) -> Result<(), TableError> {
        if records.is_empty() {
            return Ok(());
        }
        let batch = self.tables.ledger.next_batch();
        let pending = ledger::pending(records, batch);
        self.pending = pending.iter().map(|(key, _)| *key).collect();
        self.dataplane.put_ledger(&pending)?;
        self.undo.push(Undo::Batch);
        let value = Value {
            batch,
            ..Value::of(&0_u64)
        };
        self.dataplane.put_ledger(&[(Key::BATCH, value)])
    }

    /// Writes the records to their places.
    pub(super) fn note(&mut self, records: &Changes) -> Result<(), TableError> {
        let before = |key: &Key| Undo::Entry(*key, self.tables.ledger.get(*key));
        let undo: Vec<_> = records.keys().map(before).collect();
        self.undo.extend(undo);
        let there = records
            .iter()
            .filter_map(|(key, value)| Some((*key, (*value)?)));
        let there: Vec<_> = there.collect();
        let gone = records.iter().filter(|(_, value)| value.is_none());
        let gone: Vec<_> = gone.map(|(key, _)| *key).collect();
        if !there.is_empty() {
            self.dataplane.put_ledger(&there)?;
        }
        if !gone.is_empty() {
            self.dataplane.remove_ledger(&gone)?;
        }
        for (key, value) in records {
            self.tables.ledger.set(*key, *value);
        }
        Ok(())
    }

    /// The batch is done.
    pub(super) fn conclude(&mut self) -> Result<(), TableError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // The batch first: without it the others mean nothing.
        let over: Vec<_> = std::iter::once(Key::BATCH)
            .chain(self.pending.iter().copied())
            .collect();
        self.dataplane.remove_ledger(&over)
    }

    pub(super) fn write_list(
        &mut self,
        list: &[ListSlot],
        now: u64,
    ) -> Result<Block, ReconcileError> {
        let needed = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let block = self
            .tables
            .space
            .take(needed, now)
            .ok_or(ReconcileError::ListSpace { needed })?;
        self.taken.push(block);
        if needed > 0 {
            self.dataplane.write_list(block.base, list)?;
        }
        Ok(block)
    }

    /// The same for a scheduler's hash table. The block returned is as long as the table; the place, even.
    pub(super) fn write_table(&mut self, slots: &[u32], now: u64) -> Result<Block, ReconcileError> {
        let len = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let block = self
            .tables
            .table_space
            .take(even(len), now)
            .ok_or(ReconcileError::TableSpace { needed: len })?;
        self.taken_tables.push(block);
        if len > 0 {
            self.dataplane.write_table(block.base, slots)?;
        }
        Ok(Block { len, ..block })
    }

    /// Writes a real server unless it stands there already.
    pub(super) fn put_dest(&mut self, id: u32, dest: &Dest) -> Result<(), TableError> {
        let before = self.tables.dests.get(&id).copied();
        if before == Some(*dest) {
            return Ok(());
        }
        self.undo.push(Undo::Dest(id, before));
        self.dataplane.put_dest(id, dest)?;
        self.tables.dests.insert(id, *dest);
        Ok(())
    }

    /// Takes a real server out of use; what it was stays readable.
    pub(super) fn retire_dest(&mut self, id: u32) -> Result<(), TableError> {
        match self.tables.dests.get(&id) {
            Some(dest) => {
                let retired = plan::deleted(dest);
                self.put_dest(id, &retired)
            }
            None => Ok(()),
        }
    }

    pub(super) fn put_service(
        &mut self,
        key: &ServiceKey,
        service: &Service,
    ) -> Result<(), TableError> {
        self.replace_list(key, Some(service));
        self.undo
            .push(Undo::Service(*key, self.tables.services.get(key).copied()));
        self.dataplane.put_service(key, service)?;
        self.tables.services.insert(*key, *service);
        Ok(())
    }

    pub(super) fn remove_service(&mut self, key: &ServiceKey) -> Result<(), TableError> {
        let Some(service) = self.tables.services.get(key).copied() else {
            return Ok(());
        };
        self.replace_list(key, None);
        self.undo.push(Undo::Service(*key, Some(service)));
        self.dataplane.remove_service(key)?;
        self.tables.services.remove(key);
        Ok(())
    }

    pub(super) fn put_sched(
        &mut self,
        service: u32,
        before: SchedState,
        after: SchedState,
    ) -> Result<(), TableError> {
        self.undo.push(Undo::Sched(service, before));
        self.dataplane.put_sched_state(service, &after)
    }

    pub(super) fn put_settings(&mut self, settings: &Settings) -> Result<(), TableError> {
        self.undo.push(Undo::Settings(self.tables.settings));
        self.dataplane.put_settings(settings)?;
        self.tables.settings = *settings;
        Ok(())
    }

    /// The change stands: lists out of use start their rest.
    pub(super) fn commit(self, now: u64) {
        for block in self.replaced {
            self.tables.space.release(block, now);
        }
        for block in self.replaced_tables {
            self.tables.table_space.release(block, now);
        }
        if let Some(gone) = self.replaced_matches {
            self.tables.matches.release(gone, now);
        }
    }

    /// Takes everything back, last write first, and goes on past errors.
    pub(super) fn roll_back(mut self, cause: ReconcileError, now: u64) -> ReconcileError {
        let mut failed = None;
        while let Some(undo) = self.undo.pop() {
            if let Err(e) = self.take_back(undo) {
                failed.get_or_insert(e);
            }
        }
        // A packet may have read the new service before it was taken back; where that failed, packets still do.
        let named: Vec<Service> = self.tables.services.values().copied().collect();
        for block in std::mem::take(&mut self.taken) {
            if !named
                .iter()
                .any(|s| s.list_len > 0 && s.list_base == block.base)
            {
                self.tables.space.release(block, now);
            }
        }
        for block in std::mem::take(&mut self.taken_tables) {
            if !named
                .iter()
                .any(|s| s.table_len > 0 && s.table_base == block.base)
            {
                self.tables.table_space.release(block, now);
            }
        }
        if let Some(before) = self.replaced_matches.take() {
            self.tables.matches.stands = before;
        }
        if let Some(taken) = self.taken_matches.take()
            && self.tables.settings.match_set != taken.set
        {
            self.tables.matches.release(taken, now);
        }
        forget_pending(self.dataplane, &self.pending);
        match failed {
            Some(undo) => ReconcileError::HalfDone {
                cause: Box::new(cause),
                undo,
            },
            None => cause,
        }
    }

    fn take_back(&mut self, undo: Undo) -> Result<(), TableError> {
        match undo {
            Undo::Service(key, Some(service)) => {
                self.dataplane.put_service(&key, &service)?;
                self.tables.services.insert(key, service);
            }
            Undo::Service(key, None) => {
                self.dataplane.remove_service(&key)?;
                self.tables.services.remove(&key);
            }
            Undo::Dest(id, Some(dest)) => {
                self.dataplane.put_dest(id, &dest)?;
                self.tables.dests.insert(id, dest);
            }
            Undo::Dest(id, None) => {
                self.dataplane.put_dest(id, &Dest::default())?;
                self.tables.dests.remove(&id);
            }
            Undo::Sched(service, state) => self.dataplane.put_sched_state(service, &state)?,
            Undo::Settings(settings) => {
                self.dataplane.put_settings(&settings)?;
                self.tables.settings = settings;
            }
            Undo::Entry(key, value) => {
                match value {
                    Some(value) => self.dataplane.put_ledger(&[(key, value)])?,
                    None => self.dataplane.remove_ledger(&[key])?,
                }
                self.tables.ledger.set(key, value);
            }
            Undo::Batch => self.dataplane.remove_ledger(&[Key::BATCH])?,
        }
        Ok(())
    }

    fn replace_list(&mut self, key: &ServiceKey, by: Option<&Service>) {
        let old = self.tables.list_of(key);
        if by.is_none_or(|s| s.list_base != old.base || s.list_len != old.len) {
            self.replaced.push(old);
        }
        let old = self.tables.table_of(key);
        if by.is_none_or(|s| s.table_base != old.base || s.table_len != old.len) {
            self.replaced_tables.push(Block {
                len: even(old.len),
                ..old
            });
        }
    }
}

/// What waited for a batch means nothing without it: it is in nobody's way if it stays.
fn forget_pending(dataplane: &mut dyn Dataplane, pending: &[Key]) {
    if !pending.is_empty()
        && let Err(e) = dataplane.remove_ledger(pending)
    {
        tracing::warn!("notes of a finished batch: {e}");
    }
}

/// Tables start at even slots.
const fn even(len: u32) -> u32 {
    len.next_multiple_of(2)
}
