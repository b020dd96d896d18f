//! The heart of the daemon: configuration, tables and what is seen of them, without sockets, threads or sleep.
//!
//! Driven from outside: by commands, by `tick` about once a second, and by word that routes changed. The daemon, the tests
//! and the replay of traces drive the same thing over different dataplanes.

mod adopt;
mod ageing;
mod caches;
mod carry;
mod connections;
mod defence;
mod estimator;
mod expected;
mod knobs;
mod matches;
mod reals;
mod records;
mod sync;
mod together;
mod traffic;
mod trash;
mod view;

pub use adopt::{AdoptError, Adopted};
pub use ageing::Aged;
pub use caches::CacheLimits;
pub use connections::Connection;
pub use estimator::Rates;
pub use expected::{ExpectError, Expectation};
pub use knobs::{MemorySource, SetTimeoutsError};
pub use sync::SyncCount;
pub use together::{Together, TogetherError};
pub use view::{DestView, ServiceView, Usage};

use std::{cell::RefCell, collections::BTreeMap};

use ipvs_common::{Addr, Service, ServiceKey, Settings, SettingsFlags, maps::Capacities};

use crate::{
    carries::NotCarried,
    dataplane::{Dataplane, Stop, TableError},
    model::{Command, Effect, Limits, Model, ModelError},
    reconcile::{Change, ReconcileError, Tables},
};
use ageing::Walks;
use caches::CacheTimers;
use carry::PastReasons;
use expected::Waiting;
use knobs::Controls;
use reals::Reals;
use traffic::Traffic;
use trash::Idle;

/// Tells the source address of a tunnel to a real server; `None` without a route.
pub type SourceResolver = Box<dyn Fn(Addr) -> Option<Addr> + Send>;

/// The same, asked once about each address: within one change all real servers of an address have the same answer.
fn asked_once(source: &SourceResolver) -> impl Fn(Addr) -> Option<Addr> + '_ {
    let known = RefCell::new(BTreeMap::new());
    move |to| *known.borrow_mut().entry(to).or_insert_with(|| source(to))
}

/// Commands were not carried out; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// The command of this number, counted from 0, is against the rules.
    #[error("{error}")]
    Refused { index: usize, error: ModelError },
    /// The datapath does not carry what the command of this number asks for.
    #[error("{error}")]
    NotCarried { index: usize, error: NotCarried },
    #[error(transparent)]
    Tables(#[from] ReconcileError),
}

/// What commands come to; nothing of it is in force.
pub struct Rehearsed {
    model: Model,
    effects: Vec<Effect>,
}

impl Rehearsed {
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }
}

pub struct Director {
    model: Model,
    tables: Tables,
    dataplane: Box<dyn Dataplane>,
    source: SourceResolver,
    traffic: Traffic,
    idle: Idle,
    walks: Walks,
    caches: CacheTimers,
    controls: Controls,
    waiting: Waiting,
    reals: Reals,
    sync: sync::Sync,
    past_reasons: PastReasons,
}

impl Director {
    /// A director over empty tables, whose settings it writes.
    pub fn new(
        mut dataplane: Box<dyn Dataplane>,
        source: SourceResolver,
    ) -> Result<Self, TableError> {
        let settings = Settings::with_hz(dataplane.hz());
        let tables = Tables::new(dataplane.as_mut(), settings)?;
        let model = Model::new(limits(dataplane.capacities()));
        Ok(Self::assembled(model, tables, dataplane, source))
    }

    fn assembled(
        model: Model,
        tables: Tables,
        dataplane: Box<dyn Dataplane>,
        source: SourceResolver,
    ) -> Self {
        Self {
            model,
            tables,
            dataplane,
            source,
            traffic: Traffic::default(),
            idle: Idle::default(),
            walks: Walks::default(),
            caches: CacheTimers::default(),
            controls: Controls::default(),
            waiting: Waiting::default(),
            reals: Reals::default(),
            sync: sync::Sync::default(),
            past_reasons: PastReasons::default(),
        }
    }

    /// Carries out one command, or changes nothing.
    pub fn execute(&mut self, command: &Command) -> Result<(), DirectorError> {
        self.execute_all(std::slice::from_ref(command))
    }

