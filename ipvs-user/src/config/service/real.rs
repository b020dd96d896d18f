//! `[[service.real]]`.

mod tunnel;

use std::{collections::BTreeMap, net::SocketAddr};

use ipvs_common::{ForwardingMethod, ServiceKey};

use super::{
    super::{
        problems::Problems,
        section::{Found, Section, suggestion},
    },
    identity::is_plain,
};
use crate::model::{DestKey, DestSpec, MAX_WEIGHT, is_unicast};

/// The real servers of a service; `None`: of one whose address was not understood.
pub(super) fn reals(
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
            let message = format!("second real server {} in this service", key.value.socket());
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
        "tunnel",
        "tunnel_port",
        "tunnel_checksum",
    ];
    section.only_known(&known, problems);
    let address = real_address(section, service, problems);
    let method = method(section, problems);
    let weight = section.integer("weight", 0..=MAX_WEIGHT, problems);
    let (upper, lower) = thresholds(section, problems);
    let tunnel = tunnel::read(section, method, problems);
    let (address, method) = (address?, method?);
    if let Some(service) = service {
        check_port(&address, method, service, problems);
        check_family(&address, method, service, problems);
    }
    let spec = DestSpec {
        method,
        weight: weight.map_or(1, |f| f.value),
        upper,
        lower,
        tunnel,
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
    let without_port = |ip| SocketAddr::new(ip, default_port);
    let parsed = text
        .parse::<SocketAddr>()
        .or_else(|_| text.trim_matches(['[', ']']).parse().map(without_port));
    let Some(address) = parsed.ok().filter(|a| is_plain(*a)) else {
        let message = format!("`{text}` is no address, with or without a port");
        let hint = "write address = \"10.0.1.6:26\" or \"[2001:db8::6]:26\", in digits";
        problems.report(span, message, hint);
        return None;
    };
    let ip = address.ip();
    if !is_unicast(ip) {
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

/// Only a tunnel takes packets of the other family.
fn check_family(
    real: &Found<DestKey>,
    method: ForwardingMethod,
    service: ServiceKey,
    problems: &mut Problems<'_>,
) {
    if method == ForwardingMethod::Tunnel || service.addr.is_v4() == real.value.addr.is_v4() {
        return;
    }
    let family = |v4| if v4 { "IPv4" } else { "IPv6" };
    let message = format!(
        "{} does not take packets over {} to an {} address",
        method.name(),
        family(service.addr.is_v4()),
        family(real.value.addr.is_v4())
    );
    let hint = format!(
        "write an address of the service's family, or method = \"{}\"",
        ForwardingMethod::Tunnel.name()
    );
    problems.report(real.span.clone(), message, hint);
}
