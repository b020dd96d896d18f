//! The VLAN devices on the director's interfaces: their frames come in by those, and are treated as if they came in by the devices.

use std::collections::BTreeMap;

use ipvs_common::{Iface, Tags, VlanKey};
use tracing::{error, info, warn};

use super::interfaces::{Interfaces, Wanted};
use crate::{
    dataplane::bpf::{Attachment, VlanTable},
    net::{Link, Setting, Tagged, tagged},
};

/// What is in the datapath's table, and whose that is.
pub(super) struct Vlans {
    table: VlanTable,
    known: BTreeMap<VlanKey, Iface>,
    pub(super) served: BTreeMap<String, Served>,
}

/// A VLAN device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Served {
    /// The interface that its frames come in by.
    pub(super) port: String,
    pub(super) iface: Iface,
    key: VlanKey,
    /// Frames of one that is down are nobody's.
    up: bool,
}

impl Vlans {
    pub(super) fn new(table: VlanTable) -> Self {
        Self {
            known: table.entries(),
            table,
            served: BTreeMap::new(),
        }
    }

    /// What fails is tried again the next time.
    fn write(&mut self, now: BTreeMap<VlanKey, Iface>) {
        let gone: Vec<_> = self.known.keys().copied().collect();
        for key in gone.into_iter().filter(|k| !now.contains_key(k)) {
            if succeeds(self.table.remove(key)) {
                self.known.remove(&key);
            }
        }
        for (key, iface) in now {
            if self.known.get(&key) != Some(&iface) && succeeds(self.table.put(key, iface)) {
                self.known.insert(key, iface);
            }
        }
    }
}

/// Says what did not.
fn succeeds<E: std::fmt::Display>(written: Result<(), E>) -> bool {
    written.map_err(|e| warn!("map VLANS: {e}")).is_ok()
}

/// The wanted interface that a VLAN device's frames come in by.
pub(super) fn port_of<'l>(
    links: &'l [Link],
    wanted: &[Wanted],
    device: &Link,
) -> Option<Tagged<'l>> {
    tagged(links, device, |l| wanted.iter().any(|w| w.name == l.name))
}

impl Interfaces {
    /// Ports are about to get their programs: frames of their VLANs are to be known from the first one on.
    pub(super) fn expect_vlans(&mut self, links: &[Link], ports: &[(String, Iface)]) {
        let served = self.devices_on(links, ports);
        self.vlans.write(table(ports, &served));
    }

    /// Programs or links changed.
    pub(super) fn serve_vlans(&mut self, links: &[Link]) {
        let ports = self.attached.iter();
        let ports: Vec<_> = ports.map(|(name, a)| (name.clone(), *a.iface())).collect();
        let served = self.devices_on(links, &ports);
        self.vlans.write(table(&ports, &served));
        let before = std::mem::replace(&mut self.vlans.served, served.clone());
        let is_new = |(name, of): &(&String, &Served)| {
            before.get(*name).map(|b| b.iface.ifindex) != Some(of.iface.ifindex)
        };
        self.begin_to_serve(links, served.iter().filter(is_new));
        let gone = before.into_keys().filter(|name| !served.contains_key(name));
        self.end_to_serve(gone.collect());
    }

    fn devices_on(&self, links: &[Link], ports: &[(String, Iface)]) -> BTreeMap<String, Served> {
        let is_port = |l: &Link| ports.iter().any(|(_, port)| port.ifindex == l.ifindex);
        let devices = links.iter().filter(|l| !is_port(l));
        let served = devices.filter_map(|device| {
            let on = tagged(links, device, is_port)?;
            let (port, of_port) = ports.iter().find(|(_, p)| p.ifindex == on.port.ifindex)?;
            let wanted = self.wanted.iter().find(|w| w.name == device.name);
            let iface = Iface {
                mac: device.mac,
                ifindex: device.ifindex,
                mark: wanted.map_or(0, |w| w.mark),
                mtu: device.mtu,
                ..*of_port
            };
            let served = Served {
                port: port.clone(),
                iface,
                key: VlanKey::new(of_port.ifindex, on.tags),
                up: device.up,
            };
            Some((device.name.clone(), served))
        });
        served.collect()
    }

