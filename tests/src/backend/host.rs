//! The datapath as a library over trees.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use ipvs_common::{Addr, Address, Conn, Entry, Flow, FlowKey, Template, TemplateKey, Tie};
use ipvs_datapath::{
    Action,
    host::{HostFrame, HostLink, HostRoute, HostTables},
};
use ipvs_user::dataplane::{Dataplane, host::HostDataplane};

use super::{Backend, HZ, Outcome, SERVICES, START, Setup, Snapshot, Verdict, snapshot};
use crate::{
    six::{PREFIX, six},
    trace::{IpCommand, Network, VIRTUAL6, Way},
};

pub struct Host {
    setup: Setup,
    tables: Arc<Mutex<HostTables>>,
}

impl Host {
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut tables = HostTables::new(setup.capacities, HZ as u32);
        tables.clock = START;
        tables.four.routes = routes(&setup.network);
        let neighbours = setup.network.neighbours();
        tables.four.neighbours = neighbours
            .iter()
            .map(|(_, addr, mac)| (addr.octets(), *mac))
            .collect();
        tables.six.routes = routes6(&setup.network);
        let neighbours = setup.network.neighbours6();
        let each = neighbours.iter();
        tables.six.neighbours = each.map(|(_, addr, mac)| (v6(*addr), *mac)).collect();
        let links = setup.network.links.iter();
        tables.links = links.map(|l| (l.name.to_owned(), l.ifindex)).collect();
        let refusing = setup.no_xmit.iter();
        tables.no_xmit = refusing
            .map(|link| setup.network.links[*link].ifindex)
            .collect();
        tables.vlans = setup.vlan_entries().into_iter().collect();
        tables.tagged = setup.tagged_egress().into_iter().collect();
        Self {
            setup,
            tables: Arc::new(Mutex::new(tables)),
        }
    }

    fn outcome(&self, verdict: ipvs_datapath::Verdict, mut frame: HostFrame) -> Outcome {
        let verdict = match verdict.action() {
            Action::Pass => Verdict::Pass,
            Action::Waits => Verdict::Waits,
            Action::Drop | Action::Handed | Action::Stage(_) | Action::Tagged(_) => Verdict::Drop,
            Action::Tx => Verdict::Tx,
            Action::Redirect(ifindex) => {
                Verdict::Redirect(self.setup.network.index_of_ifindex(ifindex))
            }
        };
        Outcome {
            verdict,
            frame: frame.bytes().to_vec(),
            handed: frame.handed.take(),
        }
    }

    /// The tables themselves, to look at and to arrange.
    pub fn tables(&self) -> MutexGuard<'_, HostTables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel's routes for the same network, most of which `ip addr add` makes.
fn routes(network: &Network) -> Vec<HostRoute> {
    let local = |net: Ipv4Addr, prefix| HostRoute {
        net: net.octets(),
        prefix,
        via: None,
    };
    let mut routes = vec![
        local(Ipv4Addr::new(127, 0, 0, 0), 8),
        local(crate::trace::VIRTUAL.0, crate::trace::VIRTUAL.1),
    ];
    for link in &network.links {
        let [a, b, c, _] = link.addr.octets();
        let via = HostLink {
            ifindex: link.ifindex,
            mac: link.mac,
            mtu: link.mtu,
            gateway: None,
        };
        routes.push(HostRoute {
            net: [a, b, c, 0],
            prefix: 24,
            via: Some(via),
        });
        routes.push(local(link.addr, 32));
        routes.push(local(Ipv4Addr::new(a, b, c, 255), 32));
        if let Way::Link(0, gateway) = network.way(Ipv4Addr::UNSPECIFIED)
            && link.name == network.links[0].name
        {
            routes.push(HostRoute {
                net: [0; 4],
                prefix: 0,
                via: Some(HostLink {
                    gateway: Some(gateway.octets()),
                    ..via
                }),
            });
        }
    }
    routes
}

