//! Two directors between a client and two real servers, of which the client's router and the real servers use one.
//!
//! ```text
//!  client            router             front                        back               real1 10.0.1.10
//!  198.51.100.10     198.51.100.1         │  ┌ eth0 first  eth1 ┐     │  ───────────────
//!  eth0 ──────────── client   front ──────┤──┤      │ sync0     ├─────┤                  real2 10.0.1.20
//!                           10.0.0.1      │  └ eth0 second eth1 ┘     │  ───────────────
//! ```
//!
//! `front` and `back` are switches; `sync0` is a link between the directors. The virtual address belongs to nobody: packets to
//! it are routed to the director that is in charge. Everything is gone when the process is.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{CLIENT, Netns, OTHER_CLIENT, ROUTER, Start};

/// As in the recordings.
pub const PAIR_VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const REALS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 10), Ipv4Addr::new(10, 0, 1, 20)];
const SYNC: &str = "sync0";

/// The network. Directors and real servers are known by their index, 0 and 1.
#[derive(Debug)]
pub struct Pair {
    pub client: Netns,
    pub directors: [Netns; 2],
    pub reals: [Netns; 2],
    router: Netns,
    front: Netns,
    back: Netns,
}

impl Pair {
    /// With the first director in charge.
    pub fn new() -> Result<Self> {
        let this = Self {
            client: Netns::new("client")?,
            router: Netns::new("router")?,
            front: Netns::new("front")?,
            back: Netns::new("back")?,
            directors: [Netns::new("first")?, Netns::new("second")?],
            reals: [Netns::new("real1")?, Netns::new("real2")?],
        };
        this.connect_client()?;
        for index in 0..2 {
            this.connect_director(index)?;
            this.connect_real(index)?;
        }
        let [first, second] = &this.directors;
        first.ip(&format!(
            "link add {SYNC} type veth peer name {SYNC} netns {}\n\
             addr add 192.168.77.1/24 dev {SYNC}\n\
             link set {SYNC} up\n",
            second.path()
        ))?;
        second.ip(&format!(
            "addr add 192.168.77.2/24 dev {SYNC}\n\
             link set {SYNC} up\n"
        ))?;
        this.put_in_charge(0)?;
        Ok(this)
    }

    /// How a director is started here.
    #[must_use]
    pub fn start() -> Start {
        Start {
            interfaces: vec!["eth0", "eth1"],
            ..Start::default()
        }
    }

    /// From here on packets to the virtual address, and those of the real servers, go to this director.
    pub fn put_in_charge(&self, index: usize) -> Result<()> {
        let last = index + 11;
        let route = format!("route replace {PAIR_VIP}/32 via 10.0.0.{last}\n");
        self.router.ip(&route)?;
        let route = format!("route replace default via 10.0.1.{last}\n");
        self.reals.iter().try_for_each(|real| real.ip(&route))
    }

    fn connect_client(&self) -> Result<()> {
        self.router.set("ipv4/ip_forward", "1")?;
        self.router.ip(&format!(
            "link add client type veth peer name eth0 netns {}\n\
             addr add {ROUTER}/24 dev client\n\
             link set client up\n",
            self.client.path()
        ))?;
        self.client.ip(&format!(
            "addr add {CLIENT}/24 dev eth0\n\
             addr add {OTHER_CLIENT}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {ROUTER}\n"
        ))?;
        for switch in [&self.front, &self.back] {
            switch.ip("link add br0 type bridge\nlink set br0 up\n")?;
        }
        plug(&self.front, "router", &self.router, "front", "10.0.0.1/24")
    }

    fn connect_director(&self, index: usize) -> Result<()> {
        let (director, last) = (&self.directors[index], index + 11);
        director.set("ipv4/ip_forward", "1")?;
        let name = director.name();
        plug(
            &self.front,
            name,
            director,
            "eth0",
            &format!("10.0.0.{last}/24"),
        )?;
        plug(
            &self.back,
            name,
            director,
            "eth1",
            &format!("10.0.1.{last}/24"),
        )?;
        director.ip("route add default via 10.0.0.1\n")
    }

    /// It takes packets to the virtual address, without answering for it on the link.
    fn connect_real(&self, index: usize) -> Result<()> {
        let (real, addr) = (&self.reals[index], REALS[index]);
        real.set("ipv4/conf/all/arp_ignore", "1")?;
        real.set("ipv4/conf/all/arp_announce", "2")?;
        plug(&self.back, real.name(), real, "eth0", &format!("{addr}/24"))?;
        real.ip(&format!("addr add {PAIR_VIP}/32 dev lo\n"))
    }
}

/// A port of a switch, ready for frames of native XDP, and the interface at its other end.
fn plug(switch: &Netns, port: &str, end: &Netns, interface: &str, addr: &str) -> Result<()> {
    switch.ip(&format!(
        "link add {port} type veth peer name {interface} netns {}\n\
         link set {port} master br0 up\n",
        end.path()
    ))?;
    switch.output("ethtool", &["-K", port, "gro", "on"])?;
    end.ip(&format!(
        "addr add {addr} dev {interface}\n\
         link set {interface} up\n"
    ))
}
