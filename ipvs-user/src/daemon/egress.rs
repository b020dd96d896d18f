//! Keeps the datapath's table of interfaces that take frames from a native program.

use std::collections::BTreeMap;

use anyhow::Result;
use ipvs_common::Egress;
use tracing::{debug, warn};

use crate::{
    dataplane::bpf::EgressTable,
    net::{FeatureChanges, Features, Link, Tagged, tagged, takes_frames},
};

pub(super) struct EgressSync {
    table: EgressTable,
    /// `None` on kernels that do not tell (before 6.3).
    features: Option<Features>,
    /// What is in the table.
    known: BTreeMap<u32, Egress>,
}

impl EgressSync {
    /// With what is known of these links now; and where to hear of changes.
    pub(super) async fn begin(
        table: EgressTable,
        links: &[Link],
    ) -> Result<(Self, Option<FeatureChanges>)> {
        let (features, changes) = Features::connect().await?.unzip();
        let mut this = Self::new(table, features);
        this.refresh(links).await;
        Ok((this, changes))
    }

    fn new(table: EgressTable, features: Option<Features>) -> Self {
        if features.is_none() {
            warn!(
                "this kernel does not tell which interfaces take XDP frames (Linux 6.3 does): assuming that veths and cards with \
                 drivers known to do, and that no others do; a veth drops them all unless its far end has an XDP program or \
                 `ethtool -K FAR_END gro on`"
            );
        }
        Self {
            known: table.entries(),
            table,
            features,
        }
    }

    /// Looks again; tells whether anything changed.
    pub(super) async fn refresh(&mut self, links: &[Link]) -> bool {
        let now = match &self.features {
            None => links.iter().map(|l| (l.ifindex, takes_frames(l))).collect(),
            Some(features) => match features.xmit(links).await {
                Ok(now) => now,
                Err(e) => {
                    warn!("{e}");
                    return false;
                }
            },
        };
        let now = egress(links, &now);
        if now == self.known {
            return false;
        }
        self.write(&now);
        self.known = now;
        true
    }

    fn write(&mut self, now: &BTreeMap<u32, Egress>) {
        for (ifindex, egress) in now {
            if self.known.get(ifindex) != Some(egress) {
                debug!(ifindex, ?egress, "egress");
                complain(*ifindex, self.table.put(*ifindex, *egress));
            }
        }
        for ifindex in self.known.keys().filter(|i| !now.contains_key(i)) {
            complain(*ifindex, self.table.remove(*ifindex));
        }
    }
}

/// What is to be known of the links, of which some take frames as they are.
fn egress(links: &[Link], takes: &BTreeMap<u32, bool>) -> BTreeMap<u32, Egress> {
    let plain = takes.iter().map(|(ifindex, takes)| {
        let xmit = u32::from(*takes);
        let egress = Egress {
            xmit,
            ..Egress::default()
        };
        (*ifindex, egress)
    });
    let vlans = links.iter().filter_map(|link| {
        let found = tagged(links, link, |l| l.vlan.is_none())?;
        let Tagged {
            port,
            tags,
            tags_len,
        } = found;
        takes.get(&port.ifindex).filter(|takes| **takes)?;
        let egress = Egress {
            xmit: Egress::TAGGED,
            port: port.ifindex,
            tags_len,
            tags,
            mtu: found.mtu(),
        };
        Some((link.ifindex, egress))
    });
    plain.chain(vlans).collect()
}

fn complain<E: std::fmt::Display>(ifindex: u32, written: Result<(), E>) {
    if let Err(e) = written {
        warn!("map EGRESS, interface {ifindex}: {e}");
    }
}
