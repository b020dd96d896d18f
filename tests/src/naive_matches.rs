//! What match rules come to, told as one would tell it: every rule is looked at. Slow, and independent of the tables that the
//! datapath searches.

use ipvs_common::{Addr, Proto};
use ipvs_user::model::{Conditions, MatchRule, Network};

/// What of a packet match rules ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    pub src: Addr,
    pub dst: Addr,
    pub dport: u16,
    pub protocol: Proto,
    pub ifindex: u32,
}

/// The mark of the rule that decides, if one does: of the longest prefix around the destination, the first one of the file that
/// fits. `link` tells the index of an interface.
#[must_use]
pub fn mark(rules: &[MatchRule], asked: &Asked, link: &dyn Fn(&str) -> Option<u32>) -> Option<u32> {
    let fitting = rules.iter().enumerate();
    let fitting = fitting.filter(|(_, rule)| fits(&rule.conditions, asked, link));
    let first = fitting.min_by_key(|(place, rule)| (u8::MAX - rule.conditions.to.prefix(), *place));
    first.map(|(_, rule)| rule.mark)
}

fn fits(conditions: &Conditions, asked: &Asked, link: &dyn Fn(&str) -> Option<u32>) -> bool {
    let alone = |addr: Addr| Network::only(addr.ip());
    let Conditions {
        to,
        from,
        ports,
        protocol,
        interface,
    } = conditions;
    let on = |name: &String| link(name) == Some(asked.ifindex);
    to.contains(&alone(asked.dst))
        && from.is_none_or(|from| from.contains(&alone(asked.src)))
        && (ports.is_empty() || ports.iter().any(|p| p.contains(&asked.dport)))
        && protocol.is_none_or(|p| p == asked.protocol)
        && interface.as_ref().is_none_or(on)
}
