//! Announced connections.

use std::net::{Ipv4Addr, SocketAddrV4};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ServiceId;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// A connection that a client is about to open, from a port that is not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    pub protocol: Protocol,
    pub client: Ipv4Addr,
    /// Where the client will send its packets.
    pub r#virtual: SocketAddrV4,
    /// The service whose real server serves it.
    pub service: ServiceId,
    /// Where it leads: the address of one of the service's real servers; port 0 is the virtual one.
    pub real: SocketAddrV4,
    /// Seconds for which the client is waited for.
    pub timeout: u32,
}
