//! Match rules.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;

/// Packets of TCP, UDP and SCTP that it fits carry a firewall mark: `{"mark": 7, "to": "0.0.0.0/0", "ports": ["80"]}`. The longest
/// prefix around a packet's destination goes before shorter ones, and then the order of the rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchRule {
    pub mark: NonZeroU32,
    /// Destination: an address, or a prefix.
    pub to: String,
    /// Source: the same; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Destination ports: `"80"`, `"8000-8099"`; none: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Name of the interface that packets enter by; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A match rule in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    pub rule: MatchRule,
    /// Why it does nothing just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}
