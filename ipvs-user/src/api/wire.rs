//! Requests and answers of version 1. Types only: what they mean is the daemon's business.
//!
//! Requests refuse unknown fields, so that a misspelt one is not taken for an absent one. Answers may grow, so a client skips
//! what it does not know.

mod command;
mod desired;
mod event;
mod expectation;
mod matches;
mod sync;
mod told;

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::{
    Command, DestSpec, Method, Netmask, OnDead, ServiceId, ServiceQuery, ServiceSpec, Tunnel,
    TunnelChecksum, TunnelKind,
};
pub use desired::{
    Action, ApplyQuery, AttachPolicy, ByHand, Change, Config, ConfiguredDest, ConfiguredInterface,
    ConfiguredService, Counts, Done, Moved, Plan, Waiting,
};
pub use event::{Event, EventQuery, What};
pub use expectation::{Expectation, Protocol};
pub use matches::{Match, MatchRule};
pub use sync::{SyncDaemon, SyncQuery, SyncRole};

/// Path in front of every resource.
pub const PREFIX: &str = "/v1";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Of the daemon.
    pub daemon: String,
    /// Of the maps' layout.
    pub abi: u32,
    /// Connections that fit.
    pub connection_table_size: u32,
    /// Ticks in a second of the kernel's clock.
    #[serde(default)]
    pub hz: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    pub conns: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// What happens in a second: an average over the last ones, in which the latest count most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    pub conns: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// Traffic of all services, deleted ones included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    #[serde(flatten)]
    pub stats: Stats,
    #[serde(default)]
    pub rates: Rates,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    pub service: ServiceId,
    pub spec: ServiceSpec,
    pub stats: Stats,
    #[serde(default)]
    pub rates: Rates,
    /// Newest first.
    pub dests: Vec<Dest>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dest {
    pub address: SocketAddr,
    pub spec: DestSpec,
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    pub overloaded: bool,
    pub stats: Stats,
    #[serde(default)]
    pub rates: Rates,
}

/// A real server and the service it belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DestOf {
    pub service: ServiceId,
    pub dest: Dest,
}

/// A connection, or a persistence template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Conn {
    /// `TCP`, `UDP`, `SCTP`, or `IP` for the template of a firewall mark service.
    pub protocol: String,
    pub client: SocketAddr,
    pub r#virtual: SocketAddr,
    pub real: SocketAddr,
    pub state: String,
    /// Seconds to go, rounded down.
    pub expires: u64,
    pub template: bool,
    /// Another director told of it (`SYNC` in ip_vs's list); else packets made it (`LOCAL`).
    #[serde(default)]
    pub told: bool,
    /// Persistence engine that made the template, and what it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineData>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EngineData {
    pub name: String,
    pub data: String,
}

/// A counter of the datapath.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// `pass`, `drop` or `event`.
    pub kind: String,
    pub name: String,
    pub help: String,
    pub count: u64,
}

/// Timeouts in seconds, as far as they can be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Timeouts {
    pub tcp: u32,
    pub tcp_fin: u32,
    pub udp: u32,
}

/// The timeouts that are to change; absent ones stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutChanges {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<u32>,
}

/// A knob of ip_vs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sysctl {
    pub name: String,
    pub value: String,
    pub default: String,
    /// What it takes, in words.
    pub range: String,
    /// What it does.
    pub doc: String,
    /// Why it has its default and nothing else; absent: it can be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What a knob is to be set to: 1 and "1" are the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SysctlValue {
    Number(i64),
    Text(String),
}

/// Knobs that are to change, by name: all or none.
pub type SysctlChanges = BTreeMap<String, SysctlValue>;

/// How many there are, and how many there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fill {
    pub used: u64,
    pub capacity: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    /// `native` or `generic`.
    pub mode: String,
    /// Firewall mark of every packet that enters here; 0: none.
    pub mark: u32,
    /// A VLAN device: the interface whose program serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub daemon: String,
    pub services: Fill,
    /// Real servers; `used` counts deleted ones too while connections refer to them.
    pub dests: Fill,
    pub deleted_dests: u64,
    pub list_slots: Fill,
    pub timeouts: Timeouts,
    pub totals: Totals,
    pub interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// Why a request failed, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    ServiceExists,
    /// The service that was to be shown, edited or deleted is not there.
    NoService,
    /// The service whose real servers are meant is not there.
    ServiceUndefined,
    DestExists,
    NoDest,
    UnknownScheduler,
    /// A persistence engine that is none.
    UnknownEngine,
    UnknownSysctl,
    /// A knob that has its default and nothing else.
    DoesNotApply,
    /// A number is out of its range.
    Range,
    Invalid,
    /// A sync daemon of this role runs.
    SyncRuns,
    /// None of this role runs.
    NoSync,
    /// No such network interface.
    NoDevice,
    /// It would be right, but the datapath does not carry it.
    NotCarried,
    /// A table is full.
    Full,
    /// The datapath's tables refused.
    Tables,
    /// A configuration has mistakes, or there is none to be read.
    Config,
    /// A change waits to be confirmed, or none does.
    Pending,
    /// This socket only answers questions.
    ReadOnly,
    /// An interface cannot be attached to.
    Interface,
    /// No such resource, or a request that is none.
    BadRequest,
    /// A code that this client does not know.
    #[serde(other)]
    Other,
}

/// Body of every answer that is not a success.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Of a list of commands, the one that it is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<usize>,
}
