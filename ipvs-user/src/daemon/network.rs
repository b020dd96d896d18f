//! Follows the machine's network: links, ways, and the neighbours that real servers are reached by.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use anyhow::{Context as _, Result};
use tokio::task::block_in_place;
use tracing::warn;

use super::Daemon;
use crate::net::{Changes, Network as _};

impl Daemon {
    pub(super) async fn follow(&mut self, changes: Changes) -> Result<()> {
        if changes.links {
            match self.network.links().await {
                Ok(links) => {
                    block_in_place(|| self.interfaces.follow(&links));
                    self.list_interfaces();
                }
                Err(e) => warn!("{e}"),
            }
            self.refresh_egress().await;
        }
        self.ways_changed()?;
        self.hold_neighbours().await;
        Ok(())
    }

    /// Every cached way is asked anew; if that fails, again at the next housekeeping.
    pub(super) fn ways_changed(&mut self) -> Result<()> {
        let done = self.with_director(|d| d.routes_changed().context("new ways"));
        self.ways_stale = done.is_err();
        self.patience[1].judge(done)
    }

    pub(super) async fn hold_neighbours(&mut self) {
        if self.uses_six() {
            self.interfaces.carry_six();
        }
        let dests = self.dests();
        self.neighbours.hold(&dests).await;
        let managed = self.neighbours.managed().collect();
        self.interfaces
            .keeper()
            .update(|notes| notes.neighbours = managed);
        self.held = (dests, Instant::now());
    }

    /// Those of real servers that came since, at once: until then their first packets would have to wait.
    pub(super) async fn hold_new_neighbours(&mut self) {
        if self.uses_six() {
            self.interfaces.carry_six();
        }
        if self.dests() != self.held.0 {
            self.hold_neighbours().await;
        }
    }

    pub(super) async fn refresh_egress(&mut self) -> bool {
        match self.network.links().await {
            Ok(links) => self.egress.refresh(&links).await,
            Err(e) => {
                warn!("{e}");
                false
            }
        }
    }

    /// Whether packets of IPv6 go to real servers, or come from clients who have to be told of errors.
    fn uses_six(&self) -> bool {
        self.with_director(|d| {
            let mut services = d.model().services();
            services.any(|s| {
                let mut reals = s.dests.iter().map(|real| real.key.addr);
                reals.any(|real| !real.is_v4() || !s.key.addr.is_v4())
            })
        })
    }

    pub(super) fn dests(&self) -> BTreeSet<IpAddr> {
        self.with_director(|d| {
            let dests = d.model().services().flat_map(|s| &s.dests);
            dests.map(|real| real.key.addr.ip()).collect()
        })
    }
}
