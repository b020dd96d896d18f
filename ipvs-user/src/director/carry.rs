//! Counts of tables that are no longer used: those that a migration came from. They are added to what is told.

use std::collections::BTreeMap;

use ipvs_common::Stats;

use super::{Director, estimator::Apart};
use crate::{
    dataplane::TableError,
    ledger::{Changes, DestRecord, Key, Kind, ReasonRecord, ServiceRecord, TotalRecord, Value},
    reasons,
};

/// By kind and name.
#[derive(Clone, Debug, Default)]
pub(super) struct PastReasons(pub(super) BTreeMap<String, u64>);

impl PastReasons {
    /// Adds to counts by slot.
    pub(super) fn add_to(&self, counts: &mut [u64]) {
        if self.0.is_empty() {
            return;
        }
        for (count, name) in counts.iter_mut().zip(reasons::names()) {
            *count += self.0.get(&name).copied().unwrap_or(0);
        }
    }
}

impl Director {
    /// Adds what earlier tables counted of real servers and of reasons, once. Whoever does it again after a crash changes
    /// nothing, until [`Self::carried`] says that it is over.
    pub fn carry(
        &mut self,
        dests: &BTreeMap<u32, Stats>,
        reasons: &BTreeMap<String, u64>,
    ) -> Result<(), TableError> {
        if self.tables.ledger().get(Key::CARRIED).is_some() {
            return Ok(());
        }
        let mut draft = self.traffic.draft();
        let services = self.model.services();
        let live = services.flat_map(|s| s.dests.iter().map(|d| (d.id, Some(s.id))));
        let gone = self.model.trash();
        let gone = gone.map(|(_, t)| (t.dest.id, (!t.orphan).then_some(t.service)));
        for (dest, service) in live.chain(gone) {
            if let Some(counted) = dests.get(&dest) {
                draft.carry(dest, service, *counted);
            }
        }
        let moved = draft.moved();
        let mut past = self.past_reasons.clone();
        for (name, count) in reasons {
            *past.0.entry(name.clone()).or_default() += count;
        }

        let ledger = self.tables.ledger();
        let mut changes = Changes::from([(Key::CARRIED, Some(Value::of(&0_u64)))]);
        for (dest, account) in &moved.dests {
            let key = Key::new(Kind::Dest, *dest);
            let record = ledger.get(key).map(|v| v.read::<DestRecord>());
            let offset = account.offset();
            let record = record.map(|r| Value::of(&DestRecord { offset, ..r }));
            changes.insert(key, record);
        }
        for (service, account) in &moved.services {
            let key = Key::new(Kind::Service, *service);
            let record = ledger.get(key).map(|v| v.read::<ServiceRecord>());
            let offset = account.offset();
            let record = record.map(|r| Value::of(&ServiceRecord { offset, ..r }));
            changes.insert(key, record);
        }
        if let Some(total) = moved.total {
            let offset = total.offset();
            changes.insert(Key::TOTAL, Some(Value::of(&TotalRecord { offset })));
        }
        for (number, (name, count)) in (0..).zip(&past.0) {
            let record = ReasonRecord::new(name, *count);
            changes.insert(Key::new(Kind::Reason, number), Some(Value::of(&record)));
        }
        let changes = ledger.news(changes);
        self.tables.note(self.dataplane.as_mut(), &changes)?;
        self.traffic.settle(moved);
        self.past_reasons = past;
        // What comes over is no traffic of the last two seconds.
        let counted = self.dataplane.all_dest_stats(self.model.dest_indices())?;
        self.traffic.sample(&self.model, &counted, Apart::nothing());
        Ok(())
    }

    /// The tables whose counts were carried over are gone.
    pub fn carried(&mut self) -> Result<(), TableError> {
        let over = self
            .tables
            .ledger()
            .news(Changes::from([(Key::CARRIED, None)]));
        self.tables.note(self.dataplane.as_mut(), &over)
    }
}
