//! A small network out of network namespaces, with a director in the place of a Xen Dom0.
//!
//! ```text
//!  client               router                 dom0                        guest1
//!  198.51.100.10,.11    198.51.100.1           10.0.0.5 = VIP     vif1 ─── eth0 10.0.1.5
//!  eth0 ────────────── client   dom0 ───────── eth0                       guest2
//!                          10.0.0.1                               vif2 ─── eth0 10.0.1.6
//! ```
//!
//! The guests are routed, each by its own vif. All links are veths with the checksum and segmentation offloads they come
//! with. Everything is gone when the process is.

mod counters;
mod cpu;
mod director;
mod far_end;
mod left;
mod limit;
mod netns;
mod pair;
mod parts;
mod place;
mod programs;
mod scratch;
mod sockets;
mod three;
mod trunk;
mod twin;
mod wire;

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Uid;

pub use counters::Refused;
pub use cpu::stay_on_cpu;
pub use director::{DOM0_INTERFACES, Director, Start};
pub use far_end::{FarEnd, OnFarEnd, Sender, attach};
pub use left::Left;
pub(crate) use limit::here;
pub use limit::{eventually, eventually_every, flushing_pause, within};
pub use netns::Netns;
pub use pair::{PAIR_VIP, Pair, REALS};
pub use parts::{IpVsModule, Part, kernel_tells_who_takes_frames, kernel_version};
pub use programs::find as program;
pub(crate) use programs::target_dir;
pub use scratch::{Scratch, clean_up_on_interrupt};
pub use three::{THREE_CLIENT, THREE_REAL, THREE_VIP, Three};
pub use trunk::{Home, INNER_MTU, TRUNK_CLIENT, TRUNK_VIP, Trunk, at};
pub(crate) use wire::link_address;

/// Two clients, as far as a director can tell.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
pub const GUESTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 5), Ipv4Addr::new(10, 0, 1, 6)];

/// The network. Guests are known by their index, 0 and 1.
#[derive(Debug)]
pub struct Topology {
    pub client: Netns,
    pub router: Netns,
    pub dom0: Netns,
    pub guests: [Netns; 2],
}

impl Topology {
    /// The network as it comes: nothing is arranged for XDP, and guests do not know the virtual address.
    pub fn bare() -> Result<Self> {
        ensure!(
            Uid::effective().is_root(),
            "making network namespaces needs root"
        );
        let this = Self {
            client: Netns::new("client")?,
            router: Netns::new("router")?,
            dom0: Netns::new("dom0")?,
            guests: [Netns::new("guest1")?, Netns::new("guest2")?],
        };
        this.connect_client()?;
        this.connect_dom0()?;
        this.connect_guest(0)?;
        this.connect_guest(1)?;
        Ok(this)
    }

    /// The same with what native XDP wants of the other ends of veths: GRO.
    pub fn new() -> Result<Self> {
        let this = Self::bare()?;
        for (netns, interface) in this.far_ends() {
            netns.output("ethtool", &["-K", interface, "gro", "on"])?;
        }
        Ok(this)
    }

