//! Whole configurations and the differences between them, on the wire and in the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipvs_common::maps::Capacities;

use super::{
    dest_key, director_error, error, knobs, matches, service_id, service_key, spec,
    wire::{self, ErrorCode},
};
use crate::{
    config::{Api, Config, Interface, Mode, ServiceConfig},
    desired::{Action, Moved, Row, Subject},
    director::TogetherError,
    model::service_name,
    sysctl::Knobs,
};

/// `rest` has what a body does not say: table sizes, the API, and interfaces if none are named.
pub(in crate::api) fn config(c: &wire::Config, rest: &Config) -> Result<Config, wire::Error> {
    let sysctls = c.sysctls.iter();
    let sysctls = sysctls.map(|(name, value)| (name.clone(), knobs::sysctl_value(value)));
    let sysctls: Vec<_> = sysctls.collect();
    let mut checked = Knobs::default();
    for (name, value) in &sysctls {
        let set = checked.set(name, value);
        set.map_err(|e| knobs::sysctl_error(&e, 1))?;
    }
    let timeouts = knobs::timeout_changes(c.timeouts);
    let out_of_range = |e: crate::timeouts::TimeoutError| error(ErrorCode::Range, e.to_string());
    timeouts.check().map_err(out_of_range)?;
    let interfaces = match &c.interfaces {
        None => rest.interfaces.clone(),
        Some(named) => named.iter().map(interface).collect(),
    };
    Ok(Config {
        capacities: rest.capacities,
        timeouts,
        icmp_rate: c.icmp_rate,
        sysctls,
        api: rest.api.clone(),
        interfaces,
        matches: matches::rules(&c.matches)?,
        services: services(&c.services)?,
    })
}

fn services(given: &[wire::ConfiguredService]) -> Result<Vec<Arc<ServiceConfig>>, wire::Error> {
    let mut keys = BTreeSet::new();
    let mut services = Vec::with_capacity(given.len());
    for one in given {
        let service = service(one)?;
        if !keys.insert(service.key) {
            let message = format!("service {} is there twice", service_name(&service.key));
            return Err(error(ErrorCode::ServiceExists, message));
        }
        services.push(Arc::new(service));
    }
    Ok(services)
}

fn service(given: &wire::ConfiguredService) -> Result<ServiceConfig, wire::Error> {
    let key = service_key(given.service)?;
    let spec = spec::service_spec(given.service, &given.spec)?;
    let mut seen = BTreeSet::new();
    let mut reals = Vec::with_capacity(given.dests.len());
    for dest in &given.dests {
        let at = dest_key(dest.address)?;
        if !seen.insert(at) {
            let name = service_name(&key);
            let message = format!("real server {} is there twice in {name}", dest.address);
            return Err(error(ErrorCode::DestExists, message));
        }
        reals.push((at, spec::dest_spec(&dest.spec)));
    }
    Ok(ServiceConfig { key, spec, reals })
}

fn interface((name, i): (&String, &wire::ConfiguredInterface)) -> (String, Interface) {
    let mode = i.mode.map(|mode| match mode {
        wire::AttachPolicy::Auto => Mode::Auto,
        wire::AttachPolicy::Native => Mode::Native,
        wire::AttachPolicy::Generic => Mode::Generic,
    });
    (name.clone(), Interface { mode, mark: i.mark })
}

pub(in crate::api) fn shown_config(c: &Config) -> wire::Config {
    let sysctls = c.sysctls.iter();
    let sysctls = sysctls.map(|(n, v)| (n.clone(), wire::SysctlValue::Text(v.clone())));
    wire::Config {
        services: c.services.iter().map(|s| shown_service(s)).collect(),
        matches: matches::shown_rules(&c.matches),
        sysctls: sysctls.collect(),
        timeouts: knobs::shown_timeouts(c.timeouts),
        icmp_rate: c.icmp_rate,
        interfaces: Some(c.interfaces.iter().map(shown_interface).collect()),
    }
}

pub(in crate::api) fn shown_service(s: &ServiceConfig) -> wire::ConfiguredService {
    let dests = s.reals.iter().map(|(dest, spec)| wire::ConfiguredDest {
        address: dest.socket(),
        spec: spec::dest_shown(spec),
    });
    wire::ConfiguredService {
        service: service_id(&s.key),
        spec: spec::shown(service_id(&s.key), &s.spec),
        dests: dests.collect(),
    }
}

fn shown_interface((name, i): (&String, &Interface)) -> (String, wire::ConfiguredInterface) {
    let mode = i.mode.map(|mode| match mode {
        Mode::Auto => wire::AttachPolicy::Auto,
        Mode::Native => wire::AttachPolicy::Native,
        Mode::Generic => wire::AttachPolicy::Generic,
    });
    (
        name.clone(),
        wire::ConfiguredInterface { mode, mark: i.mark },
    )
}

