//! Match rules, on the wire and in the model.

use std::num::NonZeroU32;

use ipvs_common::Proto;

use super::{
    error,
    wire::{self, ErrorCode},
};
use crate::model::{
    Conditions, MatchRule, MatchRules, Network,
    matches::{Ports, check_rules, port_text, ports_of},
};

/// The list as a whole: what is wrong with it is told with the number of the rule.
pub(in crate::api) fn rules(given: &[wire::MatchRule]) -> Result<MatchRules, wire::Error> {
    let numbered = |place: usize, message: String| {
        let message = format!("match rule {}: {message}", place + 1);
        error(ErrorCode::Invalid, message)
    };
    let read = given.iter().enumerate().map(|(place, given)| {
        let read = rule(given);
        read.map_err(|message| numbered(place, message))
    });
    let rules = read.collect::<Result<Vec<_>, _>>()?;
    check_rules(&rules).map_err(|(place, message)| numbered(place, message))?;
    Ok(rules.into())
}

fn rule(given: &wire::MatchRule) -> Result<MatchRule, String> {
    let network = |text: &str| text.parse::<Network>().map_err(|e| e.to_string());
    let ports = given.ports.iter().map(|text| {
        let ports = ports_of(text);
        ports.ok_or_else(|| format!("`{text}` is no port and no range of ports"))
    });
    Ok(MatchRule {
        conditions: Conditions {
            to: network(&given.to)?,
            from: given.from.as_deref().map(network).transpose()?,
            ports: ports.collect::<Result<Vec<Ports>, _>>()?,
            protocol: given.protocol.map(|protocol| match protocol {
                wire::Protocol::Tcp => Proto::Tcp,
                wire::Protocol::Udp => Proto::Udp,
                wire::Protocol::Sctp => Proto::Sctp,
            }),
            interface: given.interface.clone(),
        },
        mark: given.mark.get(),
    })
}

pub(in crate::api) fn shown_rules(rules: &[MatchRule]) -> Vec<wire::MatchRule> {
    rules.iter().filter_map(shown).collect()
}

/// `None`: no rule has the mark 0.
fn shown(rule: &MatchRule) -> Option<wire::MatchRule> {
    let Conditions {
        to,
        from,
        ports,
        protocol,
        interface,
    } = &rule.conditions;
    Some(wire::MatchRule {
        mark: NonZeroU32::new(rule.mark)?,
        to: to.to_string(),
        from: from.map(|from| from.to_string()),
        ports: ports.iter().map(port_text).collect(),
        protocol: protocol.map(|protocol| match protocol {
            Proto::Tcp => wire::Protocol::Tcp,
            Proto::Udp => wire::Protocol::Udp,
            Proto::Sctp => wire::Protocol::Sctp,
        }),
        interface: interface.clone(),
    })
}
