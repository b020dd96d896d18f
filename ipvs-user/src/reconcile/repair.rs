//! Takes over tables that another process left, and makes them what the model says: a change that was cut short is finished.
//!
//! Every write is one that a change would make, in the same order; what stands already is left alone.

use std::collections::BTreeMap;

use ipvs_common::{Dest, SchedState, Scheduler, Service, Settings, maps::Capacities};

use super::{ReconcileError, Tables, journal::Journal, matches::Matches};
use crate::{
    dataplane::{Cache, Dataplane, TableError},
    ledger::{Key, Value, Written},
    model::{Model, Trashed, VirtualService, WrrRange},
    plan::{self, Block, ListSpace, SourceOf},
};

impl Tables {
    /// Tables as they stand, which may be those of a half-done change to this model.
    pub fn take_over(
        dataplane: &mut dyn Dataplane,
        settings: Settings,
        model: &Model,
        ledger: Written,
    ) -> Result<Self, TableError> {
        let Capacities {
            list_slots,
            table_slots,
            match_slots,
            ..
        } = dataplane.capacities();
        let hold = u64::from(dataplane.hz()) + 1;
        let services: BTreeMap<_, _> = dataplane.services()?.into_iter().collect();
        let mut dests = BTreeMap::new();
        for real in model.all_dests() {
            let dest = dataplane.dest(real.id)?;
            // An index that was never in use, or not yet by this one, stands for nothing.
            if dest.addr == real.key.addr && dest.port == real.key.port.to_be_bytes() {
                dests.insert(real.id, dest);
            }
        }
        // Lists that nobody refers to are free at once: no packet of the time before is still on its way.
        let mut space = ListSpace::new(list_slots, hold);
        let mut table_space = ListSpace::new(table_slots, hold);
        for service in services.values() {
            let (list, table) = places(service);
            if !space.occupy(list) || !table_space.occupy(table) {
                tracing::warn!(service = service.id, "its list is another's, too");
            }
        }
        let matches = Matches::take_over(dataplane, match_slots, hold, settings.match_set)?;
        Ok(Self {
            services,
            dests,
            settings,
            space,
            table_space,
            matches,
            ledger,
        })
    }

    /// Brings the ledger to where the tables are: what a batch came to is written to its place, and the batch is done.
    pub fn settle(
        &mut self,
        dataplane: &mut dyn Dataplane,
        entries: &[(Key, Value)],
        settled: &BTreeMap<Key, Value>,
    ) -> Result<(), TableError> {
        let stands = |key: &Key| self.ledger.get(*key);
        let news = settled
            .iter()
            .filter(|(key, value)| stands(key) != Some(**value));
        let news: Vec<_> = news.map(|(key, value)| (*key, *value)).collect();
        let gone = entries.iter().map(|(key, _)| *key);
        let gone: Vec<_> = gone
            .filter(|key| !settled.contains_key(key) && *key != Key::BATCH && !key.is_pending())
            .collect();
        if !news.is_empty() {
            dataplane.put_ledger(&news)?;
        }
        if !gone.is_empty() {
            dataplane.remove_ledger(&gone)?;
        }
        // The batch before what waited for it: without it that means nothing.
        if entries.iter().any(|(key, _)| *key == Key::BATCH) {
            dataplane.remove_ledger(&[Key::BATCH])?;
        }
        let pending = entries
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| key.is_pending());
        let pending: Vec<_> = pending.collect();
        if !pending.is_empty() {
            dataplane.remove_ledger(&pending)?;
        }
        self.ledger = Written::new(settled.clone());
        Ok(())
    }

    /// Writes what the model says and the tables do not.
    pub fn repair(
        &mut self,
        dataplane: &mut dyn Dataplane,
        model: &Model,
        source: SourceOf<'_>,
    ) -> Result<(), ReconcileError> {
        let now = dataplane.now()?;
        let mut journal = Journal::new(self, dataplane);
        match write(&mut journal, model, source, now) {
            Ok(()) => {
                journal.commit(now);
                Ok(())
            }
            Err(cause) => Err(journal.roll_back(cause, now)),
        }
    }
}

fn places(service: &Service) -> (Block, Block) {
    let list = Block {
        base: service.list_base,
        len: service.list_len,
    };
    let table = Block {
        base: service.table_base,
        len: service.table_len.next_multiple_of(2),
    };
    (list, table)
}

