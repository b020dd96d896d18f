//! The place of the sync daemon, which tells another director of connections. The API starts, stops and shows it; what it
//! sends and learns is the matter of whoever stands here.

use std::{net::IpAddr, path::Path};

/// Which of the two it is: one of each may run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Tells of connections.
    Master,
    /// Learns of them.
    Backup,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// What it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub role: Role,
    pub interface: String,
    /// Directors of other numbers are not listened to.
    pub syncid: u8,
    /// Bytes in a message; `None`: what the interface takes.
    pub maxlen: Option<u16>,
    /// Multicast address that messages go to.
    pub group: IpAddr,
    pub port: u16,
    pub ttl: u8,
}

/// It was not started or stopped; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("a {} sync daemon runs already", .0.name())]
    Runs(Role),
    #[error("no {} sync daemon runs", .0.name())]
    NotRunning(Role),
    #[error("no interface `{0}`; `ip link` lists the names there are")]
    NoDevice(String),
    #[error("{0} is not a multicast address")]
    NoGroup(IpAddr),
    #[error("connections are not synchronised by this director yet: no sync daemon can be started")]
    NotCarried,
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
    let name = &config.interface;
    let fits = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    if fits && Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    Err(Error::NoDevice(name.clone()))
}
