//! A director with one interface, on which everything is: clients in one VLAN, real servers in others, in two tags and in none.
//!
//! ```text
//!   client 198.51.100.10    VLAN 10    ┐
//!   twenty 10.20.0.2        VLAN 20    │                      eth0.10      198.51.100.1, .5 = virtual address
//!   thirty 10.30.0.2        VLAN 30    ├ trunk ──────── eth0  eth0.20 …    10.20.0.1, …
//!   inner  10.50.0.2        100, in it │                      eth0.100.7   10.50.0.1
//!                           VLAN 7     │                      eth0         10.40.0.1
//!   plain  10.40.0.2        none       ┘
//! ```
//!
//! `trunk` is `plain`'s, and so are the VLAN devices before they go to their namespaces, where they are called `eth0`. The veth has the
//! offloads that it comes with, but for that which has tags travel beside a frame, as no wire has it. Every address has its twin
//! of IPv6. Everything is gone when the process is.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::Netns;
use crate::six::{PREFIX, six};

pub const TRUNK_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const TRUNK_VIP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 5);
const CLIENTS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// What two tags leave of 1500 bytes and one.
pub const INNER_MTU: u32 = 1496;

/// Where a real server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    Plain,
    Twenty,
    Thirty,
    Inner,
}

impl Home {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Twenty, Self::Thirty, Self::Inner];

    /// The director's device towards it.
    #[must_use]
    pub const fn device(self) -> &'static str {
        match self {
            Self::Plain => "eth0",
            Self::Twenty => "eth0.20",
            Self::Thirty => "eth0.30",
            Self::Inner => "eth0.100.7",
        }
    }

    const fn net(self) -> u8 {
        match self {
            Self::Plain => 40,
            Self::Twenty => 20,
            Self::Thirty => 30,
            Self::Inner => 50,
        }
    }

    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net(), 0, 2)
    }

    /// The director's there.
    #[must_use]
    pub const fn router(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net(), 0, 1)
    }
}

/// The network.
#[derive(Debug)]
pub struct Trunk {
    pub client: Netns,
    pub dom0: Netns,
    /// In the order of [`Home::ALL`].
    pub servers: [Netns; 4],
}

impl Trunk {
    /// Wants [`super::Part::Vlans`].
    pub fn new() -> Result<Self> {
        let this = Self {
            client: Netns::new("client")?,
            dom0: Netns::new("dom0")?,
            servers: [
                Netns::new("plain")?,
                Netns::new("twenty")?,
                Netns::new("thirty")?,
                Netns::new("inner")?,
            ],
        };
        this.connect()?;
        this.address()?;
        Ok(this)
    }

    #[must_use]
    pub fn server(&self, home: Home) -> &Netns {
        let [plain, twenty, thirty, inner] = &self.servers;
        match home {
            Home::Plain => plain,
            Home::Twenty => twenty,
            Home::Thirty => thirty,
            Home::Inner => inner,
        }
    }

    /// The virtual address, of either family.
    #[must_use]
    pub fn vip(port: u16, over_six: bool) -> SocketAddr {
        at(TRUNK_VIP, port, over_six)
    }

    fn connect(&self) -> Result<()> {
        let plain = self.server(Home::Plain);
        self.dom0.ip(&format!(
            "link add eth0 type veth peer name trunk netns {}\n\
             link set eth0 up\n\
             link add link eth0 eth0.10 type vlan id 10\n\
             link add link eth0 eth0.20 type vlan id 20\n\
             link add link eth0 eth0.30 type vlan id 30\n\
             link add link eth0 eth0.100 type vlan proto 802.1ad id 100\n\
             link add link eth0.100 eth0.100.7 type vlan id 7\n\
             link set eth0.100 up\n\
             link set eth0.100.7 mtu {INNER_MTU}\n",
            plain.path()
        ))?;
        plain.ip(&format!(
            "link set trunk up\n\
             link add link trunk v10 type vlan id 10\n\
             link add link trunk v20 type vlan id 20\n\
             link add link trunk v30 type vlan id 30\n\
             link add link trunk v100 type vlan proto 802.1ad id 100\n\
             link add link v100 v7 type vlan id 7\n\
             link set v100 up\n\
             link set v10 name eth0 netns {}\n\
             link set v20 name eth0 netns {}\n\
             link set v30 name eth0 netns {}\n\
             link set v7 mtu {INNER_MTU} name eth0 netns {}\n",
            self.client.path(),
            self.server(Home::Twenty).path(),
            self.server(Home::Thirty).path(),
            self.server(Home::Inner).path()
        ))?;
        let off = ["-K", "trunk", "gro", "on", "tx-vlan-hw-insert", "off"];
        plain.output("ethtool", &off)?;
        let off = ["-K", "trunk", "tx-vlan-stag-hw-insert", "off"];
        plain.output("ethtool", &off)?;
        Ok(())
    }

    fn address(&self) -> Result<()> {
        self.dom0.set("ipv4/ip_forward", "1")?;
        self.dom0.set("ipv6/conf/all/forwarding", "1")?;
        let own = |addr, device| {
            format!(
                "addr add {addr}/24 dev {device}\n\
                 addr add {}/{PREFIX} dev {device} nodad\n\
                 link set {device} up\n",
                six(addr)
            )
        };
        let default = |router| {
            format!(
                "route add default via {router}\n\
                 route add default via {}\n",
                six(router)
            )
        };
        let dom0 = [own(CLIENTS, "eth0.10"), own(TRUNK_VIP, "eth0.10")].concat();
        let dom0 = Home::ALL
            .iter()
            .fold(dom0, |all, home| all + &own(home.router(), home.device()));
        self.dom0.ip(&dom0)?;
        self.client
            .ip(&(own(TRUNK_CLIENT, "eth0") + &default(CLIENTS)))?;
        for home in Home::ALL {
            let device = if home == Home::Plain { "trunk" } else { "eth0" };
            self.server(home)
                .ip(&(own(home.address(), device) + &default(home.router())))?;
        }
        Ok(())
    }

    /// Has the real servers take packets to the virtual address, also such as come through tunnels of the kernel's.
    pub fn servers_take_vip(&self) -> Result<()> {
        for server in &self.servers {
            server.set("ipv4/conf/all/arp_ignore", "1")?;
            server.set("ipv4/conf/all/arp_announce", "2")?;
            server.ip(&format!(
                "addr add {TRUNK_VIP}/32 dev lo\n\
                 addr add {}/128 dev lo nodad\n",
                six(TRUNK_VIP)
            ))?;
        }
        Ok(())
    }

    /// Has one of them unpack IP in the same IP.
    pub fn unpacks(&self, home: Home) -> Result<()> {
        let server = self.server(home);
        server.ip("link set tunl0 up\nlink set ip6tnl0 up\n")?;
        server.set("ipv4/conf/all/rp_filter", "0")?;
        server.set("ipv4/conf/tunl0/rp_filter", "0")
    }
}

/// An address or its twin, with a port.
#[must_use]
pub fn at(addr: Ipv4Addr, port: u16, over_six: bool) -> SocketAddr {
    if over_six {
        SocketAddr::new(six(addr).into(), port)
    } else {
        SocketAddr::new(addr.into(), port)
    }
}
