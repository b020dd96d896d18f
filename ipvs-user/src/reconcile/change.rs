//! One change: the models before and after it, and the effects between them.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{SchedState, ServiceKey};

use super::{ReconcileError, journal::Journal};
use crate::{
    dataplane::TableError,
    model::{Effect, Model, Origin, VirtualService},
    plan::{self, SourceOf},
};

pub struct Change<'a> {
    pub before: &'a Model,
    pub after: &'a Model,
    /// Of all commands together, in order.
    pub effects: &'a [Effect],
}

impl Change<'_> {
    /// Effects of many commands cost one list and one replacement for each service.
    pub(super) fn write(
        &self,
        journal: &mut Journal<'_>,
        source: SourceOf<'_>,
        now: u64,
    ) -> Result<(), ReconcileError> {
        self.wipe_fresh_dests(journal)?;
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
        self.write_flags(journal)?;
        // From here on nothing can be taken back, and nothing has to be: these forget what no longer holds.
        self.forget(journal)?;
        Ok(())
    }

    fn touched(&self) -> BTreeSet<u32> {
        let id = |e: &Effect| match *e {
            Effect::ServiceAdded { service }
            | Effect::ServiceEdited { service, .. }
            | Effect::ServiceRemoved { service, .. }
            | Effect::DestAdded { service, .. }
            | Effect::DestEdited { service, .. }
            | Effect::DestRemoved { service, .. } => Some(service),
            Effect::OverloadLifted { .. } => None,
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
        let ids = plan::list(service);
        let written = journal.tables.services.get(&service.key).copied();
        let known = self.before.service(&service.key);
        let list = match known {
            Some(old) if written.is_some() && plan::list(old) == ids => {
                journal.tables.list_of(&service.key)
            }
            Some(_) | None => journal.write_list(&ids, now)?,
        };
        let planned = plan::service(service, list);
        if written != Some(planned) {
            journal.put_service(&service.key, &planned)?;
        }
        Ok(())
    }

    /// Where round robin stands at a deleted real server, it goes back to that one's predecessor.
    fn fix_pointers(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        let mut moves: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for effect in self.effects {
            if let Effect::DestRemoved {
                service,
                dest,
                predecessor,
            } = *effect
            {
                let to = predecessor.map_or(0, pointer);
                moves.entry(service).or_default().push((pointer(dest), to));
            }
        }
        for (service, moves) in moves {
            let before = journal.dataplane.sched_state(service)?;
            let last = moves.iter().fold(
                before.last,
                |at, &(from, to)| if at == from { to } else { at },
            );
            if last != before.last {
                journal.put_sched(service, before, SchedState { last })?;
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
            | Effect::OverloadLifted { .. } => &[],
        });
        let back: BTreeSet<u32> = self.live_among_touched();
        for id in removed.filter(|id| !back.contains(id)) {
            journal.retire_dest(*id)?;
        }
        Ok(())
    }

    /// Real servers of the services in question that are there after the change (deleted and added in one batch).
    fn live_among_touched(&self) -> BTreeSet<u32> {
        let touched = self.touched();
        let services = touched
            .iter()
            .filter_map(|id| self.after.service_by_id(*id));
        services.flat_map(plan::list).collect()
    }

    fn write_flags(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        let mut settings = *journal.tables.settings();
        settings.flags = settings.flags & !plan::MODEL_FLAGS | plan::settings_flags(self.after);
        if settings == *journal.tables.settings() {
            return Ok(());
        }
        journal.put_settings(&settings)
    }

    fn forget(&self, journal: &mut Journal<'_>) -> Result<(), TableError> {
        for effect in self.effects {
            match *effect {
                Effect::ServiceRemoved { service, .. }
                | Effect::ServiceEdited {
                    service,
                    rescheduled: true,
                } => {
                    journal.dataplane.clear_lblc(service)?;
                }
                Effect::OverloadLifted { dest } => journal.dataplane.clear_overload(dest)?,
                Effect::ServiceAdded { .. }
                | Effect::ServiceEdited { .. }
                | Effect::DestAdded { .. }
                | Effect::DestEdited { .. }
                | Effect::DestRemoved { .. } => {}
            }
        }
        Ok(())
    }
}

/// A real server as [`SchedState::last`] names it.
fn pointer(id: u32) -> u64 {
    u64::from(id) + 1
}