fn write(
    journal: &mut Journal<'_>,
    model: &Model,
    source: SourceOf<'_>,
    now: u64,
) -> Result<(), ReconcileError> {
    let stale: Vec<_> = journal.tables.services.keys().copied().collect();
    for key in stale.iter().filter(|key| model.service(key).is_none()) {
        journal.remove_service(key)?;
    }
    for service in model.services() {
        write_service(journal, service, source, now)?;
    }
    for (_, gone) in model.trash() {
        write_gone(journal, model, gone, source)?;
    }
    journal.repair_matches(model, now)?;
    journal.write_flags(model)?;
    for cache in [Cache::Lblc, Cache::Lblcr] {
        forget_strangers(journal, model, cache)?;
    }
    Ok(())
}

fn write_service(
    journal: &mut Journal<'_>,
    service: &VirtualService,
    source: SourceOf<'_>,
    now: u64,
) -> Result<(), ReconcileError> {
    for (id, dest) in plan::dests(service, source) {
        let dest = plan::over(dest, journal.tables.dests.get(&id));
        journal.put_dest(id, &dest)?;
    }
    let written = journal.tables.services.get(&service.key).copied();
    let (list_at, table_at) = written.map_or_else(Default::default, |s| {
        let table = Block {
            base: s.table_base,
            len: s.table_len,
        };
        (places(&s).0, table)
    });
    let entries = plan::list(service);
    let stands = journal.dataplane.read_list(list_at.base, list_at.len);
    let same_list = written.is_some() && stands.is_ok_and(|list| list == entries);
    let list = if same_list {
        list_at
    } else {
        journal.write_list(&entries, now)?
    };
    let slots = plan::hash_table(service, journal.dataplane.capacities().maglev);
    let stands = journal.dataplane.read_table(table_at.base, table_at.len);
    let same_table = written.is_some() && stands.is_ok_and(|table| table == slots);
    let table = if same_table {
        table_at
    } else {
        journal.write_table(&slots, now)?
    };
    let planned = plan::service(service, list, table);
    fix_scheduler(journal, service, written, same_list)?;
    if written != Some(planned) {
        journal.put_service(&service.key, &planned)?;
    }
    Ok(())
}

/// Another scheduler starts with an empty memory; of a list that changed, the place may be gone.
fn fix_scheduler(
    journal: &mut Journal<'_>,
    service: &VirtualService,
    written: Option<Service>,
    same_list: bool,
) -> Result<(), TableError> {
    let scheduler = service.spec.scheduler;
    let before = journal.dataplane.sched_state(service.id)?;
    let known = written.filter(|w| w.scheduler == scheduler as u8 && w.id == service.id);
    let after = match known {
        None => SchedState::default(),
        Some(_) if same_list => before,
        Some(_) if scheduler == Scheduler::Wrr => WrrRange::of(&service.dests).restart(before),
        Some(_) => {
            let listed = before.last == 0 || service.dests.iter().any(|d| d.id + 1 == before.last);
            let last = if listed { before.last } else { 0 };
            SchedState { last, ..before }
        }
    };
    if after != before {
        journal.put_sched(service.id, before, after)?;
    }
    Ok(())
}

/// A deleted real server: its connections may still ask what it was, and by which policy they go.
fn write_gone(
    journal: &mut Journal<'_>,
    model: &Model,
    gone: &Trashed,
    source: SourceOf<'_>,
) -> Result<(), TableError> {
    let id = gone.dest.id;
    let Some(before) = journal.tables.dests.get(&id).copied() else {
        return journal.put_dest(id, &plan::gone(gone, model, source));
    };
    let policy = model.service_by_id(gone.service).map(|s| s.spec.policy);
    let retired = Dest {
        policy: policy.unwrap_or(before.policy),
        ..plan::deleted(&before)
    };
    journal.put_dest(id, &retired)
}

/// Entries of services that no longer use the cache would mislead those that get their index.
fn forget_strangers(
    journal: &mut Journal<'_>,
    model: &Model,
    cache: Cache,
) -> Result<(), TableError> {
    let scheduler = match cache {
        Cache::Lblc => Scheduler::Lblc,
        Cache::Lblcr => Scheduler::Lblcr,
    };
    let uses = |id: u32| {
        let service = model.service_by_id(id);
        service.is_some_and(|s| s.spec.scheduler == scheduler)
    };
    let entries = journal.dataplane.cached(cache)?;
    let strangers = entries.iter().filter(|(key, _)| !uses(key.service));
    let strangers: Vec<_> = strangers.map(|(key, _)| *key).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    journal.dataplane.remove_cached(cache, &strangers)
}
