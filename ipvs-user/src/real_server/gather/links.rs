//! Interfaces, and what our program on them was told.

use anyhow::Result;
use ipvs_common::unpack::{Kind, Role};
use rtnetlink::packet_route::link::{
    InfoData, InfoGre, InfoGre6, InfoIpTunnel, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage, LinkXdp,
};

use crate::{
    dataplane::{
        bpf::AttachError,
        unpack::{Running, Told},
    },
    real_server::{
        facts::{Link, Medium, Unpacks},
        kernel::Kernel,
        wanted::{Tunnel, TunnelType},
    },
};

pub(in crate::real_server) async fn read(kernel: &Kernel) -> Result<Vec<Link>> {
    let links = kernel.links().await?;
    let mut links: Vec<Link> = links.iter().map(parse).collect();
    for link in &mut links {
        let Some(program) = link.program else {
            continue;
        };
        match Running::find(program)? {
            Some(running) => link.unpacks = unpacks(&running.told()?),
            None => link.occupied = occupied(&link.name, program),
        }
    }
    Ok(links)
}

fn occupied(interface: &str, program: u32) -> Option<String> {
    let refused = AttachError::if_occupied(interface, &[program]).err();
    refused.map(|e| e.to_string())
}

fn parse(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        medium: medium(message),
        ..Link::default()
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name.clone_from(name);
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            for info in infos {
                take(&mut link, info);
            }
        } else if let LinkAttribute::Xdp(xdp) = attribute {
            link.program = xdp.iter().find_map(program);
        }
    }
    link
}

fn medium(message: &LinkMessage) -> Medium {
    let silent = LinkFlags::Loopback | LinkFlags::Noarp;
    if message.header.flags.intersects(silent) {
        return Medium::Silent;
    }
    if message.header.link_layer_type == LinkLayerType::Ether {
        return Medium::Ethernet;
    }
    Medium::Other
}

fn take(link: &mut Link, info: &LinkInfo) {
    if let LinkInfo::Kind(kind) = info {
        link.kind = kind.to_string();
    } else if let LinkInfo::Data(data) = info {
        link.external = is_external(data);
    }
}

fn is_external(data: &InfoData) -> bool {
    if let InfoData::IpTunnel(all) = data {
        return all.contains(&InfoIpTunnel::CollectMetadata);
    }
    if let InfoData::GreTun(all) = data {
        return all.contains(&InfoGre::CollectMetadata);
    }
    if let InfoData::GreTun6(all) = data {
        return all.contains(&InfoGre6::CollectMetadata);
    }
    false
}

fn program(xdp: &LinkXdp) -> Option<u32> {
    if let LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) = xdp {
        return Some(*id).filter(|id| *id != 0);
    }
    None
}

/// `None`: nothing that this command would have said.
fn unpacks(told: &Told) -> Option<Unpacks> {
    let kinds = [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre];
    let is_it = |kind: &TunnelType| kind.kind() as u8 == told.tunnel.kind;
    let kind = kinds.into_iter().find(is_it)?;
    let all = |role: u8| {
        let of = told.roles.iter().filter(move |(_, r)| **r & role != 0);
        of.map(|(address, _)| std::net::Ipv6Addr::from(*address).to_canonical())
            .collect()
    };
    Some(Unpacks {
        tunnel: Tunnel {
            kind,
            port: u16::from_be_bytes(told.tunnel.port),
        },
        own: all(Role::OWN),
        vips: all(Role::VIP),
    })
}

/// The other way round.
pub(in crate::real_server) fn told(unpacks: &Unpacks) -> Told {
    let kind: Kind = unpacks.tunnel.kind.kind();
    let mut told = Told {
        tunnel: ipvs_common::unpack::Tunnel {
            kind: kind as u8,
            unused: 0,
            port: unpacks.tunnel.port.to_be_bytes(),
        },
        ..Told::default()
    };
    let own = unpacks.own.iter().map(|a| (a, Role::OWN));
    let vips = unpacks.vips.iter().map(|a| (a, Role::VIP));
    for (address, role) in own.chain(vips) {
        let address = ipvs_common::Addr::from(*address).bytes();
        *told.roles.entry(address).or_default() |= role;
    }
    told
}
