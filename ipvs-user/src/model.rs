//! What the director is told to do, as pure state: virtual services, their real servers, and the trash of deleted ones.
//!
//! Every rule by which ip_vs takes or refuses a change is here. Must not know maps, sockets, files or a clock: a command
//! goes in, effects come out, and a refused command leaves no trace.

mod apply;
mod check;
mod command;
mod error;
mod ids;
pub mod matches;
mod options;
mod policy;
mod restore;
mod state;
mod wrr;
mod zero;

pub use check::is_unicast;
pub use command::{Command, DestKey, DestSpec, MAX_WEIGHT, ServiceSpec};
pub use error::{ModelError, protocol_name, service_name};
pub use matches::{Conditions, MatchRule, MatchRules, Network};
pub use options::{Engine, Tunnel, TunnelChecksum, TunnelKind};
pub use policy::OnDead;
pub use state::{Limits, Model, RealServer, Trashed, VirtualService};
pub use wrr::WrrRange;
pub(crate) use wrr::gcd;

/// What a command changed, for those who carry it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    ServiceAdded {
        service: u32,
    },
    /// `rescheduled`: another scheduler took over, and starts with an empty memory.
    ServiceEdited {
        service: u32,
        rescheduled: bool,
    },
    /// Its real servers are in the trash now.
    ServiceRemoved {
        service: u32,
        dests: Vec<u32>,
    },
    DestAdded {
        service: u32,
        dest: u32,
        origin: Origin,
    },
    DestEdited {
        service: u32,
        dest: u32,
    },
    /// `predecessor` stood before it in the list, if anything did.
    DestRemoved {
        service: u32,
        dest: u32,
        predecessor: Option<u32>,
    },
    /// The real servers of a service under wrr changed, which makes its walk start over.
    WrrChanged {
        service: u32,
        range: WrrRange,
    },
    /// The upper threshold was lifted: an overloaded real server is none any more.
    OverloadLifted {
        dest: u32,
    },
    /// The counters of a service and of its real servers start over; what those of `gone` counted, which were deleted, is no
    /// longer the service's.
    Zeroed {
        service: u32,
        dests: Vec<u32>,
        gone: Vec<u32>,
    },
    /// So do the counters of the whole.
    TotalZeroed,
    /// Other match rules are in force.
    MatchesReplaced,
}

/// Where an added real server's index comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Not in use: what the index says of its former owner is to be wiped.
    Fresh,
    /// Taken back from the trash with its connections and counters.
    Trash {
        /// Its service was deleted in the meantime, so its past traffic is not the new service's.
        orphan: bool,
    },
}

#[cfg(test)]
pub(crate) mod tests;
