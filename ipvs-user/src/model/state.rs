//! The state itself and how to read it. Changes are in [`super::apply`].

use std::{collections::BTreeMap, sync::Arc};

use ipvs_common::ServiceKey;

use super::{
    command::{DestKey, DestSpec, ServiceSpec},
    ids::Ids,
    matches::MatchRules,
};

/// How much fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub services: u32,
    pub dests: u32,
    pub dests_per_service: u32,
    /// Slots of the table of a service under mh.
    pub maglev: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtualService {
    pub id: u32,
    pub key: ServiceKey,
    pub spec: ServiceSpec,
    /// Newest first.
    pub dests: Vec<RealServer>,
}

impl VirtualService {
    /// Place of a real server in the list.
    #[must_use]
    pub fn position(&self, key: &DestKey) -> Option<usize> {
        self.dests.iter().position(|d| d.key == *key)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealServer {
    pub id: u32,
    pub key: DestKey,
    pub spec: DestSpec,
    /// The last weight that was not 0: by it Maglev's table is filled, so that quiescing moves nobody else.
    pub last_weight: u32,
}

/// A deleted real server whose index is not free yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trashed {
    pub dest: RealServer,
    /// Index of its service, which stays reserved while this is here.
    pub service: u32,
    /// The service was deleted, too, after or together with it.
    pub orphan: bool,
}

/// Services are shared, so that a copy of the whole (to go back to) is cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    pub(super) dests_per_service: u32,
    pub(super) maglev: u32,
    pub(super) services: BTreeMap<u32, Arc<VirtualService>>,
    /// Indices of the services, also of deleted ones that still have real servers in the trash.
    pub(super) index: BTreeMap<ServiceKey, u32>,
    pub(super) trash: BTreeMap<(ServiceKey, DestKey), Trashed>,
    pub(super) matches: MatchRules,
    pub(super) service_ids: Ids,
    pub(super) dest_ids: Ids,
}

impl Model {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            dests_per_service: limits.dests_per_service,
            maglev: limits.maglev,
            services: BTreeMap::new(),
            index: BTreeMap::new(),
            trash: BTreeMap::new(),
            matches: MatchRules::from([]),
            service_ids: Ids::new(limits.services),
            dest_ids: Ids::new(limits.dests),
        }
    }

    /// In an order that no command on another service changes.
    pub fn services(&self) -> impl Iterator<Item = &VirtualService> {
        self.services.values().map(AsRef::as_ref)
    }

    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&VirtualService> {
        self.service_by_id(*self.index.get(key)?)
    }

    #[must_use]
    pub fn service_by_id(&self, id: u32) -> Option<&VirtualService> {
        self.services.get(&id).map(AsRef::as_ref)
    }

    /// Deleted real servers, each with the key of its service.
    pub fn trash(&self) -> impl Iterator<Item = (&ServiceKey, &Trashed)> {
        self.trash.iter().map(|((service, _), t)| (service, t))
    }

    /// Deleted real servers of a service that is there.
    pub fn gone_of(&self, service: &ServiceKey) -> impl Iterator<Item = &Trashed> {
        let of_key = self.trash.range((*service, DestKey::FIRST)..);
        let of_key = of_key.take_while(move |((key, _), _)| key == service);
        of_key.map(|(_, t)| t).filter(|t| !t.orphan)
    }

    /// No real server has an index from here on.
    #[must_use]
    pub const fn dest_indices(&self) -> u32 {
        self.dest_ids.end()
    }

    /// Every real server there is, deleted ones included.
    pub fn all_dests(&self) -> impl Iterator<Item = &RealServer> {
        let live = self.services().flat_map(|s| &s.dests);
        live.chain(self.trash.values().map(|t| &t.dest))
    }
}
