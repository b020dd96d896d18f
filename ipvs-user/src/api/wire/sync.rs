//! The sync daemon, which tells another director of connections.

use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of the two it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncRole {
    /// Tells of connections.
    Master,
    /// Learns of them.
    Backup,
}

impl SyncRole {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// A sync daemon that runs, or is to be started: `{"role": "master", "interface": "eth1"}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncDaemon {
    pub role: SyncRole,
    #[serde(default = "interface")]
    pub interface: String,
    /// Directors of other numbers are not listened to.
    #[serde(default)]
    pub syncid: u8,
    /// Bytes in a message; absent: what the interface takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxlen: Option<u16>,
    #[serde(default = "group")]
    pub group: IpAddr,
    #[serde(default = "port")]
    pub port: u16,
    #[serde(default = "ttl")]
    pub ttl: u8,
}

impl SyncDaemon {
    #[must_use]
    pub fn new(role: SyncRole) -> Self {
        Self {
            role,
            interface: interface(),
            syncid: 0,
            maxlen: None,
            group: group(),
            port: port(),
            ttl: ttl(),
        }
    }
}

/// The one that a query means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncQuery {
    pub role: SyncRole,
}

fn interface() -> String {
    "eth0".to_owned()
}

const fn group() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81))
}

const fn port() -> u16 {
    8848
}

const fn ttl() -> u8 {
    1
}
