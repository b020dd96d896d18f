//! Steps for both, the datapath on the host under a director and the books; after each the books must be right.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ipvs_common::{Addr, ConnFlags, ForwardingMethod, Proto, Scheduler, ServiceKey};
use ipvs_tests::{
    backend::{Backend, HZ, Host, START, Setup},
    packet::{ETHERNET, Packet, flag},
    six::six,
    trace::Network,
};
use ipvs_user::{
    director::Director,
    model::{Command, DestKey, DestSpec, ServiceSpec},
};
use proptest::{option, prelude::*};

use super::{
    bookkeeping::{self, Books, Id, ONE_WAY, Traffic, Wish},
    references,
};

/// Of each service.
const REALS: usize = 3;
const CLIENTS: usize = 4;
/// Direct routing over TCP, masquerading over TCP and UDP.
const SERVICES: usize = 3;
/// Indices of real servers that are in use at most.
const DESTS: u32 = (SERVICES * REALS) as u32;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Request {
        flow: (usize, usize),
        flags: u8,
    },
    Reply {
        flow: (usize, usize),
        flags: u8,
    },
    /// Seconds, and whether anybody looks at the tables then.
    Pass(u64, bool),
    Add {
        id: Id,
        weight: u32,
        upper: u32,
    },
    Edit {
        id: Id,
        weight: u32,
        upper: u32,
    },
    Delete(Id),
    AddService(usize),
    EditService(usize, Option<u32>),
    DeleteService(usize),
    Nodest(bool),
}

pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let flow = (0..SERVICES, 0..CLIENTS);
    let id = (0..SERVICES, 0..REALS);
    let flags = prop_oneof![
        5 => Just(flag::SYN),
        4 => Just(flag::ACK),
        2 => Just(flag::FIN | flag::ACK),
        2 => Just(flag::RST),
        1 => Just(flag::SYN | flag::ACK),
        1 => Just(flag::PSH),
    ];
    let passed = prop_oneof![3 => 1..15_u64, 2 => 15..130_u64, 1 => 130..1000_u64];
    let (weight, upper) = (0..3_u32, prop_oneof![2 => Just(0), 1 => 1..4_u32]);
    let spec = (id.clone(), weight, upper);
    prop_oneof![
        14 => (flow.clone(), flags.clone()).prop_map(|(flow, flags)| Step::Request { flow, flags }),
        5 => (flow, flags).prop_map(|(flow, flags)| Step::Reply { flow, flags }),
        4 => (passed, any::<bool>()).prop_map(|(seconds, looks)| Step::Pass(seconds, looks)),
        4 => spec.clone().prop_map(|(id, weight, upper)| Step::Add { id, weight, upper }),
        2 => spec.prop_map(|(id, weight, upper)| Step::Edit { id, weight, upper }),
        2 => id.prop_map(Step::Delete),
        1 => (0..SERVICES).prop_map(Step::AddService),
        1 => (0..SERVICES, option::of(1..100_u32)).prop_map(|(s, p)| Step::EditService(s, p)),
        1 => (0..SERVICES).prop_map(Step::DeleteService),
        1 => any::<bool>().prop_map(Step::Nodest),
    ]
}

pub(crate) struct Ledger {
    host: Host,
    director: Director,
    books: Books,
    /// Over IPv6.
    six: bool,
}

impl Ledger {
    pub(crate) fn new(six: bool) -> Self {
        let host = Host::new(Setup::new(Network::load().unwrap()));
        let mut director = Director::new(host.dataplane(), Box::new(|_| None)).unwrap();
        director.adjust_settings(|s| s.icmp_rate = 0).unwrap();
        let books = Books::default();
        let mut this = Self {
            host,
            director,
            books,
            six,
        };
        for service in 0..SERVICES {
            this.step(&Step::AddService(service));
            for n in 0..2 {
                let id = (service, n);
                let (weight, upper) = (1, 0);
                this.step(&Step::Add { id, weight, upper });
            }
        }
        this
    }

