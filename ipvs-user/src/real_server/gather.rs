//! Asks the machine what it is like.

pub(super) mod links;
mod listeners;
mod modules;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};

use super::{
    facts::{Address, Facts, Gateway, path},
    kernel::Kernel,
    wanted::{Family, TunnelType, Wanted},
};
use crate::net::Gue;

/// Below which the settings are.
pub(super) const SETTINGS: &str = "/proc/sys/net";
const KEYS: [&str; 3] = ["arp_ignore", "arp_announce", "rp_filter"];

pub(super) async fn gather(kernel: &Kernel, wanted: &Wanted) -> Result<Facts> {
    let mut facts = Facts {
        links: links::read(kernel).await?,
        listeners: listeners::read()?,
        ..Facts::default()
    };
    let addresses = kernel.addresses().await?;
    facts.addresses = addresses.iter().filter_map(address).collect();
    for family in Family::BOTH {
        let routes = kernel.routes(family).await?;
        facts.routes.extend(routes.iter().flat_map(gateways));
    }
    if let Some(director) = wanted.director {
        let route = kernel.route_to(director).await?;
        facts.towards_director = route.as_ref().and_then(interface);
    }
    settings(&mut facts)?;
    facts.devices = modules::devices(&facts.links);
    if let Some(tunnel) = wanted.tunnel
        && tunnel.kind == TunnelType::Gue
    {
        gue(&mut facts, tunnel.port).await?;
    }
    Ok(facts)
}

fn settings(facts: &mut Facts) -> Result<()> {
    let names = facts.links.iter().map(|l| l.name.as_str());
    for interface in names.chain(["all", "default"]) {
        let v4 = KEYS.map(|key| path(Family::V4, interface, key));
        for path in v4
            .into_iter()
            .chain([path(Family::V6, interface, "disable_ipv6")])
        {
            let file = Path::new(SETTINGS).join(&path);
            match fs::read_to_string(&file) {
                Ok(text) => _ = facts.settings.insert(path, text.trim().to_owned()),
                // An interface that has just gone, or a kernel without IPv6.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| file.display().to_string()),
            }
        }
    }
    Ok(())
}

/// A module that is only to be loaded has no ports yet; asking would load it.
async fn gue(facts: &mut Facts, port: u16) -> Result<()> {
    if modules::waits("fou") {
        facts.gue.extend(Family::BOTH);
        return Ok(());
    }
    let Some(gue) = Gue::connect().await? else {
        return Ok(());
    };
    facts.gue.extend(Family::BOTH);
    for family in Family::BOTH {
        if gue.has(family == Family::V6, port).await? {
            facts.gue_port.insert(family);
        }
    }
    Ok(())
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(a) = attribute {
            local = Some(*a);
        } else if let AddressAttribute::Address(a) = attribute {
            other = Some(*a);
        }
    }
    Some(Address {
        index: message.header.index,
        // The second one is the far end's, where there is one.
        address: local.or(other)?,
        prefix: message.header.prefix_len,
    })
}

fn gateways(route: &RouteMessage) -> Vec<Gateway> {
    if route.header.table != RouteHeader::RT_TABLE_MAIN {
        return Vec::new();
    }
    let (mut metric, mut index, mut several) = (0, 0, Vec::new());
    for attribute in &route.attributes {
        if let RouteAttribute::Priority(value) = attribute {
            metric = *value;
        } else if let RouteAttribute::Oif(value) = attribute {
            index = *value;
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            let hops = hops.iter();
            several = hops
                .filter_map(|h| Some((gateway(&h.attributes)?, h.interface_index)))
                .collect();
        }
    }
    let one = gateway(&route.attributes).map(|by| (by, index));
    let all = one.into_iter().chain(several);
    all.map(|(by, index)| Gateway {
        by,
        default: route.header.destination_prefix_length == 0,
        metric,
        index,
    })
    .collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<std::net::IpAddr> {
    attributes.iter().find_map(|a| {
        if let RouteAttribute::Gateway(RouteAddress::Inet(by)) = a {
            return Some((*by).into());
        }
        if let RouteAttribute::Gateway(RouteAddress::Inet6(by)) = a {
            return Some((*by).into());
        }
        None
    })
}

/// By which packets leave this machine.
fn interface(route: &RouteMessage) -> Option<u32> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    route.attributes.iter().find_map(|a| {
        if let RouteAttribute::Oif(index) = a {
            return Some(*index);
        }
        None
    })
}
