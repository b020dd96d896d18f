//! `[[service]]`.

mod identity;
mod netmask;
mod options;
mod real;

use std::{collections::BTreeMap, ops::Range};

use ipvs_common::{Scheduler, ServiceKey};
use toml::de::DeValue;

use super::{
    ServiceConfig,
    problems::Problems,
    section::{Section, suggestion, wrong_type},
};
use crate::model::{ServiceSpec, service_name};

/// Seconds, when `persistent = true`.
const DEFAULT_PERSISTENCE: u32 = 360;
const MAX_PERSISTENCE: u32 = 31 * 24 * 3600;

/// A service and where its address stands.
pub(super) struct Located {
    pub(super) config: ServiceConfig,
    pub(super) span: Range<usize>,
}

/// All services that can be understood; whatever is wrong with them or the others is reported.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Vec<Located> {
    let mut lines: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    let mut services = Vec::new();
    for section in root.sections("service", "[[service]]", problems) {
        let Some(located) = service(&section, problems) else {
            continue;
        };
        let key = located.config.key;
        let line = problems.line_of(located.span.start);
        if let Some(first) = lines.insert(key, line) {
            let message = format!("second service {}", service_name(&key));
            let hint = format!("the first one is in line {first}; make one of the two");
            problems.report(located.span.clone(), message, hint);
            lines.insert(key, first);
            continue;
        }
        services.push(located);
    }
    services
}

fn service(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Located> {
    let known = [
        "tcp",
        "udp",
        "sctp",
        "fwmark",
        "fwmark6",
        "scheduler",
        "persistent",
        "netmask",
        "persistence_engine",
        "one_packet",
        "sched_flags",
        "on_dead",
        "reopen",
        "templates_die",
        "real",
    ];
    section.only_known(&known, problems);
    let id = identity::read(section, problems);
    let key = id.as_ref().map(|id| id.value);
    let persistent = persistent(section, problems);
    let scheduler = scheduler(section, problems);
    let spec = ServiceSpec {
        scheduler: scheduler.unwrap_or(Scheduler::DEFAULT),
        persistent,
        prefix: netmask::prefix(section, key, problems),
        flags: options::flags(section, key, scheduler, problems),
        policy: options::policy(section, problems),
        engine: options::engine(section, problems),
    };
    if let Some(id) = &id
        && id.value.mark == 0
        && id.value.port == [0; 2]
        && section.get("persistent").is_none_or(is_false)
    {
        problems.report(
            id.span.clone(),
            "port 0 (every port) without persistence",
            "name a port, or write persistent = true, so that a client's connections stay together",
        );
    }
    let reals = real::reals(section, key, problems);
    let id = id?;
    Some(Located {
        config: ServiceConfig {
            key: id.value,
            spec,
            reals,
        },
        span: id.span,
    })
}

fn is_false(value: &toml::Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Boolean(false))
}

/// `None`: there is one that was not understood.
fn scheduler(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Scheduler> {
    if section.get("scheduler").is_none() {
        return Some(Scheduler::DEFAULT);
    }
    let found = section.string("scheduler", problems)?;
    let scheduler = Scheduler::from_name(found.value);
    if scheduler.is_none() {
        let message = format!("no scheduler `{}`", found.value);
        problems.report(
            found.span,
            message,
            suggestion(found.value, Scheduler::NAMES),
        );
    }
    scheduler
}

/// `true`, `false`, or seconds.
fn persistent(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<u32> {
    let value = section.get("persistent")?;
    match value.get_ref() {
        DeValue::Boolean(true) => Some(DEFAULT_PERSISTENCE),
        DeValue::Boolean(false) => None,
        DeValue::Integer(_) => {
            let found = section.integer("persistent", 1..=MAX_PERSISTENCE, problems);
            found.map(|f| f.value)
        }
        DeValue::String(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            let hint = "write persistent = true (360 seconds), or a number of seconds";
            wrong_type(
                "persistent",
                value,
                "true or a number of seconds",
                hint,
                problems,
            );
            None
        }
    }
}
