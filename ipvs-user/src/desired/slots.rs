//! Which share of the clients of a hashed service goes elsewhere after a change.

use ipvs_common::ServiceKey;

use crate::{
    model::{DestKey, Model, VirtualService},
    plan::hash_table,
};

/// A service under sh or mh, some of whose slots change hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    pub service: ServiceKey,
    pub moved: usize,
    pub slots: usize,
}

/// Compares the tables of those services that are in both models.
#[must_use]
pub fn moved(before: &Model, after: &Model, maglev: u32, services: &[ServiceKey]) -> Vec<Moved> {
    let each = services.iter().filter_map(|key| {
        let (before, after) = (before.service(key)?, after.service(key)?);
        let (old, new) = (owners(before, maglev), owners(after, maglev));
        if old.is_empty() || old.len() != new.len() {
            return None;
        }
        let moved = old.iter().zip(&new).filter(|(a, b)| a != b).count();
        (moved > 0).then_some(Moved {
            service: *key,
            moved,
            slots: old.len(),
        })
    });
    each.collect()
}

/// The real server of each slot.
fn owners(service: &VirtualService, maglev: u32) -> Vec<Option<DestKey>> {
    let named = |id: &u32| service.dests.iter().find(|d| d.id == *id).map(|d| d.key);
    hash_table(service, maglev).iter().map(named).collect()
}