    /// # Panics
    /// If the books are not right.
    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Request { flow, flags } => self.request(flow, flags),
            Step::Reply { flow, flags } => self.reply(flow, flags),
            Step::Pass(seconds, looks) => self.pass(seconds, looks),
            Step::Add { id, weight, upper } => {
                if self.carry_out(&self.add(id, weight, upper)) {
                    self.books.add(id, weight, upper);
                }
            }
            Step::Edit { id, weight, upper } => {
                if self.carry_out(&self.edit(id, weight, upper)) {
                    self.books.edit(id, weight, upper);
                }
            }
            Step::Delete(id) => {
                let (service, dest) = (self.service(id.0), self.dest(id));
                if self.carry_out(&Command::DeleteDest { service, dest }) {
                    self.books.delete(id);
                }
            }
            Step::AddService(n) => {
                let (service, spec) = (self.service(n), ServiceSpec::new(Scheduler::Rr));
                if self.carry_out(&Command::AddService { service, spec }) {
                    self.books.persistent[n] = None;
                }
            }
            Step::EditService(n, persistent) => self.edit_service(n, persistent),
            Step::DeleteService(n) => {
                let service = self.service(n);
                if self.carry_out(&Command::DeleteService { service }) {
                    self.books.delete_service(n);
                }
            }
            Step::Nodest(on) => {
                let value = if on { "1" } else { "0" };
                self.director
                    .set_sysctl("expire_nodest_conn", value)
                    .unwrap();
                self.books.nodest = on;
                self.books.end_of_gone();
            }
        }
        self.is_right();
    }

    fn carry_out(&mut self, command: &Command) -> bool {
        self.director.execute(command).is_ok()
    }

    fn edit_service(&mut self, n: usize, persistent: Option<u32>) {
        let service = self.service(n);
        let spec = ServiceSpec {
            persistent,
            prefix: ServiceSpec::full_prefix(&service),
            ..ServiceSpec::new(Scheduler::Rr)
        };
        let keep = 0;
        let edit = Command::EditService {
            service,
            spec,
            keep,
        };
        if self.carry_out(&edit) {
            self.books.persistent[n] = persistent.map(u64::from);
        }
    }

    fn run(&mut self, link: usize, packet: Packet) -> u64 {
        let network = &self.host.setup().network;
        let mut packet = packet.between([2, 0, 0, 9, 9, 9], network.links[link].mac);
        packet.six = self.six;
        let frame = packet.frame();
        self.host.run(link, &frame).unwrap();
        (frame.len() - ETHERNET) as u64
    }

    fn request(&mut self, flow: (usize, usize), flags: u8) {
        let there = self
            .director
            .model()
            .service(&self.service(flow.0))
            .is_some();
        let (packet, flags) = if flow.0 == 2 {
            (Packet::udp(client(flow.1), virt(2)).data(5), None)
        } else {
            let to = virt(flow.0);
            (Packet::tcp(client(flow.1), to, flags).data(9), Some(flags))
        };
        let len = self.run(0, packet);
        let packet = bookkeeping::Packet { flow, flags, len };
        let wish = self.books.request(packet, there);
        if wish == Wish::Nothing {
            return;
        }
        let got = self.real_of(flow);
        match wish {
            Wish::This(real) => assert_eq!(got, Some(real), "the template's"),
            Wish::Any | Wish::Nothing => {
                let of_service = self.books.reals.iter().filter(|(id, _)| id.0 == flow.0);
                let usable = of_service.filter(|(_, r)| r.listed && r.weight > 0 && !r.overloaded);
                let usable: Vec<_> = usable.map(|(id, _)| *id).collect();
                assert_eq!(got.is_some(), !usable.is_empty());
                assert!(got.is_none_or(|real| usable.contains(&real)));
            }
        }
        if let Some(real) = got {
            self.books.open(packet, real, wish);
        }
    }

    /// From the real server that has the connection, or another one if nobody has.
    fn reply(&mut self, flow: (usize, usize), flags: u8) {
        let from = self.real_of(flow).unwrap_or((flow.0, 0));
        let (packet, flags) = if flow.0 == 2 {
            (Packet::udp(address(from), client(flow.1)).data(6), None)
        } else {
            let (from, to) = (address(from), client(flow.1));
            (Packet::tcp(from, to, flags), Some(flags))
        };
        let len = self.run(1, packet);
        let packet = bookkeeping::Packet { flow, flags, len };
        self.books.reply(packet, from);
    }

    fn pass(&mut self, seconds: u64, looks: bool) {
        self.books.now += seconds;
        let clock = START + self.books.now * HZ;
        self.host.set_clock(clock).unwrap();
        if looks {
            self.director.tick().unwrap();
            self.books.tick();
        }
    }

    /// Who has a client's connection, by the tables.
    fn real_of(&self, flow: (usize, usize)) -> Option<Id> {
        let tables = self.host.snapshot(DESTS).unwrap();
        let mut all = tables.conns.iter().chain(&tables.half_open);
        let client = client(flow.1).port().to_be_bytes();
        let virt = virt(flow.0).port().to_be_bytes();
        let (_, conn) = all.find(|(key, conn)| {
            let reply = conn.status.flags & ConnFlags::REPLY != 0;
            !reply && (key.sport, key.dport) == (client, virt)
        })?;
        Some((flow.0, number(conn.to_addr)))
    }

    fn is_right(&self) {
        let tables = self.host.snapshot(DESTS).unwrap();
        tables.is_consistent().unwrap();
        references::lead_to_the_living(&self.host.tables(), &self.director);
        for view in self.director.services().unwrap() {
            let n = (0..SERVICES)
                .find(|n| self.service(*n) == view.key)
                .unwrap();
            for dest in &view.dests {
                let id = (n, number(dest.key.addr));
                let real = &self.books.reals[&id];
                let counts = (dest.active, dest.inactive, dest.persistent);
                assert_eq!(counts, self.books.counts(id), "{id:?}");
                assert_eq!(dest.overloaded, real.overloaded, "{id:?}");
                let s = dest.stats;
                let traffic = Traffic {
                    conns: s.conns,
                    in_packets: s.in_packets,
                    in_bytes: s.in_bytes,
                    out_packets: s.out_packets,
                    out_bytes: s.out_bytes,
                };
                assert_eq!(traffic, real.traffic, "{id:?}");
            }
        }
    }

    pub(crate) fn everything_ends(&mut self) {
        for _ in 0..12 {
            self.step(&Step::Pass(1000, true));
        }
        assert!(self.books.is_empty());
        self.host.snapshot(DESTS).unwrap().is_empty().unwrap();
        assert_eq!(self.director.usage().trash, 0);
    }
}

