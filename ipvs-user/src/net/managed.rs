//! Keeps the next hops of the real servers resolved: a program that forwards never asks for a neighbour itself, so without
//! this one would go stale and vanish under traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracing::{debug, info, warn};

use super::{Network, NextHop};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    /// The kernel keeps it for us.
    Managed,
    /// The kernel cannot: it is asked again at every turn.
    Probed,
    /// Somebody else's entry, static or managed by others.
    Foreign,
}

/// Entries of the neighbour table that this process holds.
pub struct ManagedNeighbours<N> {
    network: N,
    held: BTreeMap<NextHop, Hold>,
}

impl<N: Network> ManagedNeighbours<N> {
    pub const fn new(network: N) -> Self {
        Self {
            network,
            held: BTreeMap::new(),
        }
    }

    /// Goes on holding what another process began to hold.
    pub fn resume(&mut self, held: impl IntoIterator<Item = NextHop>) {
        self.held
            .extend(held.into_iter().map(|hop| (hop, Hold::Managed)));
    }

    /// What the kernel keeps for us.
    pub fn managed(&self) -> impl Iterator<Item = NextHop> + '_ {
        let held = self.held.iter().filter(|(_, hold)| **hold == Hold::Managed);
        held.map(|(hop, _)| *hop)
    }

    /// Holds the next hops towards these addresses and no others.
    pub async fn hold(&mut self, dests: &BTreeSet<IpAddr>) {
        let mut wanted = BTreeSet::new();
        for dest in dests {
            match self.network.next_hop(*dest).await {
                Ok(hop) => wanted.extend(hop),
                Err(e) => warn!("{e}"),
            }
        }
        let gone = self.held.keys().filter(|h| !wanted.contains(h));
        for hop in gone.copied().collect::<Vec<_>>() {
            self.release(hop).await;
        }
        for hop in wanted {
            self.take(hop).await;
        }
    }

    /// Gives everything back.
    pub async fn release_all(&mut self) {
        for hop in self.held.keys().copied().collect::<Vec<_>>() {
            self.release(hop).await;
        }
    }

    async fn take(&mut self, hop: NextHop) {
        let known = match self.network.neighbour(hop).await {
            Ok(known) => known.unwrap_or_default(),
            Err(e) => return warn!("{e}"),
        };
        let ours = self.held.get(&hop);
        let hold = match ours {
            // Still as we left it.
            Some(Hold::Managed) if known.managed => return,
            _ if known.fixed => Hold::Foreign,
            None if known.managed => Hold::Foreign,
            Some(Hold::Foreign) if known.managed => return,
            Some(Hold::Probed) => self.probe(hop).await,
            Some(Hold::Managed | Hold::Foreign) | None => self.manage(hop).await,
        };
        if self.held.insert(hop, hold) != Some(hold) {
            debug!(addr = %hop.addr, ifindex = hop.ifindex, ?hold, "neighbour");
        }
    }

    async fn manage(&self, hop: NextHop) -> Hold {
        match self.network.manage(hop).await {
            Ok(true) => Hold::Managed,
            Ok(false) => {
                if !self.held.values().any(|h| *h == Hold::Probed) {
                    info!(
                        "this kernel manages no neighbours (Linux 5.16 does): probing them instead"
                    );
                }
                self.probe(hop).await
            }
            Err(e) => {
                warn!("{e}");
                Hold::Probed
            }
        }
    }

    async fn probe(&self, hop: NextHop) -> Hold {
        if let Err(e) = self.network.probe(hop).await {
            debug!("{e}");
        }
        Hold::Probed
    }

    async fn release(&mut self, hop: NextHop) {
        if self.held.remove(&hop) == Some(Hold::Managed)
            && let Err(e) = self.network.forget(hop).await
        {
            warn!("{e}");
        }
    }
}

#[cfg(test)]
mod tests;
