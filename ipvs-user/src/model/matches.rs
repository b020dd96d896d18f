//! Match rules: which packets carry a firewall mark. They stand in an order, and are replaced as a whole.

use std::{collections::HashMap, fmt, net::IpAddr, ops::RangeInclusive, str::FromStr, sync::Arc};

use ipvs_common::{
    Addr, Proto,
    matches::{MAX_MATCHES, MAX_RANGES},
};

use super::{Effect, Model, ModelError, error::protocol_name};

/// All rules, the first one of the file first.
pub type MatchRules = Arc<[MatchRule]>;

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    addr: Addr,
    /// Within the address of its family.
    prefix: u8,
}

impl Network {
    /// `None`: the family has no such prefix length, or bits are set beyond it.
    #[must_use]
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Self> {
        let this = Self {
            addr: ip.into(),
            prefix,
        };
        let fits = prefix <= this.full() && this.cut(prefix).addr == this.addr;
        fits.then_some(this)
    }

    /// An address alone.
    #[must_use]
    pub fn only(ip: IpAddr) -> Self {
        let addr = Addr::from(ip);
        let this = Self { addr, prefix: 0 };
        Self {
            prefix: this.full(),
            ..this
        }
    }

    #[must_use]
    pub const fn addr(&self) -> Addr {
        self.addr
    }

    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.addr.is_v4()
    }

    /// Every address of its family.
    #[must_use]
    pub fn whole_family(&self) -> Self {
        self.cut(0)
    }

    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4()
            && self.prefix <= other.prefix
            && other.cut(self.prefix).addr == self.addr
    }

    /// Prefix length in the form that has room for both families.
    #[must_use]
    pub const fn wide_prefix(&self) -> u8 {
        self.prefix + (128 - self.full())
    }

    const fn full(&self) -> u8 {
        if self.is_v4() { 32 } else { 128 }
    }

    /// The network of so many bits that it is in.
    #[must_use]
    pub fn cut(&self, prefix: u8) -> Self {
        let wide = u32::from(prefix) + u32::from(128 - self.full());
        let mask = u128::MAX.checked_shl(128 - wide).unwrap_or(0);
        let bits = u128::from_be_bytes(self.addr.bytes()) & mask;
        Self {
            addr: Addr::v6(bits.to_be_bytes()),
            prefix,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.addr.ip();
        if self.prefix == self.full() {
            return write!(f, "{ip}");
        }
        write!(f, "{ip}/{}", self.prefix)
    }
}

/// Why a text is no network, and what it might have meant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("`{0}` is no address and no prefix")]
    Unreadable(String),
    #[error("`{text}` has bits set beyond its prefix")]
    Beyond { text: String, meant: Network },
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let unreadable = || NetworkError::Unreadable(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| unreadable())?;
        if matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
            return Err(unreadable());
        }
        let only = Self::only(ip);
        let Some(prefix) = prefix else {
            return Ok(only);
        };
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| digits);
        let prefix: u8 = prefix
            .filter(|p| *p <= only.full())
            .ok_or_else(unreadable)?;
        Self::new(ip, prefix).ok_or_else(|| NetworkError::Beyond {
            text: text.to_owned(),
            meant: only.cut(prefix),
        })
    }
}

/// Ports from one to another.
pub type Ports = RangeInclusive<u16>;

/// A rule without its mark: what a packet has to be like.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Conditions {
    pub to: Network,
    pub from: Option<Network>,
    /// Empty: every port.
    pub ports: Vec<Ports>,
    /// `None`: all.
    pub protocol: Option<Proto>,
    /// Name of the interface that it enters by.
    pub interface: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MatchRule {
    pub conditions: Conditions,
    pub mark: u32,
}

/// As a person reads it.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.to)?;
        if let Some(protocol) = self.protocol {
            write!(f, " {}", protocol_name(protocol as u8))?;
        }
        for (number, ports) in self.ports.iter().enumerate() {
            let before = if number == 0 { " port " } else { "," };
            write!(f, "{before}{}", port_text(ports))?;
        }
        if let Some(from) = &self.from {
            write!(f, " from {from}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " on {interface}")?;
        }
        Ok(())
    }
}

