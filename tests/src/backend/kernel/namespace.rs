//! The director of the traces as a network namespace.

use std::fmt::Write as _;

use anyhow::Result;
use ipvs_common::Mac;
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    six::{PREFIX, six},
    topology::Netns,
    trace::{Network, VIRTUAL, VIRTUAL6},
};

/// Runs `f` in such a namespace, on one CPU, so that what each CPU counts for itself has one count.
pub fn in_network<T: Send>(network: &Network, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let netns = Netns::new("director")?;
    netns.ip(&lines(network))?;
    netns.set("ipv4/ip_forward", "1")?;
    netns.set("ipv6/conf/all/forwarding", "1")?;
    netns.enter(|| {
        stay_on_one_cpu()?;
        f()
    })
}

fn stay_on_one_cpu() -> Result<()> {
    let mut one = CpuSet::new();
    one.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

/// Input for `ip -batch`.
fn lines(network: &Network) -> String {
    let mut text = String::new();
    for link in &network.links {
        let (name, index, addr, mtu) = (link.name, link.ifindex, link.addr, link.mtu);
        let mac = hex(link.mac);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "link add {name} index {index} mtu {mtu} address {mac} type veth peer name {name}-far mtu {mtu}\n\
             addr add {addr}/24 dev {name}\n\
             link set {name}-far up\n\
             link set {name} up\n"
        );
    }
    for (link, addr, mac) in network.neighbours() {
        let (name, mac) = (network.links[link].name, hex(mac));
        let _ = writeln!(
            text,
            "neigh add {addr} lladdr {mac} dev {name} nud permanent"
        );
    }
    text += &lines_of_six(network);
    let (virt, prefix) = VIRTUAL;
    let (gateway, name) = (network.gateway, network.links[0].name);
    let _ = write!(
        text,
        "route add local {virt}/{prefix} dev lo\nroute add default via {gateway} dev {name}\n"
    );
    text
}

fn lines_of_six(network: &Network) -> String {
    let mut text = String::new();
    for link in &network.links {
        let name = link.name;
        for addr in [link.addr6, six(link.addr)] {
            let _ = writeln!(text, "addr add {addr}/{PREFIX} dev {name} nodad");
        }
    }
    for (link, addr, mac) in network.neighbours6() {
        let (name, mac) = (network.links[link].name, hex(mac));
        let _ = writeln!(
            text,
            "neigh add {addr} lladdr {mac} dev {name} nud permanent"
        );
    }
    for virt in VIRTUAL6 {
        let _ = writeln!(text, "route add local {virt}/{PREFIX} dev lo");
    }
    let (gateway, name) = (network.gateway6, network.links[0].name);
    let _ = writeln!(text, "route add default via {gateway} dev {name}");
    text
}

fn hex(mac: Mac) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}
