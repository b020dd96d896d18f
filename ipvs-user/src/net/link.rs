//! A network interface, as far as forwarding is concerned.

use ipvs_common::Mac;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};

use super::Vlan;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    /// All zero on links without Ethernet addresses.
    pub mac: Mac,
    pub mtu: u32,
    pub up: bool,
    /// Carrier, by the driver's word.
    pub running: bool,
    /// `veth`, `bridge`, …; empty: a device of its own.
    pub kind: String,
    /// What a VLAN device is on, if that is in this network namespace.
    pub vlan: Option<Vlan>,
    /// Numbers of the XDP programs on it.
    pub programs: Vec<u32>,
    /// They are in the stack, not in the driver.
    pub generic: bool,
}

impl Link {
    /// Whether its driver sends a frame back from a native program as it does any other (`XDP_TX`). veth wants a program on
    /// its far end for that, though not for a redirect to itself.
    #[must_use]
    pub fn sends_back(&self) -> bool {
        self.kind != InfoKind::Veth.to_string()
    }

    pub(super) fn parse(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            ifindex: message.header.index,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Running),
            ..Self::default()
        };
        for attribute in &message.attributes {
            link.take(attribute);
        }
        link.vlan = vlan(message);
        link
    }

    fn take(&mut self, attribute: &LinkAttribute) {
        if let LinkAttribute::IfName(name) = attribute {
            self.name.clone_from(name);
        } else if let LinkAttribute::Address(mac) = attribute {
            self.mac = mac.as_slice().try_into().unwrap_or_default();
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            self.mtu = *mtu;
        } else if let LinkAttribute::Xdp(xdp) = attribute {
            let ids = xdp.iter().filter_map(|x| {
                if let LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) = x {
                    return Some(*id);
                }
                None
            });
            self.programs = ids.filter(|id| *id != 0).collect();
            let in_stack = |x: &LinkXdp| matches!(x, LinkXdp::SkbProgId(id) if *id != 0);
            self.generic = xdp.iter().any(in_stack);
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            for info in infos {
                if let LinkInfo::Kind(kind) = info {
                    self.kind = kind.to_string();
                }
            }
        }
    }
}

fn vlan(message: &LinkMessage) -> Option<Vlan> {
    let (mut on, mut data) = (None, None);
    for attribute in &message.attributes {
        if let LinkAttribute::Link(ifindex) = attribute {
            on = Some(*ifindex);
        } else if let LinkAttribute::LinkNetNsId(_) = attribute {
            // An index of another namespace, where there is another interface.
            return None;
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            data = infos.iter().find_map(|info| {
                if let LinkInfo::Data(data) = info {
                    return Some(data);
                }
                None
            });
        }
    }
    Vlan::parse(on?, data?)
}
