//! What `GET /v1/events` tells, a line of JSON each.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, SysctlChanges, TimeoutChanges};

/// Parameters of `GET /v1/events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Begin with this number, as far as it is still known; absent: with what happens from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts up by one from event to event, from 1 at the daemon's start.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// First line of a stream: `seq` is the number of the next event.
    Connected {},
    /// So many events, up to the number before `seq`, came faster than they were read, or are forgotten.
    Missed {
        events: u64,
    },
    /// A service or a real server was added, edited, deleted or zeroed.
    Command(Command),
    /// A connection was announced.
    Expected {
        client: String,
        r#virtual: SocketAddr,
    },
    Sysctls(SysctlChanges),
    Timeouts(TimeoutChanges),
    InterfaceAttached {
        name: String,
        mode: String,
    },
    InterfaceDetached {
        name: String,
    },
    /// A configuration was applied; the commands that did it come before.
    Applied {
        /// `file`, `put` or `roll_back`.
        from: String,
        changes: u64,
        kept: u64,
        /// Seconds within which it has to be confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u32>,
    },
    Confirmed {},
    /// A configuration was refused.
    Refused {
        message: String,
    },
}
