//! The rules of each command. Everything that can refuse is asked before the first change.

use std::{net::Ipv4Addr, sync::Arc};

use ipvs_common::{Addr, ForwardingMethod, Proto, Scheduler, ServiceFlags, ServiceKey};

use super::{
    Effect, Origin,
    command::{Command, DestKey, DestSpec, MAX_WEIGHT, ServiceSpec},
    error::{ModelError, service_name},
    state::{Model, RealServer, Trashed, VirtualService},
    wrr::WrrRange,
};

type Result<T> = std::result::Result<T, ModelError>;

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
        check_service(key, spec)?;
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
        check_service(key, spec)?;
        check_maglev(spec.scheduler, service.dests.len(), maglev)?;
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
        check_numbers(spec)?;
        if service.position(dest).is_some() {
            return Err(ModelError::DestExists {
                service: *key,
                dest: *dest,
            });
        }
        check_address(dest.addr)?;
        check_port(key, dest, spec)?;
        if service.dests.len() >= self.dests_per_service as usize {
            return Err(ModelError::Full {
                what: "real server in one service",
                capacity: self.dests_per_service,
            });
        }
        check_maglev(service.spec.scheduler, service.dests.len() + 1, self.maglev)?;
        let known = self.trash.get(&(*key, *dest));
        let before = known.map_or(0, |t| t.dest.last_weight);
        let (dest_id, origin, lifted) = self.index_for(key, dest, spec)?;
        if let Some(service) = self.live(key) {
            let real = RealServer {
                id: dest_id,
                key: *dest,
                spec: *spec,
                last_weight: last_weight(spec, before),
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
        check_numbers(spec)?;
        let id = service.id;
        let real = service
            .dests
            .iter_mut()
            .find(|d| d.key == *dest)
            .ok_or(ModelError::NoDest {
                service: *key,
                dest: *dest,
            })?;
        check_port(key, dest, spec)?;
        let lifted = lifts_overload(&real.spec, spec);
        real.spec = *spec;
        real.last_weight = last_weight(spec, real.last_weight);
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

fn check_service(key: &ServiceKey, spec: &ServiceSpec) -> Result<()> {
    if key.mark == 0 && key.port == [0; 2] && spec.persistent.is_none() {
        return Err(ModelError::Invalid(format!(
            "{}: a service on every port (port 0) must be persistent",
            service_name(key)
        )));
    }
    if spec.flags & ServiceFlags::ONE_PACKET != 0 && key.mark == 0 && key.proto != Proto::Udp as u8
    {
        return Err(ModelError::Invalid(format!(
            "{}: one-packet scheduling is for UDP and firewall mark services",
            service_name(key)
        )));
    }
    if spec.persistent == Some(0) {
        return Err(ModelError::Invalid(
            "a persistence timeout of 0 seconds".to_owned(),
        ));
    }
    if !(1..=ServiceSpec::FULL_PREFIX).contains(&spec.prefix) {
        return Err(ModelError::Invalid(format!(
            "persistence prefix length {} is not one of 1 to {}",
            spec.prefix,
            ServiceSpec::FULL_PREFIX
        )));
    }
    Ok(())
}

/// Every real server needs a slot of Maglev's table.
fn check_maglev(scheduler: Scheduler, dests: usize, maglev: u32) -> Result<()> {
    if scheduler == Scheduler::Mh && dests > maglev as usize {
        return Err(ModelError::Invalid(format!(
            "{dests} real servers under mh, whose table has {maglev} slots: raise `mh_table_index`"
        )));
    }
    Ok(())
}

fn check_numbers(spec: &DestSpec) -> Result<()> {
    if spec.weight > MAX_WEIGHT {
        return Err(ModelError::Range(format!(
            "weight {} is above {MAX_WEIGHT}",
            spec.weight
        )));
    }
    if spec.lower > spec.upper {
        return Err(ModelError::Range(format!(
            "lower threshold {} is above the upper threshold {}",
            spec.lower, spec.upper
        )));
    }
    Ok(())
}

fn check_address(addr: Addr) -> Result<()> {
    let ip = Ipv4Addr::from(addr.low4());
    if ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0 {
        return Err(ModelError::Invalid(format!(
            "{ip} is not a unicast address, so no real server"
        )));
    }
    Ok(())
}

/// Only translation can change a port; the other methods deliver to the service's own.
fn check_port(key: &ServiceKey, dest: &DestKey, spec: &DestSpec) -> Result<()> {
    let translates = spec.method == ForwardingMethod::Masq;
    if translates || key.mark != 0 || dest.port.to_be_bytes() == key.port {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "real server {}: {} cannot change the port, which is {} at the service",
        dest.v4(),
        spec.method.name(),
        u16::from_be_bytes(key.port)
    )))
}

const fn last_weight(spec: &DestSpec, before: u32) -> u32 {
    if spec.weight == 0 {
        before
    } else {
        spec.weight
    }
}

/// Without an upper threshold there was no overload to lift.
const fn lifts_overload(old: &DestSpec, new: &DestSpec) -> bool {
    old.upper != 0 && (new.upper == 0 || new.upper > old.upper)
}
