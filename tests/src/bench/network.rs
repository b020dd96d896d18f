//! The network that the datapath believes to be in: one interface, real servers and a router behind it with known
//! neighbours. No packet is ever sent.

use std::{fmt::Write as _, net::Ipv4Addr};

use anyhow::Result;
use ipvs_common::Mac;
use nix::net::if_::if_nametoindex;

use super::director::SERVICES;
use crate::topology::Netns;

const INTERFACE: &str = "bench0";
pub(super) const DIRECTOR: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
pub(super) const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 0, 1];
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
pub(super) const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 2];

/// Real servers of each service, a power of two.
pub(super) const REALS: u8 = 16;
const FIRST_REAL: u8 = 16;

// Addresses are of the range for benchmarks (RFC 2544); clients are in 10/8.

/// The virtual address of a service by its number.
pub(super) const fn vip(service: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, service + 1)
}

/// A real server of a service by their numbers.
pub(super) const fn real(service: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, service + 1, FIRST_REAL + number)
}

pub(super) const fn real_mac(service: u8, number: u8) -> Mac {
    [2, 0, 0, 1, service, number]
}

pub(super) struct Network {
    pub(super) netns: Netns,
    pub(super) ifindex: u32,
}

impl Network {
    pub(super) fn new() -> Result<Self> {
        let netns = Netns::new("bench")?;
        netns.ip(&format!(
            "link add {INTERFACE} address {} type veth peer name far0
             link set far0 up
             link set {INTERFACE} up
             address add {DIRECTOR}/16 dev {INTERFACE}
             neighbour add {ROUTER} lladdr {} dev {INTERFACE} nud permanent
             route add 10.0.0.0/8 via {ROUTER} dev {INTERFACE}
             {}",
            text(DIRECTOR_MAC),
            text(ROUTER_MAC),
            neighbours()
        ))?;
        // Without it the kernel answers no routing question of a program.
        netns.set("ipv4/ip_forward", "1")?;
        let ifindex = netns.enter(|| if_nametoindex(INTERFACE))?;
        Ok(Self { netns, ifindex })
    }
}

fn neighbours() -> String {
    let mut lines = String::new();
    for service in 0..SERVICES.len() as u8 {
        for number in 0..REALS {
            let (addr, mac) = (real(service, number), text(real_mac(service, number)));
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "neighbour add {addr} lladdr {mac} dev {INTERFACE} nud permanent"
            );
        }
    }
    lines
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
