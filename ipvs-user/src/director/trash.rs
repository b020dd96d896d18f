//! Deleted real servers: when their index is free again.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::ServiceKey;

use super::Director;
use crate::{
    dataplane::TableError,
    model::{DestKey, Effect},
};

/// Seconds without connections after which a deleted real server is forgotten. ip_vs keeps one for as long, so that the
/// same real server comes back with its counters.
const IDLE_SECONDS: u64 = 120;

/// Since when real servers in the trash have been without connections, by index.
#[derive(Default)]
pub(super) struct Idle(BTreeMap<u32, u64>);

impl Idle {
    /// Real servers taken back from the trash are not idle, however soon they are deleted again.
    pub(super) fn back_at_work(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::DestAdded { dest, .. } = effect {
                self.0.remove(dest);
            }
        }
    }
}

impl Director {
    /// Frees what was idle for long enough.
    pub(super) fn empty_trash(&mut self, now: u64) -> Result<(), TableError> {
        let mut idle = BTreeMap::new();
        let mut due = Vec::new();
        for (service, gone) in self.model.trash() {
            let state = self.dataplane.dest_state(gone.dest.id)?;
            if (state.active, state.inactive, state.persistent) != (0, 0, 0) {
                continue;
            }
            let since = *self.idle.0.get(&gone.dest.id).unwrap_or(&now);
            idle.insert(gone.dest.id, since);
            if now.saturating_sub(since) >= IDLE_SECONDS * u64::from(self.dataplane.hz()) {
                due.push((*service, gone.dest.key));
            }
        }
        self.idle.0 = idle;
        self.free(&due)
    }

    fn free(&mut self, due: &[(ServiceKey, DestKey)]) -> Result<(), TableError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut after = self.model.clone();
        let freed: Vec<_> = due.iter().filter_map(|(s, d)| after.free(s, d)).collect();
        let ids: BTreeSet<_> = freed.iter().map(|t| t.dest.id).collect();
        self.dataplane.clear_caches_of(&ids)?;
        let counted = freed.iter().map(|t| self.dataplane.dest_stats(t.dest.id));
        let counted: Vec<_> = counted.collect::<Result<_, _>>()?;
        let mut draft = self.traffic.draft();
        for (gone, counted) in freed.iter().zip(counted) {
            draft.fold(gone, counted);
        }
        let moved = draft.moved();
        let indices: Vec<_> = freed.iter().map(|t| (t.dest.id, t.service)).collect();
        let records = self.records_without(&indices, &after, &moved);
        self.tables.note(self.dataplane.as_mut(), &records)?;
        self.model = after;
        self.traffic.settle(moved);
        for (dest, _) in indices {
            self.idle.0.remove(&dest);
            self.tables.forget_dest(dest);
        }
        Ok(())
    }
}
