//! The comparison of three states: of services and real servers here, of knobs and timeouts in [`super::settings`].

use std::{collections::BTreeMap, sync::Arc};

use ipvs_common::ServiceKey;

use super::{
    fields::{self, Field},
    row::{Row, Subject},
    settings,
};
use crate::{
    config::{Config, ServiceConfig},
    director::{Director, Together},
    model::{Command, DestKey, DestSpec, RealServer, ServiceSpec, VirtualService},
};

/// What becomes of changes by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// They stay where the new state says no more than the last one did.
    Keep,
    /// Nothing but the new state holds.
    Overwrite,
}

/// How to get from what is to what shall be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    pub changes: Together,
    /// The same for a person.
    pub rows: Vec<Row>,
    /// Changed by hand, and left so: `old` is what was applied last, `new` what it is.
    pub kept: Vec<Row>,
    /// Changed by hand, and overridden now.
    pub overridden: Vec<Row>,
}

/// What has to change for `new` to hold, where `last` was applied last, if anything was.
#[must_use]
pub fn compare(last: Option<&Config>, running: &Director, new: &Config, rule: Rule) -> Difference {
    let mut merge = Merge {
        rule,
        difference: Difference::default(),
    };
    merge.matches(last, running, new);
    merge.services(last, running, new);
    settings::compare(&mut merge, last, running, new);
    merge.difference
}

pub(super) struct Merge {
    rule: Rule,
    pub(super) difference: Difference,
}

/// Who has the say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing differs.
    Same,
    /// What somebody did by hand stays.
    Kept,
    /// The new state holds; `true`: over what somebody did by hand.
    New(bool),
}

impl Merge {
    /// The rule for one thing.
    pub(super) fn judge<T: PartialEq>(&self, last: Option<&T>, is: &T, new: &T) -> Outcome {
        if is == new {
            return Outcome::Same;
        }
        match last {
            None => Outcome::New(false),
            Some(last) if last == new && self.rule == Rule::Keep => Outcome::Kept,
            Some(last) => Outcome::New(last != is),
        }
    }

    /// The same for what is not in the new state. True: it goes.
    fn goes(&mut self, by_hand: bool, row: &Row) -> bool {
        if by_hand && self.rule == Rule::Keep {
            self.difference.kept.push(row.clone().into_addition());
            return false;
        }
        if by_hand {
            self.difference.overridden.push(row.clone().into_addition());
        }
        true
    }

    pub(super) fn command(&mut self, command: Command, row: Option<Row>) {
        self.difference.changes.commands.push(command);
        self.difference.rows.extend(row);
    }

    /// What goes makes room for what comes.
    fn services(&mut self, last: Option<&Config>, running: &Director, new: &Config) {
        let last = by_key(last.map_or(&[], |l| &l.services));
        let wanted = by_key(&new.services);
        for service in running.model().services() {
            if !wanted.contains_key(&service.key) {
                self.surplus(last.get(&service.key).copied(), service);
            }
        }
        for new in &new.services {
            let last = last.get(&new.key).copied();
            match running.model().service(&new.key) {
                Some(service) => self.service(last, service, new),
                None => self.missing(last, new),
            }
        }
    }

    fn surplus(&mut self, last: Option<&ServiceConfig>, service: &VirtualService) {
        let row = Row::removed(Subject::Service(service.key), told(service.dests.len()));
        if !self.goes(last.is_none(), &row) {
            return;
        }
        let key = service.key;
        if let Some(last) = last {
            self.note_edits(key, &last.spec, &service.spec);
        }
        self.command(Command::DeleteService { service: key }, Some(row));
        for real in &service.dests {
            let row = Row::removed(Subject::Dest(key, real.key), describe(&real.spec));
            self.difference.rows.push(row.leaving(Some(real.id)));
        }
    }

    /// What was done by hand to a service that goes anyway.
    fn note_edits(&mut self, key: ServiceKey, last: &ServiceSpec, is: &ServiceSpec) {
        for f in &fields::SERVICE {
            let (was, now) = ((f.text)(last), (f.text)(is));
            if was != now {
                let row = Row::changed(Subject::Service(key), f.name, was, now);
                self.difference.overridden.push(row);
            }
        }
    }

    fn missing(&mut self, last: Option<&ServiceConfig>, new: &ServiceConfig) {
        let subject = Subject::Service(new.key);
        let gone = |last: &ServiceConfig| Row::removed(subject.clone(), told(last.reals.len()));
        match last {
            Some(last) if last == new && self.rule == Rule::Keep => {
                self.difference.kept.push(gone(last));
                return;
            }
            Some(last) => self.difference.overridden.push(gone(last)),
            None => {}
        }
        let row = Row::added(subject, told(new.reals.len()));
        self.difference.rows.push(row);
        for &(dest, spec) in &new.reals {
            let row = Row::added(Subject::Dest(new.key, dest), describe(&spec));
            self.difference.rows.push(row);
        }
        self.difference.changes.commands.extend(new.commands());
    }