pub(in crate::api) fn change(row: &Row, conns: Option<wire::Counts>) -> wire::Change {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (mut service, mut dest, mut setting) = (None, None, None);
    match &row.subject {
        Subject::Service(key) => service = Some(service_id(key)),
        Subject::Dest(key, at) => {
            service = Some(service_id(key));
            dest = Some(at.socket());
        }
        Subject::Match(text) => setting = Some(format!("match {text}")),
        Subject::MatchOrder => setting = Some("order of the match rules".to_owned()),
        Subject::Sysctl(name) => setting = Some(format!("sysctl.{name}")),
        Subject::Director(name) => setting = Some(format!("director.{name}")),
        Subject::Interface(name) => setting = Some(format!("interface.{name}")),
        Subject::Api(name) => setting = Some(format!("api.{name}")),
    }
    wire::Change {
        action: match row.action {
            Action::Added => wire::Action::Added,
            Action::Removed => wire::Action::Removed,
            Action::Changed => wire::Action::Changed,
        },
        service,
        dest,
        setting,
        field: said(row.field),
        old: said(&row.old),
        new: said(&row.new),
        conns,
    }
}

pub(in crate::api) fn moved(m: &Moved) -> wire::Moved {
    wire::Moved {
        service: service_id(&m.service),
        moved: m.moved as u32,
        slots: m.slots as u32,
    }
}

pub(in crate::api) fn together_error(e: &TogetherError, commands: usize) -> wire::Error {
    match e {
        TogetherError::Commands(e) => director_error(e, commands),
        TogetherError::Sysctls(e) => knobs::sysctl_error(e, 1),
        TogetherError::Timeouts(e) => knobs::timeouts_error(e),
        TogetherError::Tables(_) | TogetherError::HalfDone { .. } => {
            error(ErrorCode::Tables, e.to_string())
        }
    }
}

/// Interfaces that differ, as a person reads them.
pub(in crate::api) fn interface_rows(
    before: &BTreeMap<String, Interface>,
    after: &BTreeMap<String, Interface>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let subject = |name: &String| Subject::Interface(name.clone());
    for (name, i) in after {
        match before.get(name) {
            None => rows.push(Row::added(subject(name), text(*i))),
            Some(old) if old == i => {}
            Some(old) => rows.push(Row::changed(subject(name), "", text(*old), text(*i))),
        }
    }
    for (name, old) in before {
        if !after.contains_key(name) {
            rows.push(Row::removed(subject(name), text(*old)));
        }
    }
    rows
}

fn text(i: Interface) -> String {
    let mode = i.mode.map_or("as told for all", |mode| match mode {
        Mode::Auto => "auto",
        Mode::Native => "native",
        Mode::Generic => "generic",
    });
    match i.mark {
        0 => mode.to_owned(),
        mark => format!("{mode}, mark {mark}"),
    }
}

/// What only a start can change.
pub(in crate::api) fn restart_rows(started: &Config, new: &Config) -> Vec<Row> {
    let size = |(name, old, new): (&str, u32, u32)| {
        let subject = || Subject::Director(name.to_owned());
        (old != new).then(|| Row::changed(subject(), "", old.to_string(), new.to_string()))
    };
    let mut rows: Vec<_> = sizes(&started.capacities, &new.capacities)
        .into_iter()
        .filter_map(size)
        .collect();
    for (name, old, new) in api_texts(started, new) {
        if old != new {
            rows.push(Row::changed(Subject::Api(name.to_owned()), "", old, new));
        }
    }
    rows
}

const fn sizes(a: &Capacities, b: &Capacities) -> [(&'static str, u32, u32); 11] {
    [
        ("services", a.services, b.services),
        ("real_servers", a.dests, b.dests),
        ("list_slots", a.list_slots, b.list_slots),
        ("table_slots", a.table_slots, b.table_slots),
        ("connections", a.conns, b.conns),
        ("half_open", a.half_open, b.half_open),
        ("templates", a.templates, b.templates),
        ("lblc", a.lblc, b.lblc),
        ("lblcr", a.lblcr, b.lblcr),
        ("match_slots", a.match_slots, b.match_slots),
        ("mh_table_index (slots)", a.maglev, b.maglev),
    ]
}

fn api_texts(old: &Config, new: &Config) -> Vec<(&'static str, String, String)> {
    let (old, new) = (api_keys(&old.api), api_keys(&new.api));
    let pairs = old.into_iter().zip(new);
    pairs
        .map(|((name, old), (_, new))| (name, old, new))
        .collect()
}

fn api_keys(api: &Api) -> [(&'static str, String); 5] {
    let mode = |m: Option<u32>| m.map_or_else(|| "default".to_owned(), |m| format!("{m:04o}"));
    let group = |g: &Option<String>| g.clone().unwrap_or_else(|| "default".to_owned());
    let path = api.read_only.as_ref();
    let path = path.map_or_else(|| "none".to_owned(), |p| p.display().to_string());
    [
        ("socket_mode", mode(api.access.mode)),
        ("socket_group", group(&api.access.group)),
        ("read_only_socket", path),
        ("read_only_mode", mode(api.read_only_access.mode)),
        ("read_only_group", group(&api.read_only_access.group)),
    ]
}
