//! The interfaces on the host.

use ipvs_common::{Egress, Iface, VlanKey};

use super::{HostTables, View, Width};
use crate::tables::Links;

impl HostTables {
    /// How an interface takes frames from a native program, and the longest packet that its port takes.
    pub(super) fn takes(&self, ifindex: u32) -> (u8, u16) {
        match self.tagged.get(&ifindex) {
            Some(vlan) if vlan.mtu != 0 => (vlan.xmit as u8, vlan.mtu as u16),
            Some(vlan) => (vlan.xmit as u8, u16::MAX),
            None if self.no_xmit.contains(&ifindex) => (Egress::NOTHING as u8, u16::MAX),
            None => (Egress::PLAIN as u8, u16::MAX),
        }
    }
}

impl<A: Width> Links for View<'_, A> {
    fn vlan(&self, key: &VlanKey) -> Option<&Iface> {
        self.0.vlans.get(key)
    }
    fn egress(&self, ifindex: u32) -> Option<&Egress> {
        self.0.tagged.get(&ifindex)
    }
    fn set_inbound(&mut self, iface: &Iface) {
        self.0.inbound = *iface;
    }
}
