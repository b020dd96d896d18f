//! The interfaces over the BPF maps.

use ipvs_common::{Egress, Iface, VlanKey};
use ipvs_datapath::tables::Links;

use super::{Family, Maps};
use crate::maps::{self, EGRESS, VLANS};

impl<A: Family> Links for Maps<A> {
    #[inline(always)]
    fn vlan(&self, key: &VlanKey) -> Option<&Iface> {
        // SAFETY: copied at once; the daemon replaces entries as a whole.
        unsafe { VLANS.get(key) }
    }
    #[inline(always)]
    fn egress(&self, ifindex: u32) -> Option<&Egress> {
        // SAFETY: as above.
        unsafe { EGRESS.get(ifindex) }
    }
    #[inline(always)]
    fn set_inbound(&mut self, iface: &Iface) {
        maps::set_inbound(self.0, iface);
    }
}
