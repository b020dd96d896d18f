//! As many match rules as there may be, of which one fits the packets.

use std::net::Ipv4Addr;

use ipvs_common::{Proto, ServiceKey, matches::MAX_MATCHES};
use ipvs_user::model::{Command, Conditions, MatchRule, Network};

use super::service::NEW_DR;

const MARK: u32 = 7;

/// What makes a director of it: the rules, and the service.
pub(super) fn commands() -> Vec<Vec<Command>> {
    let rules = rules().into();
    vec![
        vec![Command::SetMatches { rules }],
        NEW_DR.commands_for(ServiceKey::fwmark(MARK)),
    ]
}

/// Half of them are prefixes of all kinds, half of them ports of the prefix that the packets are for.
fn rules() -> Vec<MatchRule> {
    let to = NEW_DR.virtual_server();
    let here = Network::only((*to.ip()).into()).cut(24);
    let elsewhere = (1..).map(|n: u32| {
        // Spread over all addresses, with lengths from 17 to 32.
        let addr = Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1));
        rule(
            Network::only(addr.into()).cut(17 + (n % 16) as u8),
            80,
            MARK + 1,
        )
    });
    let elsewhere =
        elsewhere.filter(|r| !r.conditions.to.contains(&Network::only((*to.ip()).into())));
    let ports = (1..).map(|n: u16| 10_000 + 2 * n);
    let ports = ports.map(|port| rule(here, port, MARK + 1));
    let fitting = rule(here, to.port(), MARK);
    std::iter::once(fitting)
        .chain(ports.take(MAX_MATCHES / 2 - 1))
        .chain(elsewhere.take(MAX_MATCHES / 2))
        .collect()
}

fn rule(to: Network, port: u16, mark: u32) -> MatchRule {
    MatchRule {
        conditions: Conditions {
            to,
            from: None,
            ports: vec![port..=port],
            protocol: Some(Proto::Tcp),
            interface: None,
        },
        mark,
    }
}

#[cfg(test)]
mod tests {
    use ipvs_user::model::matches::check_rules;

    use super::*;

    #[test]
    fn there_are_as_many_rules_as_there_may_be() {
        let rules = rules();
        assert_eq!(rules.len(), MAX_MATCHES);
        assert_eq!(check_rules(&rules), Ok(()));
    }
}
