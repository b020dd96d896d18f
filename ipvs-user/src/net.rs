//! The machine's network as the daemon sees it: links, routes and neighbours, word of their changes, and the few settings that
//! forwarding needs.
//!
//! Knows netlink and `/proc`; knows nothing of services, maps or packets.

mod drivers;
mod features;
mod generic;
mod gue;
mod link;
mod machine;
mod managed;
mod netlink;
mod offload;
mod source;
mod sysctl;
mod vlan;
mod watch;

use std::{future::Future, net::IpAddr};

use ipvs_common::Mac;

pub use drivers::takes_frames;
pub use features::{FeatureChanges, Features};
pub use gue::Gue;
pub use link::Link;
pub use machine::{available_pages, give_back_memory, netns_number, unprivileged_port};
pub use managed::ManagedNeighbours;
pub use netlink::Netlink;
pub use source::source_towards;
pub use sysctl::Setting;
pub use vlan::{Tagged, Vlan, tagged};
pub use watch::{Changes, Watch};

/// A question to the kernel, or a request, failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NetError {
    /// What was asked, for a person.
    pub what: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl NetError {
    pub(crate) fn on<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Self {
            what,
            source: source.into(),
        }
    }
}

pub type Result<T> = std::result::Result<T, NetError>;

/// A neighbour's place: the interface and the address on it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct NextHop {
    pub ifindex: u32,
    pub addr: IpAddr,
}

/// What the neighbour table says of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Neighbour {
    /// The link-layer address, while it is believed.
    pub mac: Option<Mac>,
    /// The kernel is asking for the address right now.
    pub resolving: bool,
    /// Set by an administrator, or not in need of resolution: not to be touched.
    pub fixed: bool,
    /// The kernel keeps it resolved.
    pub managed: bool,
}

/// What is asked of the kernel, and of a fake in tests.
pub trait Network: Sync {
    fn links(&self) -> impl Future<Output = Result<Vec<Link>>> + Send;

    /// The next hop towards an address; `None` if there is no route, or the address is the director's own.
    fn next_hop(&self, to: IpAddr) -> impl Future<Output = Result<Option<NextHop>>> + Send;

    fn neighbour(&self, at: NextHop) -> impl Future<Output = Result<Option<Neighbour>>> + Send;

    /// Has the kernel resolve a neighbour once, now; one that is fixed stays as it is.
    fn probe(&self, at: NextHop) -> impl Future<Output = Result<()>> + Send;

    /// Has the kernel keep a neighbour resolved. False: this kernel cannot.
    fn manage(&self, at: NextHop) -> impl Future<Output = Result<bool>> + Send;

    /// Takes a neighbour out of the table. No error if it is not there.
    fn forget(&self, at: NextHop) -> impl Future<Output = Result<()>> + Send;
}
