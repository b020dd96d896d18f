//! The rules of each command. Everything that can refuse is asked before the first change.

use std::sync::Arc;

use ipvs_common::{Scheduler, ServiceKey};

use super::{
    Effect, Origin, check,
    command::{Command, DestKey, DestSpec, ServiceSpec},
    error::ModelError,
    state::{Model, RealServer, Trashed, VirtualService},
    wrr::WrrRange,
};

pub(super) type Result<T> = std::result::Result<T, ModelError>;

impl Model {
    /// Carries out one command, or refuses it and changes nothing.
    pub fn apply(&mut self, command: &Command) -> Result<Vec<Effect>> {
        let mut effects = self.carry_out(command)?;
        self.note_wrr(&mut effects);
        Ok(effects)
    }

    /// Says so where a service under wrr got another list, or wrr took a service over.
    fn note_wrr(&self, effects: &mut Vec<Effect>) {
        let Some(
            &Effect::DestAdded { service, .. }
            | &Effect::DestEdited { service, .. }
            | &Effect::DestRemoved { service, .. }
            | &Effect::ServiceEdited {
                service,
                rescheduled: true,
            },
        ) = effects.first()
        else {
            return;
        };
        if let Some(s) = self.service_by_id(service)
            && s.spec.scheduler == Scheduler::Wrr
        {
            let range = WrrRange::of(&s.dests);
            effects.push(Effect::WrrChanged { service, range });
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<Vec<Effect>> {
        match command {
            Command::AddService { service, spec } => self.add_service(service, spec),
            Command::EditService {
                service,
                spec,
                keep,
            } => self.edit_service(service, spec, *keep),
            Command::DeleteService { service } => self.delete_service(service),
            Command::Flush => Ok(self.flush()),
            Command::AddDest {
                service,
                dest,
                spec,
            } => self.add_dest(service, dest, spec),
            Command::EditDest {
                service,
                dest,
                spec,
            } => self.edit_dest(service, dest, spec),
            Command::DeleteDest { service, dest } => self.delete_dest(service, dest),
            Command::Zero { service } => self.zero(service.as_ref()),
            Command::SetMatches { rules } => self.set_matches(rules),
        }
    }

    /// Forgets a real server in the trash for good and frees its index.
    pub fn free(&mut self, service: &ServiceKey, dest: &DestKey) -> Option<Trashed> {
        let gone = self.trash.remove(&(*service, *dest))?;
        self.dest_ids.give_back(gone.dest.id);
        self.free_service_if_unused(service);
        Some(gone)
    }

    fn add_service(&mut self, key: &ServiceKey, spec: &ServiceSpec) -> Result<Vec<Effect>> {
        if self.service(key).is_some() {
            return Err(ModelError::ServiceExists(*key));
        }
        check::service(key, spec)?;
        let id = match self.index.get(key) {
            Some(&reserved) => reserved,
            None => self.service_ids.take().ok_or(ModelError::Full {
                what: "virtual service",
                capacity: self.service_ids.limit(),
            })?,
        };
        self.index.insert(*key, id);
        let service = VirtualService {
            id,
            key: *key,
            spec: *spec,
            dests: Vec::new(),
        };
        self.services.insert(id, Arc::new(service));
        Ok(vec![Effect::ServiceAdded { service: id }])
    }

    fn edit_service(
        &mut self,
        key: &ServiceKey,
        spec: &ServiceSpec,
        keep: u8,
    ) -> Result<Vec<Effect>> {
        let maglev = self.maglev;
        let service = self.live(key).ok_or(ModelError::NoService(*key))?;
        check::service(key, spec)?;
        check::maglev(spec.scheduler, service.dests.len(), maglev)?;
        let rescheduled = service.spec.scheduler != spec.scheduler;
        let policy = spec.policy & !keep | service.spec.policy & keep;
        service.spec = ServiceSpec { policy, ..*spec };
        Ok(vec![Effect::ServiceEdited {
            service: service.id,
            rescheduled,
        }])
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<Vec<Effect>> {
        let id = self.service(key).ok_or(ModelError::NoService(*key))?.id;
        let service = self
            .services
            .remove(&id)
            .ok_or(ModelError::NoService(*key))?;
        for t in self
            .trash
            .range_mut((*key, DestKey::FIRST)..)
            .take_while(|((k, _), _)| k == key)
        {
            t.1.orphan = true;
        }
        for dest in &service.dests {
            self.throw_away(key, id, *dest, true);
        }
        self.free_service_if_unused(key);
        Ok(vec![Effect::ServiceRemoved {
            service: id,
            dests: service.dests.iter().map(|d| d.id).collect(),
        }])
    }

    fn flush(&mut self) -> Vec<Effect> {
        let keys: Vec<_> = self.services().map(|s| s.key).collect();
        keys.iter()
            .filter_map(|k| self.delete_service(k).ok())
            .flatten()
            .collect()
    }

    fn add_dest(
        &mut self,
        key: &ServiceKey,
        dest: &DestKey,
        spec: &DestSpec,
    ) -> Result<Vec<Effect>> {
        let service = self
            .service(key)
            .ok_or(ModelError::ServiceUndefined(*key))?;
        let id = service.id;
        check::numbers(spec)?;
        if service.position(dest).is_some() {
            return Err(ModelError::DestExists {
                service: *key,
                dest: *dest,
            });
        }
        check::dest(key, dest, spec)?;
        if service.dests.len() >= self.dests_per_service as usize {
            return Err(ModelError::Full {
                what: "real server in one service",
                capacity: self.dests_per_service,
            });
        }
        check::maglev(service.spec.scheduler, service.dests.len() + 1, self.maglev)?;
        let (dest_id, origin, lifted) = self.index_for(key, dest, spec)?;
        if let Some(service) = self.live(key) {
            let real = RealServer {
                id: dest_id,
                key: *dest,
                spec: *spec,
                // Also one that comes back begins anew.
                last_weight: spec.weight,
            };
            service.dests.insert(0, real);
        }
        let mut effects = vec![Effect::DestAdded {
            service: id,
            dest: dest_id,
            origin,
        }];
        effects.extend(lifted.then_some(Effect::OverloadLifted { dest: dest_id }));
        Ok(effects)
    }

    /// An index for a new real server: its old one from the trash, else a fresh one. The last value tells whether a mark of
    /// overload that it may have brought along is void.
    fn index_for(
        &mut self,
        key: &ServiceKey,
        dest: &DestKey,
        spec: &DestSpec,
    ) -> Result<(u32, Origin, bool)> {
        if let Some(old) = self.trash.remove(&(*key, *dest)) {
            let origin = Origin::Trash { orphan: old.orphan };
            return Ok((old.dest.id, origin, lifts_overload(&old.dest.spec, spec)));
        }
        let id = self.dest_ids.take().ok_or(ModelError::Full {
            what: "real server",
            capacity: self.dest_ids.limit(),
        })?;
        Ok((id, Origin::Fresh, false))
    }

    fn edit_dest(
        &mut self,
        key: &ServiceKey,
        dest: &DestKey,
        spec: &DestSpec,
    ) -> Result<Vec<Effect>> {
        let service = self.live(key).ok_or(ModelError::ServiceUndefined(*key))?;
        check::numbers(spec)?;
        let id = service.id;
        let real = service
            .dests
            .iter_mut()
            .find(|d| d.key == *dest)
            .ok_or(ModelError::NoDest {
                service: *key,
                dest: *dest,
            })?;
        check::dest(key, dest, spec)?;
        let lifted = lifts_overload(&real.spec, spec);
        real.spec = *spec;
        if spec.weight != 0 {
            real.last_weight = spec.weight;
        }
        let mut effects = vec![Effect::DestEdited {
            service: id,
            dest: real.id,
        }];
        effects.extend(lifted.then_some(Effect::OverloadLifted { dest: real.id }));
        Ok(effects)
    }

    fn delete_dest(&mut self, key: &ServiceKey, dest: &DestKey) -> Result<Vec<Effect>> {
        let service = self.live(key).ok_or(ModelError::ServiceUndefined(*key))?;
        let position = service.position(dest).ok_or(ModelError::NoDest {
            service: *key,
            dest: *dest,
        })?;
        let gone = service.dests.remove(position);
        let predecessor = position.checked_sub(1).map(|p| service.dests[p].id);
        let id = service.id;
        self.throw_away(key, id, gone, false);
        Ok(vec![Effect::DestRemoved {
            service: id,
            dest: gone.id,
            predecessor,
        }])
    }

    fn throw_away(&mut self, key: &ServiceKey, service: u32, dest: RealServer, orphan: bool) {
        let trashed = Trashed {
            dest,
            service,
            orphan,
        };
        self.trash.insert((*key, dest.key), trashed);
    }

    /// A service's index is free once it is deleted and nothing in the trash refers to it.
    fn free_service_if_unused(&mut self, key: &ServiceKey) {
        let trashed = self
            .trash
            .range((*key, DestKey::FIRST)..)
            .next()
            .is_some_and(|((k, _), _)| k == key);
        if trashed || self.service(key).is_some() {
            return;
        }
        if let Some(id) = self.index.remove(key) {
            self.service_ids.give_back(id);
        }
    }

    fn live(&mut self, key: &ServiceKey) -> Option<&mut VirtualService> {
        let id = self.index.get(key)?;
        self.services.get_mut(id).map(Arc::make_mut)
    }
}

/// Without an upper threshold there was no overload to lift.
const fn lifts_overload(old: &DestSpec, new: &DestSpec) -> bool {
    old.upper != 0 && (new.upper == 0 || new.upper > old.upper)
}
