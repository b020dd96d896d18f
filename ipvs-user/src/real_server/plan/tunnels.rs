//! What takes packets out of their tunnel: devices of the kernel, or the XDP program.

use std::collections::BTreeSet;

use super::Plan;
use crate::real_server::{
    facts::{Facts, Link, Medium, Unpacks},
    refusal::Refusal,
    step::Step,
    wanted::{Device, Family, Method, Tunnel, TunnelType, Unpacker, Wanted},
};

pub(super) fn plan(plan: &mut Plan, wanted: &Wanted, facts: &Facts) {
    let Some(tunnel) = wanted.tunnel else { return };
    if by_program(wanted, facts) {
        program(plan, wanted, tunnel, facts);
    } else {
        devices(plan, wanted, tunnel, facts);
    }
}

/// By families: packets of which come in tunnels' packets of which.
fn families(wanted: &Wanted, facts: &Facts) -> Vec<(Family, Family)> {
    let outer = |family: &Family| match wanted.director {
        Some(director) => Family::of(director) == *family,
        None => facts.own(*family).next().is_some(),
    };
    let inner = |family: &Family| wanted.has(*family);
    let outer = Family::BOTH.into_iter().filter(outer);
    outer
        .flat_map(|o| Family::BOTH.into_iter().filter(inner).map(move |i| (o, i)))
        .collect()
}

fn outer(wanted: &Wanted, facts: &Facts) -> BTreeSet<Family> {
    families(wanted, facts).iter().map(|(o, _)| *o).collect()
}

fn needed(wanted: &Wanted, tunnel: Tunnel, facts: &Facts) -> BTreeSet<Device> {
    let all = families(wanted, facts).into_iter();
    all.map(|(outer, inner)| Device::of(tunnel.kind, outer, inner))
        .collect()
}

/// Whether the XDP program does it.
fn by_program(wanted: &Wanted, facts: &Facts) -> bool {
    let Some(tunnel) = wanted.tunnel else {
        return false;
    };
    match wanted.unpacker {
        Unpacker::Kernel => false,
        Unpacker::Xdp => true,
        Unpacker::Auto => {
            let has = |d: &Device| facts.devices.contains(d);
            !needed(wanted, tunnel, facts).iter().all(has) || !missing_gue(wanted, facts).is_empty()
        }
    }
}

fn missing_gue(wanted: &Wanted, facts: &Facts) -> Vec<Family> {
    let is_gue = wanted.tunnel.is_some_and(|t| t.kind == TunnelType::Gue);
    let outer = outer(wanted, facts).into_iter();
    outer
        .filter(|family| is_gue && !facts.gue.contains(family))
        .collect()
}

/// Interfaces by which packets come in from the director, as far as that is known.
pub(super) fn ways_in<'a>(wanted: &Wanted, facts: &'a Facts) -> Vec<&'a Link> {
    if wanted.method == Method::Tunnel && !by_program(wanted, facts) {
        // There it is the tunnel device that counts.
        return Vec::new();
    }
    if !wanted.interfaces.is_empty() {
        let named = wanted.interfaces.iter();
        return named.filter_map(|name| facts.link(name)).collect();
    }
    if wanted.director.is_some() {
        let link = facts.towards_director.and_then(|i| facts.by_index(i));
        return link.into_iter().collect();
    }
    if wanted.method != Method::Tunnel {
        return Vec::new();
    }
    let outer = outer(wanted, facts).into_iter();
    let indices: BTreeSet<u32> = outer
        .flat_map(|family| facts.own(family).map(|a| a.index))
        .collect();
    let links = indices.into_iter().filter_map(|i| facts.by_index(i));
    links
        .filter(|l| l.medium == Medium::Ethernet && l.up)
        .collect()
}

/// Why tunnels cannot be unpacked.
pub(super) fn refusals(wanted: &Wanted, facts: &Facts) -> Vec<Refusal> {
    let Some(tunnel) = wanted.tunnel else {
        return Vec::new();
    };
    if !by_program(wanted, facts) {
        let devices = needed(wanted, tunnel, facts).into_iter();
        let missing = devices.filter(|d| !facts.devices.contains(d));
        let gue = missing_gue(wanted, facts).into_iter();
        return missing
            .map(Refusal::NoDevice)
            .chain(gue.map(Refusal::NoGue))
            .collect();
    }
    let links = ways_in(wanted, facts);
    if links.is_empty() {
        return vec![Refusal::NoWayIn];
    }
    let occupied = links.into_iter().filter_map(|l| l.occupied.clone());
    occupied.map(Refusal::Occupied).collect()
}

fn program(plan: &mut Plan, wanted: &Wanted, tunnel: Tunnel, facts: &Facts) {
    let outer = outer(wanted, facts).into_iter();
    let told = Unpacks {
        tunnel,
        own: outer
            .flat_map(|family| facts.own(family).map(|a| a.address))
            .collect(),
        vips: wanted.vips.clone(),
    };
    for link in ways_in(wanted, facts) {
        let interface = link.name.clone();
        let index = link.index;
        let step = match &link.unpacks {
            Some(before) => Step::Tell {
                interface,
                index,
                before: before.clone(),
                now: told.clone(),
            },
            None => Step::Attach {
                interface,
                index,
                told: told.clone(),
                attached: None,
            },
        };
        plan.step(link.unpacks.as_ref() == Some(&told), step);
    }
}

fn devices(plan: &mut Plan, wanted: &Wanted, tunnel: Tunnel, facts: &Facts) {
    for device in needed(wanted, tunnel, facts) {
        let found = facts.tunnel(device);
        let name = found.map_or_else(|| device.name().to_owned(), |l| l.name.clone());
        let make = Step::Make {
            device,
            name: name.clone(),
        };
        plan.step(found.is_some(), make);
        if wanted.has(Family::V4) && device != Device::Sit {
            // Senders are clients, towards whom another interface leads.
            plan.loosen(facts, &name);
            // Without an address of its own even a loose filter refuses everybody whom the device does not lead to.
            let vip = wanted.vips.iter().find(|vip| vip.is_ipv4());
            if let Some(vip) = vip.filter(|_| facts.in_force(&name, "rp_filter") != 0) {
                plan.address(facts, &name, *vip);
            }
        }
        plan.step(found.is_some_and(|l| l.up), Step::Up { name });
    }
    if tunnel.kind == TunnelType::Gue {
        for family in outer(wanted, facts) {
            let port = Step::Port {
                port: tunnel.port,
                family,
            };
            plan.step(facts.gue_port.contains(&family), port);
        }
    }
}