    fn service(
        &mut self,
        last: Option<&ServiceConfig>,
        service: &VirtualService,
        new: &ServiceConfig,
    ) {
        let key = service.key;
        if service.spec != new.spec {
            let last = last.map(|l| &l.spec);
            let subject = || Subject::Service(key);
            let mut spec = service.spec;
            self.fields(&fields::SERVICE, last, &mut spec, &new.spec, &subject, None);
            if spec != service.spec {
                let edit = Command::EditService {
                    service: key,
                    spec,
                    keep: 0,
                };
                self.command(edit, None);
            }
        }
        if !same_dests(service, new) {
            self.dests(last, service, new);
        }
    }

    fn dests(
        &mut self,
        last: Option<&ServiceConfig>,
        service: &VirtualService,
        new: &ServiceConfig,
    ) {
        let last: BTreeMap<DestKey, DestSpec> =
            last.map_or_else(BTreeMap::new, |l| l.reals.iter().copied().collect());
        let wanted: BTreeMap<DestKey, DestSpec> = new.reals.iter().copied().collect();
        for real in service.dests.iter().rev() {
            if !wanted.contains_key(&real.key) {
                self.surplus_dest(service.key, last.get(&real.key), real);
            }
        }
        let running: BTreeMap<DestKey, &RealServer> =
            service.dests.iter().map(|d| (d.key, d)).collect();
        for (key, spec) in &new.reals {
            let last = last.get(key);
            match running.get(key) {
                Some(real) => self.dest(service.key, last, real, spec),
                None => self.missing_dest(service.key, last, *key, spec),
            }
        }
    }

    fn surplus_dest(&mut self, service: ServiceKey, last: Option<&DestSpec>, real: &RealServer) {
        let row = Row::removed(Subject::Dest(service, real.key), describe(&real.spec));
        if self.goes(last.is_none(), &row) {
            let delete = Command::DeleteDest {
                service,
                dest: real.key,
            };
            self.command(delete, Some(row.leaving(Some(real.id))));
        }
    }

    fn missing_dest(
        &mut self,
        service: ServiceKey,
        last: Option<&DestSpec>,
        dest: DestKey,
        new: &DestSpec,
    ) {
        let subject = Subject::Dest(service, dest);
        match last {
            Some(last) if last == new && self.rule == Rule::Keep => {
                let row = Row::removed(subject, describe(last));
                self.difference.kept.push(row);
                return;
            }
            Some(last) => {
                let row = Row::removed(subject.clone(), describe(last));
                self.difference.overridden.push(row);
            }
            None => {}
        }
        let add = Command::AddDest {
            service,
            dest,
            spec: *new,
        };
        self.command(add, Some(Row::added(subject, describe(new))));
    }

    fn dest(
        &mut self,
        service: ServiceKey,
        last: Option<&DestSpec>,
        real: &RealServer,
        new: &DestSpec,
    ) {
        let mut spec = real.spec;
        let subject = || Subject::Dest(service, real.key);
        let id = Some(real.id);
        self.fields(&fields::DEST, last, &mut spec, new, &subject, id);
        if spec != real.spec {
            let edit = Command::EditDest {
                service,
                dest: real.key,
                spec,
            };
            self.command(edit, None);
        }
    }

    /// Field by field; `spec` becomes what shall be.
    fn fields<S: PartialEq>(
        &mut self,
        fields: &[Field<S>],
        last: Option<&S>,
        spec: &mut S,
        new: &S,
        subject: &dyn Fn() -> Subject,
        dest: Option<u32>,
    ) {
        for f in fields {
            let (was, is, shall) = (last.map(f.text), (f.text)(spec), (f.text)(new));
            let outcome = self.judge(was.as_ref(), &is, &shall);
            let by_hand = || {
                Row::changed(
                    subject(),
                    f.name,
                    was.clone().unwrap_or_default(),
                    is.clone(),
                )
            };
            match outcome {
                Outcome::Same => {}
                Outcome::Kept => self.difference.kept.push(by_hand()),
                Outcome::New(over_hand) => {
                    self.difference.overridden.extend(over_hand.then(by_hand));
                    let quiesced = f.name == "weight" && shall == "0";
                    let row = Row::changed(subject(), f.name, is, shall);
                    self.difference
                        .rows
                        .push(row.leaving(dest.filter(|_| quiesced)));
                    (f.put)(spec, new);
                }
            }
        }
    }
}

impl Row {
    /// Seen from the other side: what is there and is not in the file was added by hand.
    fn into_addition(self) -> Self {
        Self::added(self.subject, self.old)
    }
}

fn by_key(services: &[Arc<ServiceConfig>]) -> BTreeMap<ServiceKey, &ServiceConfig> {
    services.iter().map(|s| (s.key, s.as_ref())).collect()
}

/// The usual case at little cost: the same ones in the same order.
fn same_dests(service: &VirtualService, new: &ServiceConfig) -> bool {
    let running = service.dests.iter().rev().map(|d| (d.key, d.spec));
    running.eq(new.reals.iter().copied())
}

fn told(dests: usize) -> String {
    match dests {
        1 => "1 real server".to_owned(),
        n => format!("{n} real servers"),
    }
}

fn describe(spec: &DestSpec) -> String {
    let mut text = format!("{}, weight {}", spec.method.name(), spec.weight);
    if spec.upper != 0 {
        let thresholds = format!(", thresholds {} and {}", spec.upper, spec.lower);
        text.push_str(&thresholds);
    }
    text
}