    /// The other end of each of dom0's links.
    #[must_use]
    pub fn far_ends(&self) -> [(&Netns, &'static str); 3] {
        let [guest1, guest2] = &self.guests;
        [(&self.router, "dom0"), (guest1, "eth0"), (guest2, "eth0")]
    }

    #[must_use]
    pub fn all(&self) -> [&Netns; 5] {
        let [guest1, guest2] = &self.guests;
        [&self.client, &self.router, &self.dom0, guest1, guest2]
    }

    /// Has the guests take packets to the virtual address without answering for it on the link, as direct routing and
    /// tunnels want.
    pub fn guests_take_vip(&self) -> Result<()> {
        for guest in &self.guests {
            guest.set("ipv4/conf/all/arp_ignore", "1")?;
            guest.set("ipv4/conf/all/arp_announce", "2")?;
            guest.ip(&format!("addr add {VIP}/32 dev lo"))?;
        }
        Ok(())
    }

    /// Has the guests unpack IP in IP.
    pub fn guests_unpack(&self) -> Result<[OnFarEnd; 2]> {
        let [guest1, guest2] = &self.guests;
        Ok([
            attach(guest1, "eth0", FarEnd::Decap)?,
            attach(guest2, "eth0", FarEnd::Decap)?,
        ])
    }

    /// A program that only passes on every far end: the other way to ready them.
    pub fn far_ends_pass(&self) -> Result<Vec<OnFarEnd>> {
        let ends = self.far_ends().into_iter();
        ends.map(|(netns, interface)| attach(netns, interface, FarEnd::Pass))
            .collect()
    }

    /// Dom0's interfaces no longer complete checksums: as a card that cannot.
    pub fn dom0_without_checksum_offload(&self) -> Result<()> {
        for interface in DOM0_INTERFACES {
            self.dom0
                .output("ethtool", &["-K", interface, "tx", "off"])?;
        }
        Ok(())
    }

    /// What the client has learned of the way to the virtual address: the longest packet that it takes.
    pub fn learned_mtu(&self) -> Result<Option<u32>> {
        let route = ["route", "get", &VIP.to_string()];
        mtu_of(&self.client.output("ip", &route)?)
    }

    /// Fails if any stack of the network counted a packet with a bad checksum or header.
    pub fn nothing_refused(&self) -> Result<()> {
        self.hardly_anything_refused(0)
    }

    /// Lets so many TCP segments with a bad checksum pass, which TCP sends again.
    pub fn hardly_anything_refused(&self, segments: u64) -> Result<()> {
        for netns in self.all() {
            let refused = Refused::by(netns)?;
            let fine = Refused {
                tcp_checksum: refused.tcp_checksum.saturating_sub(segments),
                ..refused
            };
            let name = netns.name();
            ensure!(fine == Refused::default(), "{name} refused {refused:?}");
        }
        Ok(())
    }

    fn connect_client(&self) -> Result<()> {
        self.router.set("ipv4/ip_forward", "1")?;
        let client = self.client.path();
        self.router.ip(&format!(
            "link add client type veth peer name eth0 netns {client}\n\
             addr add {ROUTER}/24 dev client\n\
             link set client up\n"
        ))?;
        self.client.ip(&format!(
            "addr add {CLIENT}/24 dev eth0\n\
             addr add {OTHER_CLIENT}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {ROUTER}\n"
        ))
    }

    fn connect_dom0(&self) -> Result<()> {
        self.dom0.set("ipv4/ip_forward", "1")?;
        let dom0 = self.dom0.path();
        self.router.ip(&format!(
            "link add dom0 type veth peer name eth0 netns {dom0}\n\
             addr add 10.0.0.1/24 dev dom0\n\
             link set dom0 up\n\
             route add 10.0.1.0/24 via {VIP}\n"
        ))?;
        self.dom0.ip(&format!(
            "addr add {VIP}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via 10.0.0.1\n"
        ))
    }

    /// As Xen's `vif-route` does: the same address on every vif, and a route to each guest.
    fn connect_guest(&self, index: usize) -> Result<()> {
        let (guest, addr) = (&self.guests[index], GUESTS[index]);
        let vif = DOM0_INTERFACES[index + 1];
        let path = guest.path();
        self.dom0.ip(&format!(
            "link add {vif} type veth peer name eth0 netns {path}\n\
             addr add 10.0.1.1/32 dev {vif}\n\
             link set {vif} up\n\
             route add {addr}/32 dev {vif} src 10.0.1.1\n"
        ))?;
        guest.ip(&format!(
            "addr add {addr}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via 10.0.1.1\n"
        ))
    }
}

/// The virtual address with a port.
/// The MTU of a route as `ip` prints it.
fn mtu_of(route: &str) -> Result<Option<u32>> {
    let mut words = route.split_whitespace();
    let Some(_) = words.find(|word| *word == "mtu") else {
        return Ok(None);
    };
    Ok(Some(words.next().context("mtu without a number")?.parse()?))
}

#[must_use]
pub const fn vip(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(VIP, port)
}
