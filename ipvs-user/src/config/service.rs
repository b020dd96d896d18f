//! `[[service]]` and `[[service.real]]`.

mod options;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    ops::Range,
};

use ipvs_common::{ForwardingMethod, Proto, Scheduler, ServiceKey};
use toml::de::DeValue;

use super::{
    ServiceConfig,
    problems::Problems,
    section::{Found, Section, suggestion, wrong_type},
};
use crate::model::{DestKey, DestSpec, MAX_WEIGHT, ServiceSpec, service_name};

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
        "fwmark",
        "scheduler",
        "persistent",
        "netmask",
        "one_packet",
        "sched_flags",
        "on_dead",
        "reopen",
        "templates_die",
        "real",
    ];
    section.only_known(&known, problems);
    let id = identity(section, problems);
    let persistent = persistent(section, problems);
    let scheduler = scheduler(section, problems);
    let spec = ServiceSpec {
        scheduler: scheduler.unwrap_or(Scheduler::DEFAULT),
        persistent,
        prefix: netmask(section, problems).unwrap_or(ServiceSpec::FULL_PREFIX),
        flags: options::flags(section, id.as_ref().map(|id| id.value), scheduler, problems),
        policy: options::policy(section, problems),
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
    let reals = reals(section, id.as_ref().map(|id| id.value), problems);
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

/// Exactly one of `tcp`, `udp` and `fwmark`.
fn identity(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Found<ServiceKey>> {
    let given: Vec<_> = ["tcp", "udp", "fwmark"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    let hint = "write tcp = \"10.0.0.5:80\", udp = \"10.0.0.5:53\" or fwmark = 7";
    match given[..] {
        ["fwmark"] => {
            let mark = section.integer("fwmark", 1..=u32::MAX, problems)?;
            Some(Found {
                value: ServiceKey::fwmark(mark.value),
                span: mark.span,
            })
        }
        ["tcp"] => address_of(section, "tcp", Proto::Tcp, problems),
        ["udp"] => address_of(section, "udp", Proto::Udp, problems),
        [] => {
            problems.report(section.span.clone(), "a service without an address", hint);
            None
        }
        [_, second, ..] => {
            let span = section.get(second).map_or(0..0, toml::Spanned::span);
            let message = format!("a service with {}; it can have one", given.join(" and "));
            problems.report(span, message, "make another [[service]] for it");
            None
        }
        [_] => None,
    }
}

fn address_of(
    section: &Section<'_>,
    key: &str,
    proto: Proto,
    problems: &mut Problems<'_>,
) -> Option<Found<ServiceKey>> {
    let found = section.string(key, problems)?;
    let Ok(address) = found.value.parse::<SocketAddrV4>() else {
        let message = format!("`{}` is no IPv4 address with a port", found.value);
        let hint = match found.value.parse::<Ipv4Addr>() {
            Ok(ip) => format!("write {key} = \"{ip}:PORT\""),
            Err(_) => format!("write {key} = \"10.0.0.5:80\", in digits"),
        };
        problems.report(found.span, message, hint);
        return None;
    };
    let value = ServiceKey::v4(
        proto as u8,
        address.ip().octets(),
        address.port().to_be_bytes(),
    );
    Some(Found {
        value,
        span: found.span,
    })
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

fn netmask(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<u8> {
    let found = section.string("netmask", problems)?;
    let bits = found.value.parse::<Ipv4Addr>().map_or(0, u32::from);
    if bits == 0 || bits.leading_ones() != bits.count_ones() {
        let message = format!("`{}` is no network mask", found.value);
        problems.report(
            found.span,
            message,
            "write, for example, netmask = \"255.255.255.0\"",
        );
        return None;
    }
    Some(bits.count_ones() as u8)
}

/// The real servers of a service; `None`: of one whose address was not understood.
fn reals(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    problems: &mut Problems<'_>,
) -> Vec<(DestKey, DestSpec)> {
    let mut lines: BTreeMap<DestKey, usize> = BTreeMap::new();
    let mut reals = Vec::new();
    for section in section.sections("real", "[[service.real]]", problems) {
        let Some((key, spec)) = real(&section, service, problems) else {
            continue;
        };
        let line = problems.line_of(key.span.start);
        if let Some(first) = lines.insert(key.value, line) {
            let message = format!("second real server {} in this service", key.value.v4());
            let hint = format!("the first one is in line {first}; a larger weight gives it more");
            problems.report(key.span, message, hint);
            lines.insert(key.value, first);
            continue;
        }
        reals.push((key.value, spec));
    }
    reals
}

fn real(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    problems: &mut Problems<'_>,
) -> Option<(Found<DestKey>, DestSpec)> {
    let known = [
        "address",
        "method",
        "weight",
        "upper_threshold",
        "lower_threshold",
    ];
    section.only_known(&known, problems);
    let address = real_address(section, service, problems);
    let method = method(section, problems);
    let weight = section.integer("weight", 0..=MAX_WEIGHT, problems);
    let (upper, lower) = thresholds(section, problems);
    let (address, method) = (address?, method?);
    if let Some(service) = service {
        check_port(&address, method, service, problems);
    }
    let spec = DestSpec {
        method,
        weight: weight.map_or(1, |f| f.value),
        upper,
        lower,
    };
    Some((address, spec))
}

/// `10.0.1.6:26`, or without a port the service's.
fn real_address(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    problems: &mut Problems<'_>,
) -> Option<Found<DestKey>> {
    if section.get("address").is_none() {
        let hint = "write address = \"10.0.1.6:26\"";
        problems.report(
            section.span.clone(),
            "a real server without an address",
            hint,
        );
    }
    let Found { value: text, span } = section.string("address", problems)?;
    let default_port = service.map_or(0, |s| u16::from_be_bytes(s.port));
    let without_port = |ip| SocketAddrV4::new(ip, default_port);
    let Ok(address) = text
        .parse::<SocketAddrV4>()
        .or_else(|_| text.parse().map(without_port))
    else {
        let message = format!("`{text}` is no IPv4 address, with or without a port");
        problems.report(span, message, "write address = \"10.0.1.6:26\", in digits");
        return None;
    };
    let ip = address.ip();
    if ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0 {
        let message = format!("{ip} is not the address of one machine");
        problems.report(span, message, "write the real server's own address");
        return None;
    }
    Some(Found {
        value: address.into(),
        span,
    })
}

fn method(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<ForwardingMethod> {
    let names = ForwardingMethod::ALL.map(ForwardingMethod::name);
    if section.get("method").is_none() {
        let hint = format!("write method = \"…\" with one of {}", names.join(", "));
        problems.report(section.span.clone(), "a real server without a method", hint);
    }
    let found = section.string("method", problems)?;
    let method = ForwardingMethod::from_name(found.value);
    if method.is_none() {
        let message = format!("no forwarding method `{}`", found.value);
        problems.report(found.span, message, suggestion(found.value, &names));
    }
    method
}

fn thresholds(section: &Section<'_>, problems: &mut Problems<'_>) -> (u32, u32) {
    let upper = section.integer("upper_threshold", 0..=MAX_WEIGHT, problems);
    let lower = section.integer("lower_threshold", 0..=MAX_WEIGHT, problems);
    let upper = upper.map_or(0, |f| f.value);
    let Some(lower) = lower else {
        return (upper, 0);
    };
    if lower.value > upper
        && section
            .get("upper_threshold")
            .is_none_or(|v| v.get_ref().is_integer())
    {
        let message = format!(
            "lower_threshold = {} is above upper_threshold = {upper}",
            lower.value
        );
        problems.report(
            lower.span,
            message,
            "write an upper_threshold that is at least as large",
        );
    }
    (upper, lower.value)
}

/// Only masquerading can change the port.
fn check_port(
    real: &Found<DestKey>,
    method: ForwardingMethod,
    service: ServiceKey,
    problems: &mut Problems<'_>,
) {
    let port = u16::from_be_bytes(service.port);
    if method == ForwardingMethod::Masq || service.mark != 0 || real.value.port == port {
        return;
    }
    let message = format!(
        "{} delivers to the service's port {port}, so it cannot be {} here",
        method.name(),
        real.value.port
    );
    let hint = format!(
        "leave the port out, or write method = \"{}\"",
        ForwardingMethod::Masq.name()
    );
    problems.report(real.span.clone(), message, hint);
}
