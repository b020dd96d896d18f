//! The network around the director of the traces: links, addresses, routes, and neighbours that are always known.

mod ip;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result};
use ipvs_common::Mac;
use serde::Deserialize;

pub use ip::IpCommand;

use super::golden_dir;
use crate::six::six;

const FILE: &str = "topology.json";
const LINKS: [&str; 4] = ["c0", "r1", "r2", "r3"];
const MTU: u16 = 1500;
/// First interface index; any that no new namespace gives out by itself.
const FIRST_INDEX: u32 = 10;
/// Every address of this network is the director's own.
pub const VIRTUAL: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 0), 24);
/// The same of IPv6, and of the twins.
pub const VIRTUAL6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0),
    six(VIRTUAL.0),
];
/// Last bytes of the real servers' addresses on each of their links.
const REAL_SERVERS: std::ops::RangeInclusive<u8> = 10..=19;

/// An interface of the director. All networks are /24.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub name: &'static str,
    pub ifindex: u32,
    pub mac: Mac,
    pub addr: Ipv4Addr,
    /// Of IPv6, in a network of 64 bits. (Beside it stands the twin of the other one.)
    pub addr6: Ipv6Addr,
    pub mtu: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// The clients' first.
    pub links: Vec<Link>,
    /// Router of the clients' link, behind which all clients are.
    pub gateway: Ipv4Addr,
    pub gateway_mac: Mac,
    pub gateway6: Ipv6Addr,
    /// Neighbours made known since: link, address and Ethernet address.
    added: Vec<(usize, Ipv4Addr, Mac)>,
    /// Tables by which everything is the director's own.
    local_tables: BTreeSet<u32>,
    /// Marks and the tables that packets with them are routed by.
    rules: BTreeSet<(u32, u32)>,
}

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way<A = Ipv4Addr> {
    /// The director's own, or nobody's on the way: a broadcast address.
    Local,
    /// Behind this link (by index), next hop included.
    Link(usize, A),
}

pub type Way6 = Way<Ipv6Addr>;

#[derive(Deserialize)]
struct File {
    director_namespace: BTreeMap<String, Interface>,
    default_route: DefaultRoute,
}

#[derive(Deserialize)]
struct Interface {
    mac: Option<String>,
    addr: Vec<String>,
}

#[derive(Deserialize)]
struct DefaultRoute {
    v4: String,
    v6: String,
    next_hop_mac: String,
}

impl Network {
    pub fn load() -> Result<Self> {
        let path = golden_dir().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file: File = serde_json::from_str(&text).context(FILE)?;
        let links = LINKS.iter().zip((FIRST_INDEX..).step_by(2));
        let links = links.map(|(name, ifindex)| link(&file, name, ifindex));
        let gateway = file.default_route.v4.split(' ').next();
        let gateway6 = file.default_route.v6.split(' ').next();
        Ok(Self {
            links: links.collect::<Option<_>>().context(FILE)?,
            gateway: gateway.and_then(|a| a.parse().ok()).context(FILE)?,
            gateway6: gateway6.and_then(|a| a.parse().ok()).context(FILE)?,
            gateway_mac: mac(&file.default_route.next_hop_mac).context(FILE)?,
            added: Vec::new(),
            local_tables: BTreeSet::new(),
            rules: BTreeSet::new(),
        })
    }

    /// Changes it as the command says.
    pub fn apply(&mut self, command: &IpCommand) -> Result<()> {
        match command {
            IpCommand::Rule { mark, table } => _ = self.rules.insert((*mark, *table)),
            IpCommand::AllLocal { table } => _ = self.local_tables.insert(*table),
            IpCommand::Neighbour { addr, mac, link } => {
                let link = self
                    .index_of(link)
                    .with_context(|| format!("no link {link}"))?;
                self.added.push((link, *addr, *mac));
            }
        }
        Ok(())
    }

    /// Whether every packet with this mark is for the director.
    #[must_use]
    pub fn is_local_by_mark(&self, mark: u32) -> bool {
        let mut tables = self.rules.iter().filter(|r| r.0 == mark);
        tables.any(|r| self.local_tables.contains(&r.1))
    }

