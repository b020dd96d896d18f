//! What another director tells: entered into the tables, or kept until service and real server are there.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use ipvs_common::{Flow, Synced, Tie};

use super::{Director, SyncCount};
use crate::{
    dataplane::TableError,
    sync::{
        Entry,
        entry::{self, Place},
    },
    timeouts::MAX_SECONDS,
};

/// Entries without a service that are kept; a newer one takes the oldest one's place.
const UNBOUND: usize = 1 << 16;
/// Seconds for which one is kept of which no time was told.
const UNTOLD: u32 = 180;

/// What tells entries apart.
type Name = (u8, SocketAddr, SocketAddr, u32, bool);

/// Entries whose service or real server is not there.
#[derive(Debug, Default)]
pub(super) struct Unbound {
    entries: HashMap<Name, (Entry, u64)>,
    /// In the order of their arrival; names of entries that are gone, too.
    order: VecDeque<Name>,
    /// Services or real servers came.
    look: bool,
}

impl Unbound {
    pub(super) const fn look_again(&mut self) {
        self.look = true;
    }

    /// Keeps an entry up to a second of the clock; returns how many gave way.
    fn keep(&mut self, entry: &Entry, until: u64) -> u64 {
        let name = name(entry);
        if self.entries.insert(name, (entry.clone(), until)).is_none() {
            self.order.push_back(name);
        }
        let mut lost = 0;
        while self.order.len() > UNBOUND
            && let Some(oldest) = self.order.pop_front()
        {
            lost += u64::from(self.entries.remove(&oldest).is_some());
        }
        lost
    }

    /// All that are still worth it, each with the time that it has left.
    fn take(&mut self, second: u64) -> Vec<Entry> {
        self.order.clear();
        let all = std::mem::take(&mut self.entries).into_values();
        let living = all.filter(|(_, until)| *until > second);
        let left = living.map(|(entry, until)| Entry {
            timeout: Some((until - second) as u32),
            ..entry
        });
        left.collect()
    }
}

fn name(e: &Entry) -> Name {
    (e.proto, e.client, e.virt, e.mark, e.is_template())
}

impl Director {
    /// Enters what another director told.
    pub fn take_in(&mut self, told: &[Entry]) -> Result<(), TableError> {
        let placeless = self.enter(told)?;
        self.count_sync(SyncCount::Unbound, placeless);
        Ok(())
    }

    /// Returns how many were kept because they have no place yet.
    fn enter(&mut self, told: &[Entry]) -> Result<u64, TableError> {
        let mut placeless = 0;
        let mut connections: Vec<(Flow, Synced)> = Vec::new();
        let mut templates: Vec<(Tie, Synced)> = Vec::new();
        for entry in told {
            match entry::place(entry, &self.model, self.tables.settings()) {
                Place::Connection(key, synced) => connections.push((key, synced)),
                Place::Template(key, synced) => templates.push((key, synced)),
                Place::Nowhere => {
                    self.keep_unbound(entry)?;
                    placeless += 1;
                }
                Place::Unfit => self.count_sync(SyncCount::Unfit, 1),
            }
        }
        let mut entered = 0;
        if !connections.is_empty() {
            entered += self.dataplane.sync_connections(&connections)?;
        }
        if !templates.is_empty() {
            entered += self.dataplane.sync_templates(&templates)?;
        }
        let placed = connections.len() + templates.len();
        self.count_sync(SyncCount::Entered, entered.into());
        self.count_sync(SyncCount::Refused, placed as u64 - u64::from(entered));
        Ok(placeless)
    }

    /// Nobody tells any more: what has no place is forgotten.
    pub fn forget_unbound(&mut self) {
        self.sync.unbound = Unbound::default();
    }

    /// After services or real servers came: finds places for what was told before them.
    pub(in crate::director) fn bind_unbound(&mut self, now: u64) -> Result<(), TableError> {
        if !std::mem::take(&mut self.sync.unbound.look) {
            return Ok(());
        }
        let second = now / u64::from(self.hz()).max(1);
        let unbound = self.sync.unbound.take(second);
        self.enter(&unbound)?;
        Ok(())
    }

    fn keep_unbound(&mut self, entry: &Entry) -> Result<(), TableError> {
        let second = self.dataplane.now()? / u64::from(self.hz()).max(1);
        let seconds = entry.timeout.filter(|t| *t != 0).unwrap_or(UNTOLD);
        let until = second + u64::from(seconds.min(MAX_SECONDS));
        let lost = self.sync.unbound.keep(entry, until);
        self.count_sync(SyncCount::UnboundLost, lost);
        Ok(())
    }
}