    /// What would be after these commands, or why they would be refused.
    pub fn rehearse(&self, commands: &[Command]) -> Result<Rehearsed, DirectorError> {
        let mut model = self.model.clone();
        let mut effects = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let applied = model.apply(command);
            effects.extend(applied.map_err(|error| DirectorError::Refused { index, error })?);
            let carried = self.dataplane.carries().check(command);
            carried.map_err(|error| DirectorError::NotCarried { index, error })?;
            let told = self.can_be_told(command);
            told.map_err(|error| DirectorError::Refused { index, error })?;
        }
        Ok(Rehearsed { model, effects })
    }

    /// Carries out all of the commands in order, or none. Packets see each service change once.
    pub fn execute_all(&mut self, commands: &[Command]) -> Result<(), DirectorError> {
        let rehearsed = self.rehearse(commands)?;
        self.perform(rehearsed).map(drop)
    }

    /// What was rehearsed, over what it was rehearsed with. Returns the model of before.
    fn perform(&mut self, rehearsed: Rehearsed) -> Result<Model, DirectorError> {
        let Rehearsed {
            model: after,
            effects,
        } = rehearsed;
        let counted = self.counted_before(&effects);
        let counted = counted.map_err(ReconcileError::from)?;
        let now = self.dataplane.now().map_err(ReconcileError::from)?;
        let mut draft = self.traffic.draft();
        draft.follow(&effects, &after, &counted);
        let moved = draft.moved();
        let records = self.records(&effects, &after, &moved);
        let change = Change {
            before: &self.model,
            after: &after,
            effects: &effects,
            records: &records,
        };
        self.tables
            .carry_out(self.dataplane.as_mut(), &change, &asked_once(&self.source))?;
        let before = std::mem::replace(&mut self.model, after);
        self.sync.model_changed();
        self.traffic.settle(moved);
        self.idle.back_at_work(&effects);
        self.set_cache_timers(&effects, now);
        self.follow_reals();
        if let Err(e) = self.after_effects(&effects) {
            // The change stands. What did not end now ends by its packets or its timer.
            tracing::warn!("connections of deleted real servers: {e}");
        }
        Ok(before)
    }

    /// Housekeeping, about once a second: sets up defences if memory is low, ends what timed out (unless [`Self::age`] does),
    /// ages the schedulers' caches, makes room if that is wished, frees deleted real servers that nothing refers to, and
    /// reckons rates.
    pub fn tick(&mut self) -> Result<(), TableError> {
        self.defend()?;
        if !self.walks.in_parts() {
            self.expire_walk(Stop::Never)?;
        }
        let now = self.dataplane.now()?;
        self.tables.tick(self.dataplane.as_mut(), now)?;
        self.refresh_matches();
        self.end_waiting(now)?;
        self.bind_unbound(now)?;
        self.age_caches(now)?;
        self.drop_entries(now)?;
        self.empty_trash(now)?;
        self.sample(now)
    }

    /// Routes, neighbours, links or addresses changed: every way is asked anew.
    pub fn routes_changed(&mut self) -> Result<(), TableError> {
        self.tables
            .refresh_sources(self.dataplane.as_mut(), &asked_once(&self.source))?;
        self.refresh_matches();
        self.adjust_settings(|s| s.epoch = s.epoch.wrapping_add(1))
    }

    /// Changes settings. The flags that follow from the services are kept right whatever `adjust` does to them.
    pub fn adjust_settings(
        &mut self,
        adjust: impl FnOnce(&mut Settings),
    ) -> Result<(), TableError> {
        let before = *self.tables.settings();
        let mut settings = before;
        adjust(&mut settings);
        self.tables
            .put_settings(self.dataplane.as_mut(), settings)?;
        if settings.flags & !before.flags & SettingsFlags::EXPIRE_NODEST != 0
            && let Err(e) = self.begin_ending()
        {
            // The settings stand. What did not end now ends by its packets or its timer.
            tracing::warn!("connections of deleted real servers: {e}");
        }
        Ok(())
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        self.tables.settings()
    }

    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Ticks in a second of the clock that deadlines are in.
    #[must_use]
    pub fn hz(&self) -> u32 {
        self.dataplane.hz()
    }

    #[must_use]
    pub fn capacities(&self) -> Capacities {
        self.dataplane.capacities()
    }

    /// Counter map by slot ([`ipvs_common::reason`]).
    pub fn reasons(&self) -> Result<Vec<u64>, TableError> {
        let mut counts = self.dataplane.reasons()?;
        self.past_reasons.add_to(&mut counts);
        Ok(counts)
    }

    /// The commands that make the configuration as it is now from an empty one.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        let of_service = |service: ServiceKey| {
            let s = self.model.service(&service);
            let dests = s.into_iter().flat_map(|s| s.dests.iter().rev());
            let add = s.map(|s| Command::AddService {
                service,
                spec: s.spec,
            });
            add.into_iter().chain(dests.map(move |d| Command::AddDest {
                service,
                dest: d.key,
                spec: d.spec,
            }))
        };
        let rules = self.model.matches();
        let matches = (!rules.is_empty()).then(|| Command::SetMatches {
            rules: rules.clone(),
        });
        let services = self.model.services();
        matches
            .into_iter()
            .chain(services.flat_map(|s| of_service(s.key)))
            .collect()
    }
}

const fn limits(capacities: Capacities) -> Limits {
    Limits {
        services: capacities.services,
        dests: capacities.dests,
        dests_per_service: Service::MAX_DESTS,
        maglev: capacities.maglev,
    }
}

#[cfg(test)]
mod tests;
