//! What a director is told: services, real servers, and commands on them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MatchRule;

/// A virtual service: `{"tcp": "10.0.0.5:25"}`, `{"udp": "[2001:db8::1]:53"}`, `{"sctp": …}`, `{"fwmark": 7}` for IPv4 or
/// `{"fwmark6": 7}` for IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceId {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Sctp(SocketAddr),
    Fwmark(NonZeroU32),
    Fwmark6(NonZeroU32),
}

impl ServiceId {
    #[must_use]
    pub const fn is_v6(self) -> bool {
        match self {
            Self::Tcp(a) | Self::Udp(a) | Self::Sctp(a) => a.is_ipv6(),
            Self::Fwmark(_) => false,
            Self::Fwmark6(_) => true,
        }
    }
}

/// The same as parameters of a query: exactly one of them, or none for all services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sctp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark6: Option<NonZeroU32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Name of the scheduler.
    pub scheduler: String,
    /// Persistence timeout in seconds; absent: not persistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<u32>,
    /// Clients that agree under this mask stay together. Absent: each stays by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Netmask>,
    /// Name of the persistence engine, which looks into packets for who is the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
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
            netmask: None,
            engine: None,
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

/// A network's size: `"255.255.255.0"` over IPv4, a prefix length over IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Netmask {
    Mask(Ipv4Addr),
    Prefix(u8),
}

impl Netmask {
    /// Whether it tells every client from the others.
    #[must_use]
    pub const fn is_full(self) -> bool {
        matches!(self, Self::Mask(Ipv4Addr::BROADCAST) | Self::Prefix(128))
    }
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
    /// Of the method `tunnel`; absent: IP in IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// How packets are packed: `{"kind": "gue", "port": 6080, "checksum": "full"}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// Of gue.
    #[serde(default)]
    pub port: u16,
    #[serde(default)]
    pub checksum: TunnelChecksum,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TunnelKind {
    Ipip,
    Gue,
    Gre,
}

/// Checksum of the outer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    #[default]
    None,
    Full,
    /// The inner one is left to the far end.
    Remote,
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
        dest: SocketAddr,
        spec: DestSpec,
    },
    EditDest {
        service: ServiceId,
        dest: SocketAddr,
        spec: DestSpec,
    },
    DeleteDest {
        service: ServiceId,
        dest: SocketAddr,
    },
    /// Counters and rates start over: of one service and its real servers, or of everything.
    Zero {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceId>,
    },
    /// These match rules hold from here on, and no others.
    SetMatches {
        matches: Vec<MatchRule>,
    },
}
