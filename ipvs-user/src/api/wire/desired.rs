//! The whole configuration as one thing, and what it takes to get to another one.

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestSpec, MatchRule, ServiceId, ServiceSpec, SysctlChanges, TimeoutChanges};

/// Everything that shall be. What is absent has its default; interfaces, if none are named at all, stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub services: Vec<ConfiguredService>,
    /// Match rules, which give packets a firewall mark; of those that fit as well, the first one decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<MatchRule>,
    /// Knobs that are not at their default.
    #[serde(default)]
    pub sysctls: SysctlChanges,
    #[serde(default)]
    pub timeouts: TimeoutChanges,
    /// ICMP errors that each CPU may send in a second; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_rate: Option<u32>,
    /// By name; those of the daemon's command line need not be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<BTreeMap<String, ConfiguredInterface>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredService {
    pub service: ServiceId,
    pub spec: ServiceSpec,
    /// In the order in which they are added: the last one is the newest.
    #[serde(default)]
    pub dests: Vec<ConfiguredDest>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredDest {
    pub address: SocketAddr,
    pub spec: DestSpec,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredInterface {
    /// Absent: as the daemon was told for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AttachPolicy>,
    /// Firewall mark of every packet that enters here; 0: none.
    #[serde(default)]
    pub mark: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttachPolicy {
    Auto,
    Native,
    Generic,
}

/// Parameters of `PUT /v1/config` and `POST /v1/config/reload`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyQuery {
    /// Tell what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// What becomes of changes by hand: `keep` those that the new state says nothing new about, or `overwrite` all.
    /// Absent: `overwrite` for JSON, `keep` for TOML and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// Go back by itself after so many seconds, unless `POST /v1/config/confirm` comes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u32>,
    /// What to call the text when a mistake in it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByHand {
    Keep,
    Overwrite,
}

/// What changes, or has changed, to get from what was to what shall be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// It was carried out; false: it was only asked for.
    pub applied: bool,
    /// Seconds since 1970 at which a configuration was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    pub changes: Vec<Change>,
    /// Changed by hand since then, and left so: `old` is what was applied, `new` what it is.
    pub kept: Vec<Change>,
    /// Changed by hand since then, and overridden.
    pub overridden: Vec<Change>,
    /// Differs from what the daemon was started with, and holds from its next start on.
    pub needs_restart: Vec<Change>,
    /// Services under sh or mh some of whose clients go to another real server.
    pub moved: Vec<Moved>,
    /// Seconds within which it has to be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u32>,
    /// Another change that waits to be confirmed; others are refused until it does no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// A change that waits to be confirmed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Until it goes back by itself; 0: its time is over.
    pub seconds: u32,
    /// Attempts to go back that failed.
    pub failed: u32,
    /// Why the last one of them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    pub action: Action,
    /// What it is about: `service`, and for a real server `dest`, or `setting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Which of its values; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Connections of a real server that gets no others any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conns: Option<Counts>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Added,
    Removed,
    Changed,
}

/// Connections of a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
}

/// How many slots of a service's table change hands, of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    pub service: ServiceId,
    pub moved: u32,
    pub slots: u32,
}

/// It is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Done {}
