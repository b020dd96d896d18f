//! Deleted real servers: when their index is free again, and where their traffic is kept.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{ServiceKey, Stats};

use super::Director;
use crate::{
    dataplane::TableError,
    model::{DestKey, Effect, Origin, Trashed},
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
        let stats = freed.iter().map(|t| self.stats_of(&t.dest));
        let stats: Vec<_> = stats.collect::<Result<_, _>>()?;
        self.model = after;
        for (gone, stats) in freed.iter().zip(stats) {
            self.fold(gone, stats);
        }
        Ok(())
    }

    /// Keeps the traffic of an index that goes to another real server.
    fn fold(&mut self, gone: &Trashed, stats: Stats) {
        self.folded_total = self.folded_total.plus(stats);
        if !gone.orphan {
            let folded = self.folded.entry(gone.service).or_default();
            *folded = folded.plus(stats);
        }
        self.idle.0.remove(&gone.dest.id);
        self.tables.forget_dest(gone.dest.id);
    }

    /// The folded traffic after a change: a deleted service's is dropped, and what an orphan brings along from the time of
    /// the former service is taken off the new one.
    pub(super) fn folds_after(
        &self,
        effects: &[Effect],
    ) -> Result<BTreeMap<u32, Stats>, TableError> {
        let mut folded = self.folded.clone();
        for effect in effects {
            match *effect {
                Effect::ServiceRemoved { service, .. } => {
                    folded.remove(&service);
                }
                Effect::DestAdded {
                    service,
                    dest,
                    origin: Origin::Trash { orphan: true },
                } => {
                    let base = folded.entry(service).or_default();
                    *base = base.plus(negative(self.dataplane.dest_stats(dest)?));
                }
                Effect::ServiceAdded { .. }
                | Effect::ServiceEdited { .. }
                | Effect::DestAdded { .. }
                | Effect::DestEdited { .. }
                | Effect::DestRemoved { .. }
                | Effect::WrrChanged { .. }
                | Effect::OverloadLifted { .. } => {}
            }
        }
        Ok(folded)
    }
}

/// What added to `s` gives zero: sums of statistics wrap.
const fn negative(s: Stats) -> Stats {
    Stats {
        conns: s.conns.wrapping_neg(),
        in_packets: s.in_packets.wrapping_neg(),
        out_packets: s.out_packets.wrapping_neg(),
        in_bytes: s.in_bytes.wrapping_neg(),
        out_bytes: s.out_bytes.wrapping_neg(),
    }
}
