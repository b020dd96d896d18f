//! `[[match]]`: which packets carry a firewall mark.

use std::ops::Range;

use ipvs_common::Proto;
use toml::{Spanned, de::DeValue};

use super::{
    problems::Problems,
    section::{Section, suggestion, wrong_type},
};
use crate::model::{
    Conditions, MatchRule, MatchRules, Network,
    matches::{NetworkError, Ports, check_rules, is_interface, ports_of},
};

const PROTOCOLS: [(&str, Proto); 3] = [
    ("tcp", Proto::Tcp),
    ("udp", Proto::Udp),
    ("sctp", Proto::Sctp),
];
const PORTS_HINT: &str = "write ports = 80, ports = \"8000-8099\", or ports = [80, \"8000-8099\"]";

pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> MatchRules {
    let sections = root.sections("match", "[[match]]", problems);
    let mut rules = Vec::with_capacity(sections.len());
    let mut spans = Vec::with_capacity(sections.len());
    for section in &sections {
        if let Some(rule) = rule(section, problems) {
            rules.push(rule);
            spans.push(section.span.clone());
        }
    }
    together(&rules, &spans, problems);
    rules.into()
}

/// What only all of them show.
fn together(rules: &[MatchRule], spans: &[Range<usize>], problems: &mut Problems<'_>) {
    if problems.any() {
        return;
    }
    if let Err((place, message)) = check_rules(rules) {
        let same = |rule: &&MatchRule| rule.conditions == rules[place].conditions;
        let first = rules.iter().take(place).position(|rule| same(&rule));
        let (message, hint) = match first.and_then(|first| spans.get(first)) {
            Some(first) => {
                let line = problems.line_of(first.start);
                (
                    format!("a match rule that wants what the one on line {line} wants"),
                    "leave one of them out: the first one decides".to_owned(),
                )
            }
            None => (message, "leave some out".to_owned()),
        };
        let span = spans.get(place).cloned().unwrap_or(0..0);
        problems.report(span, message, hint);
    }
}

/// `None`: it was reported.
fn rule(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<MatchRule> {
    section.only_known(
        &["mark", "to", "from", "ports", "protocol", "interface"],
        problems,
    );
    let mark = section.integer("mark", 1..=u32::MAX, problems);
    if section.get("mark").is_none() {
        let hint = "write mark = 7, and fwmark = 7 in a [[service]]";
        problems.report(section.span.clone(), "a match rule without a mark", hint);
    }
    let to = network(section, "to", problems);
    if section.get("to").is_none() {
        let hint = "write to = \"0.0.0.0/0\" or to = \"::/0\" for every address";
        let message = "a match rule without a destination";
        problems.report(section.span.clone(), message, hint);
    }
    let from = network(section, "from", problems);
    if let (Some(to), Some(from)) = (to, from)
        && to.is_v4() != from.is_v4()
    {
        let span = section.get("from").map_or(0..0, Spanned::span);
        let hint = "make a rule for each family";
        problems.report(span, format!("{from} never sends to {to}"), hint);
    }
    let conditions = Conditions {
        ports: ports(section, problems),
        protocol: protocol(section, problems),
        interface: interface(section, problems),
        from,
        to: to?,
    };
    let mark = mark?.value;
    Some(MatchRule { conditions, mark })
}

fn network(section: &Section<'_>, key: &str, problems: &mut Problems<'_>) -> Option<Network> {
    let found = section.string(key, problems)?;
    let error = match found.value.parse() {
        Ok(network) => return Some(network),
        Err(error @ NetworkError::Unreadable(_)) => {
            let hint = format!("write {key} = \"10.0.0.0/8\" or {key} = \"2001:db8::/32\"");
            (error.to_string(), hint)
        }
        Err(error @ NetworkError::Beyond { meant, .. }) => {
            (error.to_string(), format!("write {key} = \"{meant}\""))
        }
    };
    problems.report(found.span, error.0, error.1);
    None
}

fn ports(section: &Section<'_>, problems: &mut Problems<'_>) -> Vec<Ports> {
    use ipvs_common::matches::MAX_RANGES;
    let Some(value) = section.get("ports") else {
        return Vec::new();
    };
    let each = match value.get_ref().as_array() {
        Some(array) => array.iter().collect(),
        None => vec![value],
    };
    if each.is_empty() {
        problems.report(value.span(), "an empty list of ports", PORTS_HINT);
    }
    if each.len() > MAX_RANGES {
        let message = format!("{} port ranges; a rule can have {MAX_RANGES}", each.len());
        problems.report(value.span(), message, "make another [[match]] for the rest");
    }
    let read = |value| range(value, problems);
    each.into_iter().filter_map(read).collect()
}

fn range(value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<Ports> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix())
            .map_or_else(|_| digits.to_string(), |number| number.to_string()),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            wrong_type("ports", value, "ports", PORTS_HINT, problems);
            return None;
        }
    };
    let ports = ports_of(&text);
    if ports.is_none() {
        let message = format!("`{text}` is no port and no range of ports");
        problems.report(value.span(), message, PORTS_HINT);
    }
    ports
}

fn protocol(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Proto> {
    let found = section.string("protocol", problems)?;
    let protocol = PROTOCOLS.iter().find(|(name, _)| *name == found.value);
    if protocol.is_none() {
        let message = format!("no protocol `{}`", found.value);
        let names = PROTOCOLS.map(|(name, _)| name);
        problems.report(found.span, message, suggestion(found.value, &names));
    }
    protocol.map(|(_, protocol)| *protocol)
}

fn interface(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let found = section.string("interface", problems)?;
    if !is_interface(found.value) {
        let message = format!("`{}` cannot be the name of an interface", found.value);
        problems.report(found.span, message, "`ip link` lists the names there are");
        return None;
    }
    Some(found.value.to_owned())
}
