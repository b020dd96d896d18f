//! The network that the datapath believes to be in: one interface, real servers and a router behind it with known
//! neighbours. No packet is ever sent.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Result;
use ipvs_common::Mac;
use nix::net::if_::if_nametoindex;

use super::service;
use crate::{six::six, topology::Netns};

const INTERFACE: &str = "bench0";
pub(super) const DIRECTOR: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
pub(super) const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 0, 1];
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
pub(super) const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 2];

pub(super) struct Network {
    pub(super) netns: Netns,
    pub(super) ifindex: u32,
}

impl Network {
    pub(super) fn new() -> Result<Self> {
        let netns = Netns::new("bench")?;
        let (director6, router6, router_mac) = (six(DIRECTOR), six(ROUTER), text(ROUTER_MAC));
        netns.ip(&format!(
            "link add {INTERFACE} address {} type veth peer name far0
             link set far0 up
             link set {INTERFACE} up
             address add {DIRECTOR}/15 dev {INTERFACE}
             neighbour add {ROUTER} lladdr {router_mac} dev {INTERFACE} nud permanent
             route add 10.0.0.0/8 via {ROUTER} dev {INTERFACE}
             address add {director6}/47 dev {INTERFACE} nodad
             neighbour add {router6} lladdr {router_mac} dev {INTERFACE} nud permanent
             route add 2001:db8:a00::/40 via {router6} dev {INTERFACE}
             {}",
            text(DIRECTOR_MAC),
            neighbours()
        ))?;
        // Without it the kernel answers no routing question of a program.
        netns.set("ipv4/ip_forward", "1")?;
        netns.set("ipv6/conf/all/forwarding", "1")?;
        let ifindex = netns.enter(|| if_nametoindex(INTERFACE))?;
        Ok(Self { netns, ifindex })
    }
}

fn neighbours() -> String {
    let reals = service::all().flat_map(|service| {
        (0..service.reals).map(move |n| (service.ip(*service.real(n).ip()), service.mac(n)))
    });
    // Some services share theirs.
    let reals: BTreeMap<IpAddr, Mac> = reals.collect();
    let mut lines = String::new();
    for (addr, mac) in reals {
        // Writing to a string does not fail.
        let _ = writeln!(
            lines,
            "neighbour add {addr} lladdr {} dev {INTERFACE} nud permanent",
            text(mac)
        );
    }
    lines
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
