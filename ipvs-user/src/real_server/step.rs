//! One change to the machine: what is said of it, and all that is needed to take it back.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    facts::Unpacks,
    wanted::{Device, Family},
};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A setting, by its path below `/proc/sys/net`.
    Set {
        path: String,
        before: String,
        now: String,
    },
    /// A device that takes packets out of tunnels.
    Make {
        device: Device,
        name: String,
    },
    Up {
        name: String,
    },
    /// A UDP port on which the kernel unpacks GUE.
    Port {
        port: u16,
        family: Family,
    },
    /// An XDP program.
    Attach {
        interface: String,
        index: u32,
        told: Unpacks,
        /// What came of it.
        attached: Option<Attached>,
    },
    /// Other words to the program that is there.
    Tell {
        interface: String,
        index: u32,
        before: Unpacks,
        now: Unpacks,
    },
    Address {
        device: String,
        address: IpAddr,
    },
}

/// A program on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    pub program: u32,
    /// In the stack, not in the driver.
    pub generic: bool,
}

impl Step {
    /// What it changes, and from what into what.
    #[must_use]
    pub fn change(&self) -> String {
        let [before, now] = self.states();
        format!("{self}: {before} -> {now}")
    }

    /// What it changed, when it is put back.
    #[must_use]
    pub fn back(&self) -> String {
        let [before, now] = self.states();
        format!("{self}: {now} -> {before}")
    }

    /// What it would change, as it is.
    #[must_use]
    pub fn found(&self) -> String {
        let [before, _] = self.states();
        format!("{self}: {before}")
    }

    #[must_use]
    pub fn needed(&self) -> String {
        let [_, now] = self.states();
        now
    }

    /// The state that it makes.
    #[must_use]
    pub fn result(&self) -> String {
        let [_, now] = self.states();
        format!("{self}: {now}")
    }

    fn states(&self) -> [String; 2] {
        let plain = |before: &str, now: &str| [before.to_owned(), now.to_owned()];
        match self {
            Self::Set { before, now, .. } => plain(before, now),
            Self::Make { .. } | Self::Address { .. } => plain("absent", "there"),
            Self::Up { .. } => plain("down", "up"),
            Self::Port { .. } => plain("nobody's", "unpacks GUE"),
            Self::Attach { told, attached, .. } => {
                let generic = attached.is_some_and(|a| a.generic);
                let where_it_runs = if generic {
                    " (in the stack: the driver takes none)"
                } else {
                    ""
                };
                ["none".to_owned(), format!("{told}{where_it_runs}")]
            }
            Self::Tell { before, now, .. } => [before.to_string(), now.to_string()],
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { path, .. } => write!(f, "net.{}", path.replace('/', ".")),
            Self::Make { device, name } => write!(f, "device {name} (type {device})"),
            Self::Up { name } => write!(f, "device {name}"),
            Self::Port { port, family } => write!(f, "UDP port {port} over {family}"),
            Self::Attach { interface, .. } | Self::Tell { interface, .. } => {
                write!(f, "XDP program on {interface}")
            }
            Self::Address { device, address } => {
                let bits = Family::of(*address).bits();
                write!(f, "address {address}/{bits} on {device}")
            }
        }
    }
}

impl fmt::Display for Unpacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self.tunnel.port {
            0 => String::new(),
            port => format!(" (port {port})"),
        };
        let list = |all: &std::collections::BTreeSet<IpAddr>| {
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            all.join(", ")
        };
        let kind = self.tunnel.kind;
        let (own, vips) = (list(&self.own), list(&self.vips));
        write!(f, "unpacks {kind}{port} to {own} with {vips} inside")
    }
}
