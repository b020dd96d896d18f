//! A model as it was, from its services and the trash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipvs_common::ServiceKey;

use super::{
    ids::Ids,
    matches::{MatchRule, check_rules},
    state::{Limits, Model, Trashed, VirtualService},
};

impl Model {
    /// The indices are taken as they are; what contradicts itself or does not fit is refused.
    pub(crate) fn restore(
        limits: Limits,
        services: impl IntoIterator<Item = VirtualService>,
        trash: Vec<(ServiceKey, Trashed)>,
        matches: Vec<MatchRule>,
    ) -> Result<Self, String> {
        check_rules(&matches).map_err(|(place, e)| format!("match rule {}: {e}", place + 1))?;
        let mut model = Self::new(limits);
        model.matches = matches.into();
        let mut index: BTreeMap<ServiceKey, u32> = BTreeMap::new();
        let mut dests = BTreeSet::new();
        for service in services {
            index.insert(service.key, service.id);
            for dest in &service.dests {
                once(&mut dests, dest.id)?;
            }
            model.services.insert(service.id, Arc::new(service));
        }
        for (service, gone) in trash {
            once(&mut dests, gone.dest.id)?;
            if *index.entry(service).or_insert(gone.service) != gone.service {
                return Err(format!("service {} has two indices", gone.service));
            }
            model.trash.insert((service, gone.dest.key), gone);
        }
        let ids: BTreeSet<u32> = index.values().copied().collect();
        if ids.len() != index.len() {
            return Err("an index is of two services".to_owned());
        }
        fits("services", &ids, limits.services)?;
        fits("real_servers", &dests, limits.dests)?;
        model.service_ids = Ids::restored(limits.services, &ids);
        model.dest_ids = Ids::restored(limits.dests, &dests);
        model.index = index;
        Ok(model)
    }
}

fn once(dests: &mut BTreeSet<u32>, id: u32) -> Result<(), String> {
    let new = dests.insert(id);
    new.then_some(())
        .ok_or_else(|| format!("index {id} is of two real servers"))
}

fn fits(setting: &str, ids: &BTreeSet<u32>, limit: u32) -> Result<(), String> {
    match ids.last() {
        Some(last) if *last >= limit => Err(format!(
            "index {last} is in use, which `{setting} = {limit}` of [director] has no room for: raise it to {} at least",
            last + 1
        )),
        Some(_) | None => Ok(()),
    }
}
