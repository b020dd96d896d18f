//! Requests and answers of version 1. Types only: what they mean is the daemon's business.
//!
//! Requests refuse unknown fields, so that a misspelt one is not taken for an absent one. Answers may grow, so a client skips
//! what it does not know.

mod desired;
mod event;
mod expectation;
mod told;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU32,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use desired::{
    Action, ApplyQuery, AttachPolicy, ByHand, Change, Config, ConfiguredDest, ConfiguredInterface,
    ConfiguredService, Counts, Done, Moved, Plan,
};
pub use event::{Event, EventQuery, What};
pub use expectation::{Expectation, Protocol};

/// Path in front of every resource.
pub const PREFIX: &str = "/v1";

/// A virtual service: `{"tcp": "10.0.0.5:25"}`, `{"udp": …}` or `{"fwmark": 7}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceId {
    Tcp(SocketAddrV4),
    Udp(SocketAddrV4),
    Fwmark(NonZeroU32),
}

/// The same as parameters of a query: exactly one of them, or none for all services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddrV4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SocketAddrV4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<NonZeroU32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Name of the scheduler.
    pub scheduler: String,
    /// Persistence timeout in seconds; absent: not persistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<u32>,
    /// Clients that agree under this mask stay together.
    #[serde(default = "full_netmask")]
    pub netmask: Ipv4Addr,
    /// Every datagram is scheduled by itself; for UDP and firewall marks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_packet: bool,
    /// The scheduler's own flags: `sh-port`, `flag-1`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sched_flags: Vec<String>,
    /// The three that follow are where a service may do better than ip_vs. Absent from an edit, each stays as it is; absent
    /// from an addition, all is as in ip_vs.
    ///
    /// What becomes of established TCP connections whose real server is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_dead: Option<OnDead>,
    /// A SYN on a closing connection is scheduled anew at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopen: Option<bool>,
    /// A persistence template ends with its real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates_die: Option<bool>,
}

impl ServiceSpec {
    #[must_use]
    pub fn new(scheduler: &str) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            persistent: None,
            netmask: full_netmask(),
            one_packet: false,
            sched_flags: Vec::new(),
            on_dead: None,
            reopen: None,
            templates_die: None,
        }
    }
}

/// What becomes of a connection whose real server is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// As in ip_vs, by `expire_nodest_conn`.
    Kernel,
    /// The client is told with a reset.
    Reset,
    /// Another real server takes it over.
    Reschedule,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The mask that tells every client from the others.
#[must_use]
pub const fn full_netmask() -> Ipv4Addr {
    Ipv4Addr::BROADCAST
}

/// How packets get to a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Masq,
    Tunnel,
    Droute,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestSpec {
    pub method: Method,
    pub weight: u32,
    #[serde(default)]
    pub upper_threshold: u32,
    #[serde(default)]
    pub lower_threshold: u32,
}

/// One change. A request is a list of them, carried out as a whole or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    AddService {
        service: ServiceId,
        spec: ServiceSpec,
    },
    EditService {
        service: ServiceId,
        spec: ServiceSpec,
    },
    DeleteService {
        service: ServiceId,
    },
    Flush,
    AddDest {
        service: ServiceId,
        dest: SocketAddrV4,
        spec: DestSpec,
    },
    EditDest {
        service: ServiceId,
        dest: SocketAddrV4,
        spec: DestSpec,
    },
    DeleteDest {
        service: ServiceId,
        dest: SocketAddrV4,
    },
    /// Counters and rates start over: of one service and its real servers, or of everything.
    Zero {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceId>,
    },
}

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
    pub address: SocketAddrV4,
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
    /// `TCP`, `UDP`, or `IP` for the template of a firewall mark service.
    pub protocol: String,
    pub client: SocketAddrV4,
    pub r#virtual: SocketAddrV4,
    pub real: SocketAddrV4,
    pub state: String,
    /// Seconds to go, rounded down.
    pub expires: u64,
    pub template: bool,
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
    UnknownSysctl,
    /// A knob that has its default and nothing else.
    DoesNotApply,
    /// A number is out of its range.
    Range,
    Invalid,
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
}