    /// The same with other MTUs.
    pub fn set_mtus(&mut self, mtus: &BTreeMap<String, u16>) {
        for link in &mut self.links {
            if let Some(mtu) = mtus.get(link.name) {
                link.mtu = *mtu;
            }
        }
    }

    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.links.iter().position(|l| l.name == name)
    }

    #[must_use]
    pub fn index_of_ifindex(&self, ifindex: u32) -> Option<usize> {
        self.links.iter().position(|l| l.ifindex == ifindex)
    }

    /// Neighbours by link: the router of the clients, the real servers, and what commands made known.
    #[must_use]
    pub fn neighbours(&self) -> Vec<(usize, Ipv4Addr, Mac)> {
        let real_servers = self.links.iter().enumerate().skip(1).flat_map(|(n, link)| {
            let [a, b, c, _] = link.addr.octets();
            REAL_SERVERS.map(move |d| (n, Ipv4Addr::new(a, b, c, d), [2, 0, 0, 1, n as u8, d]))
        });
        let router = (0, self.gateway, self.gateway_mac);
        let known = std::iter::once(router).chain(real_servers);
        known.chain(self.added.iter().copied()).collect()
    }

    /// The same of IPv6: those of the traces, and the twins of all others.
    #[must_use]
    pub fn neighbours6(&self) -> Vec<(usize, Ipv6Addr, Mac)> {
        /// Last word of the first real server's address on each link.
        const FIRST_REAL: u16 = 0x10;
        let router = (0, self.gateway6, self.gateway_mac);
        let real_servers = self.links.iter().enumerate().skip(1).flat_map(|(n, link)| {
            let [a, b, c, d, ..] = link.addr6.segments();
            let numbered = REAL_SERVERS.zip(FIRST_REAL..);
            numbered.map(move |(last, word)| {
                let addr = Ipv6Addr::new(a, b, c, d, 0, 0, 0, word);
                (n, addr, [2, 0, 0, 1, n as u8, last])
            })
        });
        let twins = self.neighbours().into_iter();
        let twins = twins.map(|(link, addr, mac)| (link, six(addr), mac));
        std::iter::once(router)
            .chain(real_servers)
            .chain(twins)
            .collect()
    }

    /// The real server with this Ethernet address, of those that are there from the start.
    #[must_use]
    pub fn real_server(&self, mac: &[u8]) -> Option<Ipv4Addr> {
        let of = self.neighbours().into_iter().find(|n| n.2 == mac)?;
        let is_real = of.0 != 0 && REAL_SERVERS.contains(&of.1.octets()[3]);
        is_real.then_some(of.1)
    }

    #[must_use]
    pub fn mac_of(&self, neighbour: Ipv4Addr) -> Option<Mac> {
        let all = self.neighbours();
        all.iter().find(|n| n.1 == neighbour).map(|n| n.2)
    }

    #[must_use]
    pub fn way(&self, to: Ipv4Addr) -> Way {
        let net = |a: Ipv4Addr| a.to_bits() >> 8;
        if to.is_loopback() || net(to) == net(VIRTUAL.0) || self.links.iter().any(|l| l.addr == to)
        {
            return Way::Local;
        }
        match self.links.iter().position(|l| net(l.addr) == net(to)) {
            Some(_) if to.octets()[3] == 255 => Way::Local,
            Some(link) => Way::Link(link, to),
            None => Way::Link(0, self.gateway),
        }
    }

    /// The same of IPv6.
    #[must_use]
    pub fn way6(&self, to: Ipv6Addr) -> Way6 {
        let net = |a: Ipv6Addr| a.to_bits() >> 64;
        let own = |l: &Link| l.addr6 == to || six(l.addr) == to;
        if to.is_loopback()
            || VIRTUAL6.iter().any(|v| net(*v) == net(to))
            || self.links.iter().any(own)
        {
            return Way6::Local;
        }
        let is_there = |l: &Link| [l.addr6, six(l.addr)].iter().any(|a| net(*a) == net(to));
        match self.links.iter().position(is_there) {
            Some(link) => Way6::Link(link, to),
            None => Way6::Link(0, self.gateway6),
        }
    }

    /// The director's address on the way to another; an address of its own is reached from itself.
    #[must_use]
    pub fn source6(&self, to: Ipv6Addr) -> Ipv6Addr {
        let net = |a: Ipv6Addr| a.to_bits() >> 64;
        match self.way6(to) {
            Way6::Local => to,
            Way6::Link(link, _) => {
                let link = &self.links[link];
                let twin = six(link.addr);
                if net(twin) == net(to) {
                    twin
                } else {
                    link.addr6
                }
            }
        }
    }

    /// The same of IPv4.
    #[must_use]
    pub fn source(&self, to: Ipv4Addr) -> Ipv4Addr {
        match self.way(to) {
            Way::Local => to,
            Way::Link(link, _) => self.links[link].addr,
        }
    }
}

fn link(file: &File, name: &'static str, ifindex: u32) -> Option<Link> {
    let interface = file.director_namespace.get(name)?;
    let (addr, _) = interface.addr.first()?.split_once('/')?;
    let (addr6, _) = interface.addr.get(1)?.split_once('/')?;
    Some(Link {
        name,
        ifindex,
        mac: mac(interface.mac.as_deref()?)?,
        addr: addr.parse().ok()?,
        addr6: addr6.parse().ok()?,
        mtu: MTU,
    })
}

fn mac(text: &str) -> Option<Mac> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).ok())
        .collect();
    bytes?.try_into().ok()
}
