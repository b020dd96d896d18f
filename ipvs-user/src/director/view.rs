//! What a listing shows: the configuration with the counts and the traffic of the moment.

use ipvs_common::{DestState, ServiceKey, Stats};

use super::{Director, Rates};
use crate::{
    dataplane::TableError,
    model::{DestKey, DestSpec, RealServer, ServiceSpec, VirtualService},
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceView {
    pub key: ServiceKey,
    pub spec: ServiceSpec,
    /// Since the service was added or zeroed, deleted real servers included.
    pub stats: Stats,
    pub rates: Rates,
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
    pub rates: Rates,
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
        let counted = self.dataplane.all_dest_stats(self.model.dest_indices())?;
        let counted = |dest| Ok(counted.get(dest as usize).copied().unwrap_or_default());
        let services = self.model.services();
        services.map(|s| self.view(s, &counted)).collect()
    }

    pub fn service(&self, key: &ServiceKey) -> Result<Option<ServiceView>, TableError> {
        let counted = |dest| self.dataplane.dest_stats(dest);
        let service = self.model.service(key);
        service.map(|s| self.view(s, &counted)).transpose()
    }

    /// All traffic since the director started or everything was zeroed.
    pub fn totals(&self) -> Result<Stats, TableError> {
        let counted = self.dataplane.all_dest_stats(self.model.dest_indices())?;
        let counted = |dest: u32| counted.get(dest as usize).copied().unwrap_or_default();
        let dests = self.model.all_dests();
        let all = dests.fold(Stats::default(), |sum, d| sum.plus(counted(d.id)));
        Ok(self.traffic.total().stats(all))
    }

    /// What happens in a second, all in all.
    #[must_use]
    pub const fn total_rates(&self) -> Rates {
        self.traffic.total().rates()
    }

    /// What the datapath counts of a real server now.
    pub fn dest_counts(&self, dest: u32) -> Result<DestState, TableError> {
        self.dataplane.dest_state(dest)
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

    /// `counted` tells what the datapath counted of a real server.
    fn view(
        &self,
        service: &VirtualService,
        counted: &dyn Fn(u32) -> Result<Stats, TableError>,
    ) -> Result<ServiceView, TableError> {
        let mut sum = Stats::default();
        let mut dests = Vec::with_capacity(service.dests.len());
        for dest in &service.dests {
            let counted = counted(dest.id)?;
            sum = sum.plus(counted);
            dests.push(self.dest_view(dest, counted)?);
        }
        for gone in self.model.gone_of(&service.key) {
            sum = sum.plus(counted(gone.dest.id)?);
        }
        let account = self.traffic.of_service(service.id);
        Ok(ServiceView {
            key: service.key,
            spec: service.spec,
            stats: account.stats(sum),
            rates: account.rates(),
            dests,
        })
    }

    fn dest_view(&self, dest: &RealServer, counted: Stats) -> Result<DestView, TableError> {
        let state = self.dataplane.dest_state(dest.id)?;
        let account = self.traffic.of_dest(dest.id);
        Ok(DestView {
            key: dest.key,
            spec: dest.spec,
            active: state.active,
            inactive: state.inactive,
            persistent: state.persistent,
            overloaded: state.overloaded != 0,
            stats: account.stats(counted),
            rates: account.rates(),
        })
    }
}
