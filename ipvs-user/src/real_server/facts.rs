//! What a machine is like, as far as a real server is concerned. Pure: `gather.rs` fills it, tests make it up.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::wanted::{Device, Family, Tunnel};

#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    pub routes: Vec<Gateway>,
    /// By path below `/proc/sys/net`.
    pub settings: BTreeMap<String, String>,
    /// Where sockets wait for somebody.
    pub listeners: BTreeSet<SocketAddr>,
    /// Devices that this kernel has, or has a module for.
    pub devices: BTreeSet<Device>,
    /// Families over which it can unpack GUE.
    pub gue: BTreeSet<Family>,
    /// Those over which it does so on the port that is wanted.
    pub gue_port: BTreeSet<Family>,
    /// The interface towards the director, if that is named and there is a route.
    pub towards_director: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub medium: Medium,
    /// `ipip`, `veth`, …
    pub kind: String,
    /// A tunnel device that takes packets of every sender.
    pub external: bool,
    /// An XDP program on it.
    pub program: Option<u32>,
    /// What it unpacks, if it is ours.
    pub unpacks: Option<Unpacks>,
    /// Else whose it is, and how to get it off.
    pub occupied: Option<String>,
}

/// What an interface is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Medium {
    /// Nobody is asked for an address there: the loopback interface, dummies, tunnels.
    #[default]
    Silent,
    Ethernet,
    /// Something else with neighbours.
    Other,
}

/// What the XDP program is told.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Unpacks {
    pub tunnel: Tunnel,
    /// To whom packets come.
    pub own: BTreeSet<IpAddr>,
    /// What is inside them.
    pub vips: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
pub struct Address {
    pub index: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

/// A route by somebody.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    pub by: IpAddr,
    /// Else to some network.
    pub default: bool,
    pub metric: u32,
    pub index: u32,
}

impl Facts {
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|l| l.index == index)
    }

    #[must_use]
    pub fn name(&self, index: u32) -> &str {
        self.by_index(index).map_or("?", |l| &l.name)
    }

    /// A device of this kind that will do, or that is the only one there can be.
    #[must_use]
    pub fn tunnel(&self, device: Device) -> Option<&Link> {
        self.links.iter().find(|l| {
            let fits = l.external || !device.is_external() && l.name == device.name();
            l.kind == device.kind() && fits
        })
    }

    /// An interface's setting; of one that is to be made, what it will begin with.
    #[must_use]
    pub fn setting(&self, interface: &str, key: &str) -> Option<&str> {
        let of = |interface| self.settings.get(&path(Family::V4, interface, key));
        of(interface).or_else(|| of("default")).map(String::as_str)
    }

    #[must_use]
    pub fn number(&self, interface: &str, key: &str) -> u32 {
        let text = self.setting(interface, key);
        text.and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    /// The kernel goes by the larger of the interface's value and that of `all`.
    #[must_use]
    pub fn in_force(&self, interface: &str, key: &str) -> u32 {
        self.number(interface, key).max(self.number("all", key))
    }

    /// The way out to the world.
    #[must_use]
    pub fn default_route(&self, family: Family) -> Option<&Gateway> {
        let all = self.routes.iter().filter(|r| r.default);
        all.filter(|r| Family::of(r.by) == family)
            .min_by_key(|r| r.metric)
    }

    /// The machine's own addresses, by which others reach it.
    pub fn own(&self, family: Family) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |a| {
            let device = self.by_index(a.index);
            Family::of(a.address) == family
                && device.is_some_and(|l| l.medium != Medium::Silent)
                && !is_link_local(a.address)
        })
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// Below `/proc/sys/net`.
#[must_use]
pub fn path(family: Family, interface: &str, key: &str) -> String {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    format!("{family}/conf/{interface}/{key}")
}
