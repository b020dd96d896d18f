//! ip_vs's sync daemon: a master tells backup directors of its connections, by multicast, so that they go on when another director
//! takes the virtual address over.
//!
//! Here is what is asked for and what runs. [`message`] is the format on the wire, [`entry`] translates between it and the
//! tables, [`task`] owns the sockets and the clock, [`control`] is how it is told. What the tables make of it is the director's
//! business (`director/sync`).

pub mod control;
pub mod entry;
mod length;
pub mod message;
mod socket;
pub mod task;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

pub use control::Control;
pub use message::Entry;

/// Which of the two it is: one of each may run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Tells of connections.
    Master,
    /// Learns of them.
    Backup,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// What it is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub role: Role,
    pub interface: String,
    /// A master's mark. A backup takes what has its own one, or with 0 everything.
    pub syncid: u8,
    /// Bytes in a message; `None`: what the interface takes.
    pub maxlen: Option<u16>,
    /// Multicast address that messages go to.
    pub group: IpAddr,
    pub port: u16,
    pub ttl: u8,
}

impl Config {
    /// Whether a backup listens to a master with this mark.
    #[must_use]
    pub const fn takes(&self, syncid: u8) -> bool {
        self.syncid == 0 || self.syncid == syncid
    }
}

/// It was not started or stopped; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("a {0} sync daemon runs already")]
    Runs(Role),
    #[error("no {0} sync daemon runs")]
    NotRunning(Role),
    #[error("no interface `{0}`; `ip link` lists the names there are")]
    NoDevice(String),
    #[error("{0} is not a multicast address")]
    NoGroup(IpAddr),
    #[error("there are no {count} ports (sync_ports) from {first} on")]
    NoPorts { first: u16, count: u32 },
    #[error(
        "real server {0} is of another address family than its service, which a sync daemon's messages have no room for"
    )]
    Mixed(SocketAddr),
    #[error("connections are not synchronised by this director yet: no sync daemon can be started")]
    NotCarried,
    /// The system, or the tables, refused.
    #[error("{0}")]
    Failed(String),
}

/// Starts and stops sync daemons. Told before anything else of it what cannot be.
pub trait Daemons: Send {
    fn start(&mut self, config: &Config) -> Result<(), Error>;
    fn stop(&mut self, role: Role) -> Result<(), Error>;
    /// With `maxlen` as it is.
    fn running(&self) -> Vec<Config>;
}

/// Nobody: every start is refused, as a director without the protocol has to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Nobody;

impl Daemons for Nobody {
    fn start(&mut self, config: &Config) -> Result<(), Error> {
        check(config)?;
        Err(Error::NotCarried)
    }

    fn stop(&mut self, role: Role) -> Result<(), Error> {
        Err(Error::NotRunning(role))
    }

    fn running(&self) -> Vec<Config> {
        Vec::new()
    }
}

/// What is wrong with it whoever carries it out.
pub fn check(config: &Config) -> Result<(), Error> {
    if !config.group.is_multicast() {
        return Err(Error::NoGroup(config.group));
    }
    match if_nametoindex(config.interface.as_str()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::NoDevice(config.interface.clone())),
    }
}
