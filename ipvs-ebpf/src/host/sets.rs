//! The cache of lblcr on the host.

use bytemuck::Zeroable as _;
use ipvs_common::{LblcKey, LblcrEntry};

use super::{HostTables, View, Width};
use crate::tables::Sets;

impl HostTables {
    fn set(&mut self, key: LblcKey, change: impl FnOnce(&mut LblcrEntry)) {
        if let Some(set) = self.lblcr.get_mut(&key) {
            change(set);
        }
    }
}

impl<A: Width> Sets for View<'_, A> {
    type SetRef = LblcKey;

    fn lblcr(&mut self, key: &LblcKey) -> Option<Self::SetRef> {
        self.0.lblcr.contains_key(key).then_some(*key)
    }
    fn open_lblcr(&mut self, key: &LblcKey) -> Option<Self::SetRef> {
        self.0.lblcr.insert(*key, LblcrEntry::zeroed());
        Some(*key)
    }
    fn lblcr_change(&self, set: Self::SetRef) -> u64 {
        self.0.lblcr[&set].last_change
    }
    fn lblcr_count(&self, set: Self::SetRef) -> u32 {
        self.0.lblcr[&set].count
    }
    fn lblcr_member(&self, set: Self::SetRef, place: u32) -> u32 {
        let members = &self.0.lblcr[&set].members;
        members.get(place as usize).copied().unwrap_or(u32::MAX)
    }
    fn set_lblcr_use(&mut self, set: Self::SetRef, now: u64) {
        self.0.set(set, |s| s.last_use = now);
    }
    fn set_lblcr_change(&mut self, set: Self::SetRef, now: u64) {
        self.0.set(set, |s| s.last_change = now);
    }
    fn set_lblcr_count(&mut self, set: Self::SetRef, count: u32) {
        self.0.set(set, |s| s.count = count);
    }
    fn set_lblcr_member(&mut self, set: Self::SetRef, place: u32, dest: u32) {
        self.0.set(set, |s| s.members[place as usize] = dest);
    }
}
