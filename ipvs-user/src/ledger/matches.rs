//! The record of a match rule.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{Addr, Proto, matches::MAX_RANGES};

use crate::model::{Conditions, MatchRule, Network};

/// Bytes of an interface's name, which is padded with zeros.
const NAME: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct MatchRecord {
    pub mark: u32,
    pub to: Addr,
    /// Means nothing without a prefix.
    pub from: Addr,
    pub to_prefix: u8,
    /// One more than its length; 0: any source.
    pub from_prefix: u8,
    /// 0: any.
    pub protocol: u8,
    /// How many of the ports mean something; 0: any port.
    pub ranges: u8,
    /// Empty: any.
    pub interface: [u8; NAME],
    /// First and last ones, host order.
    pub ports: [[u16; 2]; MAX_RANGES],
}

impl MatchRecord {
    #[must_use]
    pub fn new(rule: &MatchRule) -> Self {
        let Conditions {
            to,
            from,
            ports,
            protocol,
            interface,
        } = &rule.conditions;
        let mut this = Self {
            mark: rule.mark,
            to: to.addr(),
            from: from.map_or(Addr::UNSPECIFIED, |from| from.addr()),
            to_prefix: to.prefix(),
            from_prefix: from.map_or(0, |from| from.prefix() + 1),
            protocol: protocol.map_or(0, |p| p as u8),
            ranges: ports.len() as u8,
            interface: [0; NAME],
            ports: [[0; 2]; MAX_RANGES],
        };
        for (place, range) in this.ports.iter_mut().zip(ports) {
            *place = [*range.start(), *range.end()];
        }
        let name = interface.iter().flat_map(|name| name.bytes());
        for (place, byte) in this.interface.iter_mut().zip(name) {
            *place = byte;
        }
        this
    }

    /// `None`: it is none that a rule comes to.
    #[must_use]
    pub fn rule(&self) -> Option<MatchRule> {
        let from = self.from_prefix.checked_sub(1);
        let from = match from {
            Some(prefix) => Some(Network::new(self.from.ip(), prefix)?),
            None => None,
        };
        let protocol = match self.protocol {
            0 => None,
            number => Some(Proto::from_number(number)?),
        };
        let ports = self.ports.get(..usize::from(self.ranges))?;
        let name = self.interface.split(|byte| *byte == 0).next()?;
        let name = std::str::from_utf8(name).ok()?;
        Some(MatchRule {
            conditions: Conditions {
                to: Network::new(self.to.ip(), self.to_prefix)?,
                from,
                ports: ports.iter().map(|[first, last]| *first..=*last).collect(),
                protocol,
                interface: (!name.is_empty()).then(|| name.to_owned()),
            },
            mark: self.mark,
        })
    }
}