fn routes6(network: &Network) -> Vec<HostRoute<Addr>> {
    let local = |net: Ipv6Addr, prefix| HostRoute {
        net: v6(net),
        prefix,
        via: None,
    };
    let mut routes: Vec<_> = VIRTUAL6.map(|net| local(net, PREFIX)).into();
    for (number, link) in network.links.iter().enumerate() {
        let via = HostLink {
            ifindex: link.ifindex,
            mac: link.mac,
            mtu: link.mtu,
            gateway: None,
        };
        for addr in [link.addr6, six(link.addr)] {
            routes.push(local(addr, 128));
            // Routers answer to their network's address.
            routes.push(local(network_of(addr), 128));
            routes.push(HostRoute {
                net: v6(network_of(addr)),
                prefix: PREFIX,
                via: Some(via),
            });
        }
        if number == 0 {
            routes.push(HostRoute {
                net: Addr::UNSPECIFIED,
                prefix: 0,
                via: Some(HostLink {
                    gateway: Some(v6(network.gateway6)),
                    ..via
                }),
            });
        }
    }
    routes
}

fn v6(addr: Ipv6Addr) -> Addr {
    Addr::v6(addr.octets())
}

fn network_of(addr: Ipv6Addr) -> Ipv6Addr {
    let [a, b, c, d, ..] = addr.segments();
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

impl Backend for Host {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn dataplane(&self) -> Box<dyn Dataplane> {
        Box::new(HostDataplane::new(Arc::clone(&self.tables)))
    }

    fn set_clock(&mut self, ticks: u64) -> Result<()> {
        self.tables().clock = ticks;
        Ok(())
    }

    fn ip(&mut self, _: &[&str], command: &IpCommand) -> Result<()> {
        self.setup.network.apply(command)?;
        if let IpCommand::Neighbour { addr, mac, .. } = command {
            self.tables().four.neighbours.insert(addr.octets(), *mac);
        }
        let network = &self.setup.network;
        let marks = self.setup.marks.iter();
        let local = marks.filter(|m| network.is_local_by_mark(**m)).copied();
        self.tables().local_marks = local.collect();
        Ok(())
    }

    fn run(&mut self, link: usize, frame: &[u8]) -> Result<Outcome> {
        let mut frame = HostFrame::new(frame);
        let iface = self.setup.iface(link);
        let verdict = ipvs_datapath::run(&mut frame, &mut self.tables(), &iface);
        Ok(self.outcome(verdict, frame))
    }

    fn run_held(&mut self, link: usize, frame: &[u8]) -> Result<Outcome> {
        let mut frame = HostFrame::new(frame);
        let iface = self.setup.iface(link);
        let verdict = ipvs_datapath::host::run_held(&mut frame, &mut self.tables(), &iface);
        Ok(self.outcome(verdict, frame))
    }

    fn counters(&self, dests: u32) -> Result<Snapshot> {
        let t = self.tables();
        Ok(Snapshot {
            dest_states: (0..dests).zip(t.dest_states.iter().copied()).collect(),
            dest_stats: (0..dests).zip(t.dest_stats.iter().copied()).collect(),
            reasons: snapshot::by_name(&t.reasons),
            ..Snapshot::default()
        })
    }

    fn snapshot(&self, dests: u32) -> Result<Snapshot> {
        let counters = self.counters(dests)?;
        let t = self.tables();
        Ok(Snapshot {
            conns: wide(&t.four.conns).chain(wide(&t.six.conns)).collect(),
            half_open: wide(&t.four.half_open)
                .chain(wide(&t.six.half_open))
                .collect(),
            templates: ties(&t.four.templates)
                .chain(ties(&t.six.templates))
                .collect(),
            lblc: t.lblc.clone(),
            lblcr: t.lblcr.clone(),
            sched_states: (0..SERVICES).zip(t.sched_states.iter().copied()).collect(),
            ..counters
        })
    }
}

fn wide<A: Address>(
    flows: &BTreeMap<FlowKey<A>, Conn<A>>,
) -> impl Iterator<Item = (Flow, Entry)> + '_ {
    flows.iter().map(|(key, conn)| (key.wide(), conn.wide()))
}

fn ties<A: Address>(
    templates: &BTreeMap<TemplateKey<A>, Template>,
) -> impl Iterator<Item = (Tie, Template)> + '_ {
    templates.iter().map(|(key, t)| (key.wide(), *t))
}
