//! What the tables on the host have of one family: its flows, and the ways to its addresses.

use std::collections::BTreeMap;

use ipvs_common::{
    Addr, Conn, FlowKey, Fragment, FragmentKey, Mac, RingSlot, SyncNote, Template, TemplateKey,
    maps::Capacities,
};

use super::HostTables;
use crate::Ip;

/// A network that some interface leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRoute<A = [u8; 4]> {
    pub net: A,
    pub prefix: u8,
    /// `None`: the director's own address.
    pub via: Option<HostLink<A>>,
}

/// An interface and, for a routed network, the router's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostLink<A = [u8; 4]> {
    pub ifindex: u32,
    pub mac: Mac,
    pub mtu: u16,
    pub gateway: Option<A>,
}

/// All of one family.
#[derive(Clone, Debug)]
pub struct Flows<A: Ip> {
    pub templates: BTreeMap<TemplateKey<A>, Template>,
    pub conns: BTreeMap<FlowKey<A>, Conn<A>>,
    pub half_open: BTreeMap<FlowKey<A>, Conn<A>>,
    pub ring: Vec<RingSlot<A>>,
    pub ring_next: u32,
    pub synced_next: u32,
    /// The connection that a packet just opened.
    pub newborn: Conn<A>,
    /// The flow that an ICMP error just asked for.
    pub asked: FlowKey<A>,
    pub fragments: BTreeMap<FragmentKey<A>, Fragment>,
    pub routes: Vec<HostRoute<A>>,
    pub neighbours: BTreeMap<A, Mac>,
    /// What the daemon is to look at.
    pub notes: Vec<SyncNote<A>>,
}

impl<A: Ip> Flows<A> {
    pub(super) fn new(half_open: u32) -> Self {
        Self {
            templates: BTreeMap::new(),
            conns: BTreeMap::new(),
            half_open: BTreeMap::new(),
            ring: vec![RingSlot::default(); half_open as usize],
            ring_next: 0,
            synced_next: 0,
            newborn: Conn::default(),
            asked: FlowKey::default(),
            fragments: BTreeMap::new(),
            routes: Vec::new(),
            neighbours: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn entry(&self, r: (bool, FlowKey<A>)) -> Option<&Conn<A>> {
        if r.0 {
            self.half_open.get(&r.1)
        } else {
            self.conns.get(&r.1)
        }
    }

    pub(super) fn entry_mut(&mut self, r: (bool, FlowKey<A>)) -> Option<&mut Conn<A>> {
        if r.0 {
            self.half_open.get_mut(&r.1)
        } else {
            self.conns.get_mut(&r.1)
        }
    }

    pub(super) fn best_route(&self, dst: A) -> Option<&HostRoute<A>> {
        self.routes
            .iter()
            .filter(|r| r.net.network(r.prefix) == dst.network(r.prefix))
            .max_by_key(|r| r.prefix)
    }
}

/// A family that the tables on the host have.
pub trait Width: Ip<Other = <Self as Width>::Twin> {
    /// The other one.
    type Twin: Width<Twin = Self>;

    #[must_use]
    fn flows(tables: &HostTables) -> &Flows<Self>;
    fn flows_mut(tables: &mut HostTables) -> &mut Flows<Self>;
    /// What there is room for.
    fn room(capacities: &Capacities) -> Room;
}

/// Entries that tables take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    pub conns: u32,
    pub half_open: u32,
    pub templates: u32,
}

impl Width for [u8; 4] {
    type Twin = Addr;

    fn flows(tables: &HostTables) -> &Flows<Self> {
        &tables.four
    }
    fn flows_mut(tables: &mut HostTables) -> &mut Flows<Self> {
        &mut tables.four
    }
    fn room(c: &Capacities) -> Room {
        Room {
            conns: c.conns * 2,
            half_open: c.half_open * 2,
            templates: c.templates,
        }
    }
}

impl Width for Addr {
    type Twin = [u8; 4];

    fn flows(tables: &HostTables) -> &Flows<Self> {
        &tables.six
    }
    fn flows_mut(tables: &mut HostTables) -> &mut Flows<Self> {
        &mut tables.six
    }
    fn room(c: &Capacities) -> Room {
        Room {
            conns: c.conns6 * 2,
            half_open: c.half_open6 * 2,
            templates: c.templates6,
        }
    }
}
