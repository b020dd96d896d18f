//! What a service answers to: an address and port of a protocol, or a firewall mark of a family.

use std::net::{IpAddr, SocketAddr};

use ipvs_common::{Proto, ServiceKey};

use super::super::{
    problems::Problems,
    section::{Found, Section},
};

/// Exactly one of `tcp`, `udp`, `sctp`, `fwmark` and `fwmark6`.
pub(super) fn read(
    section: &Section<'_>,
    problems: &mut Problems<'_>,
) -> Option<Found<ServiceKey>> {
    let given: Vec<_> = ["tcp", "udp", "sctp", "fwmark", "fwmark6"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    match given[..] {
        ["fwmark"] => mark_of(section, "fwmark", ServiceKey::fwmark, problems),
        ["fwmark6"] => mark_of(section, "fwmark6", ServiceKey::fwmark6, problems),
        ["tcp"] => address_of(section, "tcp", Proto::Tcp as u8, problems),
        ["udp"] => address_of(section, "udp", Proto::Udp as u8, problems),
        ["sctp"] => address_of(section, "sctp", Proto::Sctp as u8, problems),
        [] => {
            let hint = "write tcp = \"10.0.0.5:80\", udp = \"10.0.0.5:53\" or fwmark = 7";
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

fn mark_of(
    section: &Section<'_>,
    key: &str,
    service: impl FnOnce(u32) -> ServiceKey,
    problems: &mut Problems<'_>,
) -> Option<Found<ServiceKey>> {
    let mark = section.integer(key, 1..=u32::MAX, problems)?;
    Some(Found {
        value: service(mark.value),
        span: mark.span,
    })
}

fn address_of(
    section: &Section<'_>,
    key: &str,
    proto: u8,
    problems: &mut Problems<'_>,
) -> Option<Found<ServiceKey>> {
    let found = section.string(key, problems)?;
    let Some(address) = found.value.parse().ok().filter(|a| is_plain(*a)) else {
        let message = format!("`{}` is no address with a port", found.value);
        let bare = found.value.trim_matches(['[', ']']);
        let hint = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => format!("write {key} = \"{ip}:PORT\""),
            Ok(IpAddr::V6(ip)) => format!("write {key} = \"[{ip}]:PORT\""),
            Err(_) => format!("write {key} = \"10.0.0.5:80\" or \"[2001:db8::5]:80\", in digits"),
        };
        problems.report(found.span, message, hint);
        return None;
    };
    Some(Found {
        value: ServiceKey {
            addr: address.ip().into(),
            port: address.port().to_be_bytes(),
            proto,
            ..ServiceKey::default()
        },
        span: found.span,
    })
}

/// Whether it is no IPv4 address in disguise, and has no zone.
pub(super) const fn is_plain(a: SocketAddr) -> bool {
    match a {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(a) => a.scope_id() == 0 && a.ip().to_ipv4_mapped().is_none(),
    }
}
