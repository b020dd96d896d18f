//! Neighbours held, over a kernel that is made up.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Mutex};

use super::*;
use crate::net::{Link, Neighbour, Result};

/// A kernel with one route for all and a neighbour table.
struct Fake {
    manages: bool,
    table: Mutex<BTreeMap<NextHop, Neighbour>>,
    probes: Mutex<Vec<NextHop>>,
}

impl Fake {
    fn new(manages: bool) -> Self {
        Self {
            manages,
            table: Mutex::default(),
            probes: Mutex::default(),
        }
    }

    fn with(self, at: NextHop, neighbour: Neighbour) -> Self {
        self.table.lock().unwrap().insert(at, neighbour);
        self
    }

    fn entry(&self, at: NextHop) -> Option<Neighbour> {
        self.table.lock().unwrap().get(&at).copied()
    }
}

impl Network for &Fake {
    async fn links(&self) -> Result<Vec<Link>> {
        Ok(Vec::new())
    }

    async fn next_hop(&self, to: IpAddr) -> Result<Option<NextHop>> {
        let IpAddr::V4(to) = to else { return Ok(None) };
        Ok((!to.is_loopback()).then(|| hop(to.octets()[3])))
    }

    async fn neighbour(&self, at: NextHop) -> Result<Option<Neighbour>> {
        Ok(self.entry(at))
    }

    async fn probe(&self, at: NextHop) -> Result<()> {
        self.probes.lock().unwrap().push(at);
        Ok(())
    }

    async fn manage(&self, at: NextHop) -> Result<bool> {
        if self.manages {
            let mut table = self.table.lock().unwrap();
            table.entry(at).or_default().managed = true;
        }
        Ok(self.manages)
    }

    async fn forget(&self, at: NextHop) -> Result<()> {
        self.table.lock().unwrap().remove(&at);
        Ok(())
    }
}

const fn hop(host: u8) -> NextHop {
    NextHop {
        ifindex: 7,
        addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)),
    }
}

fn dests(hosts: &[u8]) -> BTreeSet<IpAddr> {
    let each = hosts.iter().map(|h| Ipv4Addr::new(10, 0, 0, *h).into());
    each.collect()
}

const STATIC: Neighbour = Neighbour {
    mac: Some([2, 0, 0, 0, 0, 9]),
    resolving: false,
    fixed: true,
    managed: false,
};

#[tokio::test]
async fn next_hops_are_held_as_long_as_a_real_server_needs_them() {
    let kernel = Fake::new(true);
    let mut held = ManagedNeighbours::new(&kernel);
    held.hold(&dests(&[1, 2])).await;
    assert!(kernel.entry(hop(1)).is_some_and(|n| n.managed));
    held.hold(&dests(&[2])).await;
    assert_eq!(kernel.entry(hop(1)), None);
    assert!(kernel.entry(hop(2)).is_some_and(|n| n.managed));
}

#[tokio::test]
async fn static_entries_are_neither_changed_nor_removed() {
    let kernel = Fake::new(true).with(hop(9), STATIC);
    let mut held = ManagedNeighbours::new(&kernel);
    held.hold(&dests(&[9])).await;
    assert_eq!(kernel.entry(hop(9)), Some(STATIC));
    held.release_all().await;
    assert_eq!(kernel.entry(hop(9)), Some(STATIC));
}

#[tokio::test]
async fn entries_that_others_manage_stay_theirs() {
    let theirs = Neighbour {
        managed: true,
        ..Neighbour::default()
    };
    let kernel = Fake::new(true).with(hop(3), theirs);
    let mut held = ManagedNeighbours::new(&kernel);
    held.hold(&dests(&[3])).await;
    held.hold(&dests(&[3])).await;
    held.release_all().await;
    assert_eq!(kernel.entry(hop(3)), Some(theirs));
}

#[tokio::test]
async fn a_flushed_entry_is_made_again() {
    let kernel = Fake::new(true);
    let mut held = ManagedNeighbours::new(&kernel);
    held.hold(&dests(&[1])).await;
    (&kernel).forget(hop(1)).await.unwrap();
    held.hold(&dests(&[1])).await;
    assert!(kernel.entry(hop(1)).is_some_and(|n| n.managed));
}

#[tokio::test]
async fn a_kernel_that_manages_nothing_is_asked_at_every_turn() {
    let kernel = Fake::new(false);
    let mut held = ManagedNeighbours::new(&kernel);
    held.hold(&dests(&[1])).await;
    held.hold(&dests(&[1])).await;
    assert_eq!(*kernel.probes.lock().unwrap(), [hop(1), hop(1)]);
    held.release_all().await;
    assert_eq!(kernel.entry(hop(1)), None);
}