/// One port, or two with a dash.
#[must_use]
pub fn port_text(ports: &Ports) -> String {
    let (first, last) = (ports.start(), ports.end());
    if first == last {
        return first.to_string();
    }
    format!("{first}-{last}")
}

/// The other way round.
#[must_use]
pub fn ports_of(text: &str) -> Option<Ports> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

/// The kernel's longest name of an interface.
const MAX_NAME: usize = 15;

impl MatchRule {
    /// What is wrong with it by itself.
    fn check(&self) -> Result<(), String> {
        let Conditions {
            to,
            from,
            ports,
            protocol: _,
            interface,
        } = &self.conditions;
        if self.mark == 0 {
            return Err("a mark of 0 is none".to_owned());
        }
        if from.is_some_and(|from| from.is_v4() != to.is_v4()) {
            return Err("its source is of the other address family".to_owned());
        }
        if ports.len() > MAX_RANGES {
            let given = ports.len();
            return Err(format!("{given} port ranges; a rule can have {MAX_RANGES}"));
        }
        if ports.iter().any(RangeInclusive::is_empty) {
            return Err("its ports end before they begin".to_owned());
        }
        if let Some(name) = interface
            && !is_interface(name)
        {
            return Err(format!("`{name}` cannot be the name of an interface"));
        }
        Ok(())
    }
}

/// Whether the kernel takes this for the name of an interface.
#[must_use]
pub fn is_interface(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == '\0' || c.is_whitespace();
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(bad)
}

/// What is wrong with a list of rules, and with which one of them.
pub fn check_rules(rules: &[MatchRule]) -> Result<(), (usize, String)> {
    if rules.len() > MAX_MATCHES {
        let message = format!("{} rules; there can be {MAX_MATCHES}", rules.len());
        return Err((MAX_MATCHES, message));
    }
    let mut seen = HashMap::with_capacity(rules.len());
    for (place, rule) in rules.iter().enumerate() {
        rule.check().map_err(|message| (place, message))?;
        if let Some(other) = seen.insert(&rule.conditions, place) {
            let message = format!("it wants what rule {} wants", other + 1);
            return Err((place, message));
        }
    }
    Ok(())
}

impl Model {
    /// The match rules in force.
    #[must_use]
    pub const fn matches(&self) -> &MatchRules {
        &self.matches
    }

    pub(super) fn set_matches(&mut self, rules: &MatchRules) -> Result<Vec<Effect>, ModelError> {
        if self.matches == *rules {
            return Ok(Vec::new());
        }
        check_rules(rules).map_err(|(place, message)| {
            ModelError::Invalid(format!("match rule {}: {message}", place + 1))
        })?;
        self.matches = Arc::clone(rules);
        Ok(vec![Effect::MatchesReplaced])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.1",
            "::/0",
            "2001:db8::/33",
            "::1",
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), text);
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::ffff:10.0.0.1",
            "::/129",
            "x",
        ] {
            assert!(matches!(
                text.parse::<Network>(),
                Err(NetworkError::Unreadable(_))
            ));
        }
        let beyond = "10.0.0.1/8".parse::<Network>();
        let meant = "10.0.0.0/8".parse().unwrap();
        assert!(matches!(beyond, Err(NetworkError::Beyond { meant: m, .. }) if m == meant));
    }

    #[test]
    fn networks_contain_what_begins_like_them_in_their_family() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        assert!(network("10.0.0.0/8").contains(&network("10.1.0.0/16")));
        assert!(!network("10.1.0.0/16").contains(&network("10.0.0.0/8")));
        assert!(!network("::/0").contains(&network("10.0.0.0/8")));
        assert!(network("::/0").contains(&network("2001:db8::1")));
    }

    #[test]
    fn port_ranges_are_read_as_they_are_written() {
        for text in ["0", "80", "80-90", "0-65535"] {
            assert_eq!(port_text(&ports_of(text).unwrap()), text);
        }
        for text in ["", "-", "80-", "90-80", "+80", "65536", "80:90"] {
            assert_eq!(ports_of(text), None, "{text}");
        }
    }
}
