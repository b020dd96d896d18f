//! Two ways to run the same datapath: on the host, and in the kernel under `BPF_PROG_TEST_RUN`. Both stand in the network of
//! the traces, have a clock that is set by hand, and tables that can be looked at as a whole.

mod host;
mod invariants;
mod kernel;
mod snapshot;
mod vlans;

use anyhow::Result;
use ipvs_common::{AttachMode, Iface, PuntHeader, maps::Capacities};
use ipvs_user::dataplane::Dataplane;

pub use host::Host;
pub use kernel::{Kernel, in_network};
pub use snapshot::Snapshot;
pub use vlans::{TestVlan, untagged, with_tags};

use crate::trace::{IpCommand, Network};

/// Ticks in a second.
pub const HZ: u64 = 1000;
/// Services whose scheduler's memory is looked at.
const SERVICES: u32 = 64;
/// The time at which everything starts.
pub const START: u64 = 1_000_000;

/// What a backend is made for.
#[derive(Clone, Debug)]
pub struct Setup {
    pub network: Network,
    pub capacities: Capacities,
    pub mode: AttachMode,
    /// Firewall mark of every packet that enters by a link; 0: none.
    pub marks: [u32; 4],
    /// Links that take no frames from a native program.
    pub no_xmit: Vec<usize>,
    /// Links that are VLAN devices on others, as far as the datapath is told.
    pub vlans: Vec<TestVlan>,
    /// Drivers send frames back from where they came, also in native mode.
    pub sends_back: bool,
}

impl Setup {
    #[must_use]
    pub const fn new(network: Network) -> Self {
        Self {
            network,
            capacities: Capacities::SMALL,
            mode: AttachMode::Native,
            marks: [0; 4],
            no_xmit: Vec::new(),
            vlans: Vec::new(),
            sends_back: false,
        }
    }

    /// Constants of the program on a link.
    #[must_use]
    pub fn iface(&self, link: usize) -> Iface {
        let of = &self.network.links[link];
        Iface {
            mac: of.mac,
            mode: self.mode as u8,
            tx: u8::from(self.sends_back || self.mode == AttachMode::Generic),
            ifindex: of.ifindex,
            mark: self.marks[link],
            mtu: of.mtu.into(),
            half_open_mask: self.capacities.half_open - 1,
            half_open6_mask: self.capacities.half_open6 - 1,
            test_clock: 1,
            held: 0,
            port: of.ifindex,
            ..Iface::default()
        }
    }
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// What the daemon got, and is to send on.
    pub handed: Option<(PuntHeader, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Pass,
    /// Dropped, or handed to the daemon.
    Drop,
    /// It was held, and has to wait on.
    Waits,
    /// Back out of the link it came from.
    Tx,
    /// Out of another link, by index; `None`: there is no such link.
    Redirect(Option<usize>),
}

pub trait Backend {
    fn setup(&self) -> &Setup;
    /// The tables, for a director.
    fn dataplane(&self) -> Box<dyn Dataplane>;
    fn set_clock(&mut self, ticks: u64) -> Result<()>;
    /// Changes the network around the director; what is left of the line after `ip`, and what it means.
    fn ip(&mut self, arguments: &[&str], command: &IpCommand) -> Result<()>;
    /// Runs the program of a link on a frame.
    fn run(&mut self, link: usize, frame: &[u8]) -> Result<Outcome>;
    /// Runs that for frames which were held.
    fn run_held(&mut self, link: usize, frame: &[u8]) -> Result<Outcome>;
    /// What the datapath counts, of the first `dests` real servers.
    fn counters(&self, dests: u32) -> Result<Snapshot>;
    /// All that the datapath keeps, of the first `dests` real servers.
    fn snapshot(&self, dests: u32) -> Result<Snapshot>;
}
