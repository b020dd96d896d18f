//! What a listing shows: the configuration with the counts and the traffic of the moment.

use ipvs_common::{ServiceKey, Stats};

use super::Director;
use crate::{
    dataplane::TableError,
    model::{DestKey, DestSpec, RealServer, ServiceSpec, VirtualService},
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceView {
    pub key: ServiceKey,
    pub spec: ServiceSpec,
    /// Since the service was added, deleted real servers included.
    pub stats: Stats,
    /// Newest first.
    pub dests: Vec<DestView>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestView {
    pub key: DestKey,
    pub spec: DestSpec,
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    pub overloaded: bool,
    pub stats: Stats,
}

/// How full the daemon's own tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    pub services: usize,
    pub dests: usize,
    /// Deleted real servers whose index is not free yet.
    pub trash: usize,
    pub free_list_slots: u32,
}

impl Director {
    /// Every service, in an order that stays the same from call to call.
    pub fn services(&self) -> Result<Vec<ServiceView>, TableError> {
        self.model.services().map(|s| self.view(s)).collect()
    }

    pub fn service(&self, key: &ServiceKey) -> Result<Option<ServiceView>, TableError> {
        self.model.service(key).map(|s| self.view(s)).transpose()
    }

    /// All traffic since the director started.
    pub fn totals(&self) -> Result<Stats, TableError> {
        self.model
            .all_dests()
            .try_fold(self.folded_total, |sum, d| Ok(sum.plus(self.stats_of(d)?)))
    }

    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            services: self.model.services().count(),
            dests: self.model.services().map(|s| s.dests.len()).sum(),
            trash: self.model.trash().count(),
            free_list_slots: self.tables.free_list_slots(),
        }
    }

    fn view(&self, service: &VirtualService) -> Result<ServiceView, TableError> {
        let dests = service.dests.iter().map(|d| self.dest_view(d));
        let dests: Vec<_> = dests.collect::<Result<_, _>>()?;
        let mut stats = self.folded.get(&service.id).copied().unwrap_or_default();
        for dest in &dests {
            stats = stats.plus(dest.stats);
        }
        for (key, gone) in self.model.trash() {
            if *key == service.key && !gone.orphan {
                stats = stats.plus(self.stats_of(&gone.dest)?);
            }
        }
        Ok(ServiceView {
            key: service.key,
            spec: service.spec,
            stats,
            dests,
        })
    }

    fn dest_view(&self, dest: &RealServer) -> Result<DestView, TableError> {
        let state = self.dataplane.dest_state(dest.id)?;
        Ok(DestView {
            key: dest.key,
            spec: dest.spec,
            active: state.active,
            inactive: state.inactive,
            persistent: state.persistent,
            overloaded: state.overloaded != 0,
            stats: self.stats_of(dest)?,
        })
    }

    pub(super) fn stats_of(&self, dest: &RealServer) -> Result<Stats, TableError> {
        self.dataplane.dest_stats(dest.id)
    }
}
