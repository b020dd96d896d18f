//! Takes up where another process left off: over the tables and the ledger that it left, with packets flowing.

use ipvs_common::{Settings, SettingsFlags};

use super::{Director, SourceResolver, carry::PastReasons, limits, traffic::Traffic};
use crate::{
    dataplane::{Dataplane, TableError},
    ledger::{self, Key, Unreadable, Written},
    model::Effect,
    reconcile::{ReconcileError, Tables},
};

/// What was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adopted {
    pub services: usize,
    pub dests: usize,
    /// Deleted real servers whose index is not free yet.
    pub trash: usize,
    /// A batch of commands had been cut short, and was finished.
    pub finished: bool,
}

/// What is there cannot be taken over; it was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Repair(#[from] ReconcileError),
}

impl Director {
    /// Over tables that may be in use: goes on with what is there, or else begins.
    pub fn open(
        dataplane: Box<dyn Dataplane>,
        source: SourceResolver,
    ) -> Result<(Self, Option<Adopted>), AdoptError> {
        let entries = dataplane.ledger()?;
        if entries.iter().any(|(key, _)| *key == Key::BEGUN) {
            let (director, adopted) = Self::adopt(dataplane, source, &entries)?;
            return Ok((director, Some(adopted)));
        }
        Ok((Self::new(dataplane, source)?, None))
    }

    fn adopt(
        mut dataplane: Box<dyn Dataplane>,
        source: SourceResolver,
        entries: &[(Key, ledger::Value)],
    ) -> Result<(Self, Adopted), AdoptError> {
        let (settled, cut) = ledger::settle(entries);
        let restored = ledger::restore(&settled, limits(dataplane.capacities()))?;
        let stored = dataplane.settings()?;
        let settings = Settings {
            hz: dataplane.hz(),
            // Whoever told a backup is gone; a new one begins by itself.
            flags: stored.flags & !SettingsFlags::SYNC_MASTER,
            ..stored
        };
        let model = restored.model.clone();
        let stands = Written::new(stand(entries));
        let mut tables = Tables::take_over(dataplane.as_mut(), settings, &model, stands)?;
        tables.repair(dataplane.as_mut(), &model, &source)?;
        for id in cut.iter().flatten() {
            lift_overload(dataplane.as_mut(), &model, *id)?;
        }
        tables.settle(dataplane.as_mut(), entries, &settled)?;

        let now = dataplane.now()?;
        let counted = dataplane.all_dest_stats(model.dest_indices())?;
        let adopted = Adopted {
            services: model.services().count(),
            dests: model.services().map(|s| s.dests.len()).sum(),
            trash: model.trash().count(),
            finished: cut.is_some(),
        };
        let mut this = Self::assembled(model, tables, dataplane, source);
        this.traffic = Traffic::resume(&restored, &this.model, &counted, now);
        this.past_reasons = PastReasons(restored.reasons.iter().cloned().collect());
        this.resume_reals()?;
        this.resume_knobs(&restored.knobs)?;
        this.resume_waiting()?;
        let added = |s: &crate::model::VirtualService| Effect::ServiceAdded { service: s.id };
        let timers: Vec<_> = this.model.services().map(added).collect();
        this.set_cache_timers(&timers, now);
        Ok((this, adopted))
    }

    /// Announced connections may be waiting: until when, stands in their entries.
    fn resume_waiting(&mut self) -> Result<(), TableError> {
        if self.tables.settings().flags & SettingsFlags::HAS_EXPECTED == 0 {
            return Ok(());
        }
        let conns = self.dataplane.conns()?;
        let waiting = conns
            .iter()
            .filter(|(key, conn)| key.sport == [0; 2] && conn.packets == 0);
        self.waiting.0 = waiting.map(|(_, conn)| conn.expires).max();
        Ok(())
    }

    /// Walks that were cut short begin again.
    pub fn resume_walks(&mut self) -> Result<(), TableError> {
        self.begin_ending()
    }
}

/// The entries as they stand, without those of a batch.
fn stand(entries: &[(Key, ledger::Value)]) -> std::collections::BTreeMap<Key, ledger::Value> {
    let stand = entries
        .iter()
        .filter(|(key, _)| !key.is_pending() && *key != Key::BATCH);
    stand.copied().collect()
}

/// The command that was cut short may have lifted the threshold under the mark of overload.
fn lift_overload(
    dataplane: &mut dyn Dataplane,
    model: &crate::model::Model,
    id: u32,
) -> Result<(), TableError> {
    let upper = model.all_dests().find(|d| d.id == id).map(|d| d.spec.upper);
    let state = dataplane.dest_state(id)?;
    let below = upper.is_some_and(|upper| upper == 0 || state.active + state.inactive < upper);
    if state.overloaded != 0 && below {
        dataplane.clear_overload(id)?;
    }
    Ok(())
}