const fn virt(service: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 80 + service as u16)
}

fn client(n: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1 + n as u8), 2000 + n as u16)
}

/// A real server's, by its address of either family.
fn number(addr: Addr) -> usize {
    usize::from(addr.bytes()[15]) - 10
}

const fn address((service, n): Id) -> SocketAddrV4 {
    let port = if service == ONE_WAY {
        80
    } else {
        8080 + service as u16
    };
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10 + n as u8), port)
}

const fn spec(id: Id, weight: u32, upper: u32) -> DestSpec {
    let method = if id.0 == ONE_WAY {
        ForwardingMethod::Droute
    } else {
        ForwardingMethod::Masq
    };
    DestSpec {
        upper,
        ..DestSpec::new(method, weight)
    }
}

impl Ledger {
    /// An address, or its twin.
    fn ip(&self, addr: Ipv4Addr) -> IpAddr {
        if self.six {
            six(addr).into()
        } else {
            addr.into()
        }
    }

    fn service(&self, n: usize) -> ServiceKey {
        let proto = if n == 2 { Proto::Udp } else { Proto::Tcp };
        let to = virt(n);
        ServiceKey::at(
            proto as u8,
            self.ip(*to.ip()).into(),
            to.port().to_be_bytes(),
        )
    }

    fn dest(&self, id: Id) -> DestKey {
        let at = address(id);
        DestKey::new(self.ip(*at.ip()), at.port())
    }

    fn add(&self, id: Id, weight: u32, upper: u32) -> Command {
        Command::AddDest {
            service: self.service(id.0),
            dest: self.dest(id),
            spec: spec(id, weight, upper),
        }
    }

    fn edit(&self, id: Id, weight: u32, upper: u32) -> Command {
        Command::EditDest {
            service: self.service(id.0),
            dest: self.dest(id),
            spec: spec(id, weight, upper),
        }
    }
}
