//! Commands and what they carry. Defaults of the command line are not here: a command says everything.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use ipvs_common::{Addr, ForwardingMethod, Scheduler, ServiceKey};

use super::{
    matches::MatchRules,
    options::{Engine, Tunnel},
};

/// Largest weight: ip_vs keeps it in a signed integer.
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// A change of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    AddService {
        service: ServiceKey,
        spec: ServiceSpec,
    },
    EditService {
        service: ServiceKey,
        spec: ServiceSpec,
        /// [`ipvs_common::Policy`] that stays as it is, whatever `spec` says.
        keep: u8,
    },
    DeleteService {
        service: ServiceKey,
    },
    /// Deletes every service.
    Flush,
    AddDest {
        service: ServiceKey,
        dest: DestKey,
        spec: DestSpec,
    },
    EditDest {
        service: ServiceKey,
        dest: DestKey,
        spec: DestSpec,
    },
    DeleteDest {
        service: ServiceKey,
        dest: DestKey,
    },
    /// Counters and rates start over: of one service and its real servers, or of everything.
    Zero {
        service: Option<ServiceKey>,
    },
    /// These match rules hold, and no others.
    SetMatches {
        rules: MatchRules,
    },
}

impl Command {
    /// The one service it is about.
    #[must_use]
    pub const fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::AddService { service, .. }
            | Self::EditService { service, .. }
            | Self::DeleteService { service }
            | Self::AddDest { service, .. }
            | Self::EditDest { service, .. }
            | Self::DeleteDest { service, .. } => Some(*service),
            Self::Zero { service } => *service,
            Self::Flush | Self::SetMatches { .. } => None,
        }
    }
}

/// How a virtual service works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    pub scheduler: Scheduler,
    /// Seconds for which a client stays with its real server; `None`: not persistent.
    pub persistent: Option<u32>,
    /// Client networks of this prefix length stay together.
    pub prefix: u8,
    /// [`ipvs_common::ServiceFlags`] but `PERSISTENT`, which follows from the timeout.
    pub flags: u8,
    /// [`ipvs_common::Policy`].
    pub policy: u8,
    /// Finds persistent clients by what is in their packets.
    pub engine: Option<Engine>,
}

impl ServiceSpec {
    /// Prefix length that tells every client from the others.
    pub const FULL_PREFIX: u8 = 32;
    /// The same over IPv6.
    pub const FULL_PREFIX_V6: u8 = 128;

    /// The longest prefix of a service's clients.
    #[must_use]
    pub const fn full_prefix(service: &ServiceKey) -> u8 {
        if service.addr.is_v4() {
            Self::FULL_PREFIX
        } else {
            Self::FULL_PREFIX_V6
        }
    }

    #[must_use]
    pub const fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            persistent: None,
            prefix: Self::FULL_PREFIX,
            flags: 0,
            policy: 0,
            engine: None,
        }
    }
}

/// Identity of a real server within its service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DestKey {
    pub addr: Addr,
    /// 0 keeps the port of the packet.
    pub port: u16,
}

impl DestKey {
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.addr.ip(), self.port)
    }

    #[must_use]
    pub fn new(ip: IpAddr, port: u16) -> Self {
        let addr = ip.into();
        Self { addr, port }
    }

    /// The first one in the order of keys.
    pub(super) const FIRST: Self = Self {
        addr: Addr::UNSPECIFIED,
        port: 0,
    };
}

impl From<SocketAddrV4> for DestKey {
    fn from(a: SocketAddrV4) -> Self {
        SocketAddr::V4(a).into()
    }
}

impl From<SocketAddr> for DestKey {
    fn from(a: SocketAddr) -> Self {
        Self::new(a.ip(), a.port())
    }
}

/// How a real server is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestSpec {
    pub method: ForwardingMethod,
    /// 0 quiesces.
    pub weight: u32,
    /// Connections at which it counts as overloaded; 0: never.
    pub upper: u32,
    /// Connections below which it no longer does; 0: three quarters of `upper`.
    pub lower: u32,
    /// Of a tunnel.
    pub tunnel: Tunnel,
}

impl DestSpec {
    #[must_use]
    pub const fn new(method: ForwardingMethod, weight: u32) -> Self {
        Self {
            method,
            weight,
            upper: 0,
            lower: 0,
            tunnel: Tunnel::IPIP,
        }
    }
}