    fn begin_to_serve<'s>(
        &mut self,
        links: &[Link],
        new: impl Iterator<Item = (&'s String, &'s Served)>,
    ) {
        let (mut ports, mut needed) = (BTreeMap::new(), Vec::new());
        for (name, served) in new {
            let port = &served.port;
            let tags = text(served.key.tags);
            info!(interface = name, "served through {port}: {tags}");
            warn_of_mtu(links, name, served);
            needed.push((name.clone(), served.iface.ifindex, self.needed(name)));
            ports.insert(port, served.iface.port);
        }
        for (port, ifindex) in ports {
            let settings = leave_tags_on(links, port, ifindex);
            needed.push((port.clone(), ifindex, settings));
        }
        self.set(&needed);
    }

    /// Puts back what was set for devices that are not served any longer, and not attached to.
    fn end_to_serve(&mut self, mut gone: Vec<String>) {
        gone.retain(|name| !self.attached.contains_key(name));
        for name in &gone {
            let note = self.keeper.notes().interfaces.get(name);
            for setting in note.into_iter().flat_map(|n| n.settings.iter().rev()) {
                setting.restore();
            }
        }
        self.keeper.update(|notes| {
            notes.interfaces.retain(|name, _| !gone.contains(name));
        });
    }

    /// What was attached to devices that are served now. (Of a daemon before, or before their ports were named.)
    pub(super) fn forget_programs_of_served(&self) {
        for name in self.vlans.served.keys() {
            if let Err(e) = Attachment::forget(&self.loader, name) {
                error!("{e}");
            }
        }
    }
}

/// Where a device says that it takes longer packets than its port does with its tags.
fn warn_of_mtu(links: &[Link], name: &str, served: &Served) {
    let device = links.iter().find(|l| l.ifindex == served.iface.ifindex);
    let on = device.and_then(|d| tagged(links, d, |l| l.ifindex == served.iface.port));
    let Some(most) = on
        .map(|on| on.mtu())
        .filter(|most| served.iface.mtu > *most)
    else {
        return;
    };
    let port = &served.port;
    warn!(
        interface = name,
        "packets longer than {most} bytes do not fit through {port} with the tags of {name}: `ip link set dev {name} mtu {most}`, and the \
         same on the machines of that VLAN, or a larger MTU for {port}"
    );
}

/// What a port needs whose card must leave tags where they are.
fn leave_tags_on(links: &[Link], port: &str, ifindex: u32) -> Vec<Setting> {
    let link = links.iter().find(|l| l.ifindex == ifindex);
    if link.is_none_or(Link::sends_back) {
        return Setting::needed_for_tags(port);
    }
    warn!(
        interface = port,
        "{port} is a veth: of a far end that has `tx-vlan-offload` on, frames come with their tags beside them, where no program \
         sees them, and count as frames without. `ethtool --offload FAR_END txvlan off` there, or name the VLAN devices as \
         interfaces, and {port} not"
    );
    Vec::new()
}

/// The datapath's table: the devices that are up, and frames that carry a priority and no VLAN, which are their port's own.
fn table(ports: &[(String, Iface)], served: &BTreeMap<String, Served>) -> BTreeMap<VlanKey, Iface> {
    let none = [VlanKey::CUSTOMER, VlanKey::SERVICE].map(|[a, b]| [a, b, 0, 0, 0, 0, 0, 0]);
    let own = ports
        .iter()
        .flat_map(|(_, port)| none.map(|tags| (VlanKey::new(port.ifindex, tags), *port)));
    let up = served.values().filter(|s| s.up);
    own.chain(up.map(|s| (s.key, s.iface))).collect()
}

/// Tags for a person.
fn text(tags: Tags) -> String {
    let (tags, _) = tags.as_chunks::<4>();
    let each = tags.iter().filter(|t| **t != [0; 4]).map(|[a, b, c, d]| {
        let kind = if [*a, *b] == VlanKey::SERVICE {
            "802.1ad"
        } else {
            "802.1Q"
        };
        format!("{kind} {}", u16::from_be_bytes([*c, *d]))
    });
    each.collect::<Vec<_>>().join(", in it ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_without_a_vlan_is_the_ports_own() {
        let port = Iface {
            ifindex: 7,
            port: 7,
            ..Iface::default()
        };
        let table = table(&[("eth0".to_owned(), port)], &BTreeMap::new());
        let key = VlanKey::new(7, [0x81, 0, 0xe0, 0, 0, 0, 0, 0]);
        assert_eq!(table.get(&key), Some(&port));
    }

    #[test]
    fn tags_are_named_from_the_outside() {
        let two = [0x88, 0xa8, 0, 100, 0x81, 0, 0x0f, 0xff];
        assert_eq!(text(two), "802.1ad 100, in it 802.1Q 4095");
    }
}
