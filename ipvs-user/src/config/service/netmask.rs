//! The size of the client networks that persistence keeps together.

use std::net::Ipv4Addr;

use ipvs_common::ServiceKey;
use toml::de::DeValue;

use super::super::{problems::Problems, section::Section};
use crate::model::ServiceSpec;

/// A mask over IPv4, a prefix length over IPv6. Of a service that was not understood, nobody knows which.
pub(super) fn prefix(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    problems: &mut Problems<'_>,
) -> u8 {
    let Some(service) = service else {
        return ServiceSpec::FULL_PREFIX;
    };
    let found = if service.addr.is_v4() {
        of_mask(section, problems)
    } else {
        of_length(section, problems)
    };
    found.unwrap_or_else(|| ServiceSpec::full_prefix(&service))
}

fn of_mask(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<u8> {
    let found = section.string("netmask", problems)?;
    let bits = found.value.parse::<Ipv4Addr>().map_or(0, u32::from);
    if bits == 0 || bits.leading_ones() != bits.count_ones() {
        let message = format!("`{}` is no network mask", found.value);
        let hint = "write, for example, netmask = \"255.255.255.0\"";
        problems.report(found.span, message, hint);
        return None;
    }
    Some(bits.count_ones() as u8)
}

fn of_length(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<u8> {
    let value = section.get("netmask")?;
    if let DeValue::String(text) = value.get_ref() {
        let message = format!("`{text}` is no prefix length, as an IPv6 service takes");
        problems.report(value.span(), message, "write, for example, netmask = 64");
        return None;
    }
    let full = u32::from(ServiceSpec::FULL_PREFIX_V6);
    let found = section.integer("netmask", 1..=full, problems);
    found.map(|f| f.value as u8)
}
