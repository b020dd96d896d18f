//! One change: the models before and after it, and the effects between them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use ipvs_common::{Dest, SchedState, Scheduler, ServiceKey};

use super::{ReconcileError, journal::Journal};
use crate::{
    dataplane::TableError,
    ledger::Changes,
    model::{Effect, Model, Origin, VirtualService},
    plan::{self, SourceOf},
};

pub struct Change<'a> {
    pub before: &'a Model,
    pub after: &'a Model,
    /// Of all commands together, in order.
    pub effects: &'a [Effect],
    /// What it comes to in the ledger.
    pub records: &'a Changes,
}

impl Change<'_> {
    /// Effects of many commands cost one list and one replacement for each service.
    pub(super) fn write(
        &self,
        journal: &mut Journal<'_>,
        source: SourceOf<'_>,
        now: u64,
    ) -> Result<(), ReconcileError> {
        // Nobody refers to them yet, so it may be done twice, or in vain.
        self.wipe_fresh_dests(journal)?;
        journal.announce(self.records)?;
        self.reset_new_services(journal)?;
        let touched = self.touched();
        // Those that go make room for those that come.
        for key in touched.iter().filter_map(|id| self.gone(*id)) {
            journal.remove_service(&key)?;
        }
        for service in touched
            .iter()
            .filter_map(|id| self.after.service_by_id(*id))
        {
            self.write_service(journal, service, source, now)?;
        }
        self.fix_pointers(journal)?;
        self.retire_dests(journal)?;
        self.tell_deleted(journal)?;
        if self.effects.contains(&Effect::MatchesReplaced) {
            journal.write_matches(self.after.matches(), now)?;
        }
        journal.write_flags(self.after)?;
        journal.note(self.records)?;
        // Nothing of this can be taken back, and nothing has to be: these forget what no longer holds.
        self.forget(journal)?;
        journal.conclude()?;
        Ok(())
    }

    fn touched(&self) -> BTreeSet<u32> {
        let id = |e: &Effect| match *e {
            Effect::ServiceAdded { service }
            | Effect::ServiceEdited { service, .. }
            | Effect::ServiceRemoved { service, .. }
            | Effect::DestAdded { service, .. }
            | Effect::DestEdited { service, .. }
            | Effect::DestRemoved { service, .. }
            | Effect::WrrChanged { service, .. } => Some(service),
            Effect::OverloadLifted { .. }
            | Effect::Zeroed { .. }
            | Effect::TotalZeroed
            | Effect::MatchesReplaced => None,
        };
        self.effects.iter().filter_map(id).collect()
    }

    /// Key of a service that was there before and no longer is. (Its index may have gone to another one.)
    fn gone(&self, id: u32) -> Option<ServiceKey> {
        let key = self.before.service_by_id(id)?.key;
        self.after.service(&key).is_none().then_some(key)
    }

    fn wipe_fresh_dests(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        for effect in self.effects {
            if let Effect::DestAdded {
                dest,
                origin: Origin::Fresh,
                ..
            } = *effect
            {
                journal.dataplane.clear_dest(dest)?;
            }
        }
        Ok(())
    }

    /// A new service's scheduler has no memory, and neither has one that took over.
    fn reset_new_services(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        for effect in self.effects {
            let (Effect::ServiceAdded { service }
            | Effect::ServiceEdited {
                service,
                rescheduled: true,
            }) = *effect
            else {
                continue;
            };
            let state = journal.dataplane.sched_state(service)?;
            journal.put_sched(service, state, SchedState::default())?;
        }
        Ok(())
    }

    fn write_service(
        &self,
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
        let known = self.before.service(&service.key);
        let known = known.filter(|_| written.is_some());
        let entries = plan::list(service);
        let list = match known {
            Some(old) if plan::list(old) == entries => journal.tables.list_of(&service.key),
            Some(_) | None => journal.write_list(&entries, now)?,
        };
        let maglev = journal.dataplane.capacities().maglev;
        let slots = plan::hash_table(service, maglev);
        let table = match known {
            Some(old) if plan::hash_table(old, maglev) == slots => {
                journal.tables.table_of(&service.key)
            }
            Some(_) | None => journal.write_table(&slots, now)?,
        };
        let planned = plan::service(service, list, table);
        if written != Some(planned) {
            journal.put_service(&service.key, &planned)?;
        }
        Ok(())
    }

    /// Where a round robin stands after the change of its list.
    fn fix_pointers(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        let mut states: BTreeMap<u32, (SchedState, SchedState)> = BTreeMap::new();
        for effect in self.effects {
            let (Effect::DestRemoved { service, .. } | Effect::WrrChanged { service, .. }) =
                *effect
            else {
                continue;
            };
            let (_, state) = match states.entry(service) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let state = journal.dataplane.sched_state(service)?;
                    place.insert((state, state))
                }
            };
            *state = moved(effect, *state);
        }
        for (service, (before, after)) in states {
            if after != before {
                journal.put_sched(service, before, after)?;
            }
        }
        Ok(())
    }

    fn retire_dests(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        let removed = self.effects.iter().flat_map(|e| match e {
            Effect::ServiceRemoved { dests, .. } => dests.as_slice(),
            Effect::DestRemoved { dest, .. } => std::slice::from_ref(dest),
            Effect::ServiceAdded { .. }
            | Effect::ServiceEdited { .. }
            | Effect::DestAdded { .. }
            | Effect::DestEdited { .. }
            | Effect::WrrChanged { .. }
            | Effect::OverloadLifted { .. }
            | Effect::Zeroed { .. }
            | Effect::TotalZeroed
            | Effect::MatchesReplaced => &[],
        });
        let back: BTreeSet<u32> = self.live_among_touched();
        for id in removed.filter(|id| !back.contains(id)) {
            journal.retire_dest(*id)?;
        }
        Ok(())
    }

    /// What becomes of the connections of deleted real servers is still for their service to say.
    fn tell_deleted(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        let edited = |id: u32| {
            let edits = |e: &Effect| {
                matches!(
                    *e,
                    Effect::ServiceEdited { service, .. } | Effect::ServiceAdded { service }
                        if service == id
                )
            };
            self.effects.iter().any(edits)
        };
        for (_, gone) in self.after.trash().filter(|(_, gone)| edited(gone.service)) {
            let service = self.after.service_by_id(gone.service);
            let before = journal.tables.dests.get(&gone.dest.id).copied();
            if let (Some(service), Some(before)) = (service, before)
                && before.policy != service.spec.policy
            {
                let policy = service.spec.policy;
                journal.put_dest(gone.dest.id, &Dest { policy, ..before })?;
            }
        }
        Ok(())
    }

    /// Real servers of the services in question that are there after the change (deleted and added in one batch).
    fn live_among_touched(&self) -> BTreeSet<u32> {
        let touched = self.touched();
        let services = touched
            .iter()
            .filter_map(|id| self.after.service_by_id(*id));
        services.flat_map(|s| &s.dests).map(|d| d.id).collect()
    }

    fn forget(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        for effect in self.effects {
            match *effect {
                Effect::ServiceRemoved { service, .. }
                | Effect::ServiceEdited {
                    service,
                    rescheduled: true,
                } => {
                    let before = self.before.service_by_id(service);
                    if before.is_some_and(|s| has_cache(s.spec.scheduler)) {
                        journal.dataplane.clear_caches(service)?;
                    }
                }
                Effect::OverloadLifted { dest } => journal.dataplane.clear_overload(dest)?,
                Effect::ServiceAdded { .. }
                | Effect::ServiceEdited { .. }
                | Effect::DestAdded { .. }
                | Effect::DestEdited { .. }
                | Effect::WrrChanged { .. }
                | Effect::DestRemoved { .. }
                | Effect::Zeroed { .. }
                | Effect::TotalZeroed
                | Effect::MatchesReplaced => {}
            }
        }
        Ok(())
    }
}

/// Whether a scheduler remembers which real server an address had.
const fn has_cache(scheduler: Scheduler) -> bool {
    matches!(scheduler, Scheduler::Lblc | Scheduler::Lblcr)
}

/// A deleted real server's place goes to its predecessor; wrr starts over.
fn moved(effect: &Effect, state: SchedState) -> SchedState {
    match *effect {
        Effect::DestRemoved {
            dest, predecessor, ..
        } if state.last == pointer(dest) => SchedState {
            last: predecessor.map_or(0, pointer),
            ..state
        },
        Effect::WrrChanged { range, .. } => range.restart(state),
        Effect::ServiceAdded { .. }
        | Effect::ServiceEdited { .. }
        | Effect::ServiceRemoved { .. }
        | Effect::DestAdded { .. }
        | Effect::DestEdited { .. }
        | Effect::DestRemoved { .. }
        | Effect::OverloadLifted { .. }
        | Effect::Zeroed { .. }
        | Effect::TotalZeroed
        | Effect::MatchesReplaced => state,
    }
}

/// A real server as [`SchedState::last`] names it.
const fn pointer(id: u32) -> u32 {
    id + 1
}
