//! The datapath on the host, with a director over it, and the naive rules: the same steps for both.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::{ForwardingMethod, Scheduler, ServiceKey, State};
use ipvs_tests::{
    backend::{Backend, HZ, Host, Outcome, START, Setup, Verdict},
    packet::{ETHERNET, Packet, flag},
    trace::Network,
};
use ipvs_user::{
    director::Director,
    model::{Command, DestSpec, ServiceSpec},
};
use proptest::sample::Index;

use super::{
    REALS,
    naive::{Naive, Request, SHRINKS},
    reals::{Conn, Reals, Spec},
};

/// By a mark, so that packets may go to several addresses.
const MARK: u32 = 7;
const ESTABLISHED: u64 = 900;
const CLOSE: u64 = 10;
const UDP: u64 = 300;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// SYN and ACK.
    Connect {
        client: u8,
        to: u8,
    },
    Datagram {
        client: u8,
        to: u8,
    },
    /// One of the TCP connections.
    Close(Index),
    Pass(u64),
    Add(usize, Spec),
    Edit(usize, Spec),
    Delete(usize),
}

/// A TCP connection that can be closed.
#[derive(Clone, Copy)]
struct Open {
    id: usize,
    client: SocketAddrV4,
    to: Ipv4Addr,
    real: usize,
}

pub(crate) struct Pair {
    host: Host,
    director: Director,
    scheduler: Scheduler,
    pub(crate) reals: Reals,
    naive: Naive,
    open: Vec<Open>,
    next: usize,
    now: u64,
}

impl Pair {
    pub(crate) fn new(scheduler: Scheduler, flags: u8) -> Self {
        let mut setup = Setup::new(Network::load().unwrap());
        setup.marks[0] = MARK;
        // Tables that were replaced rest for a second, in which there may be many edits.
        setup.capacities.table_slots = 1 << 20;
        let host = Host::new(setup);
        let mut director = Director::new(host.dataplane(), Box::new(|_| None)).unwrap();
        let knob = ("lblcr_expiration", &*SHRINKS.to_string());
        director.set_sysctls([knob]).unwrap();
        director.adjust_settings(|s| s.icmp_rate = 0).unwrap();
        let service = ServiceKey::fwmark(MARK);
        let spec = ServiceSpec {
            flags,
            ..ServiceSpec::new(scheduler)
        };
        director
            .execute(&Command::AddService { service, spec })
            .unwrap();
        Self {
            host,
            director,
            scheduler,
            reals: Reals::new(REALS),
            naive: Naive::new(scheduler, flags),
            open: Vec::new(),
            next: 0,
            now: 0,
        }
    }

    /// # Panics
    /// If choices or counts differ.
    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect { client, to } => {
                self.connect(client, to);
            }
            Step::Datagram { client, to } => self.datagram(client, to),
            Step::Close(which) => self.close(which),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Add(real, spec) => self.add(real, spec),
            Step::Edit(real, spec) => self.edit(real, spec),
            Step::Delete(real) => self.delete(real),
        }
        self.counts_agree();
    }

    fn new_client(&mut self, client: u8) -> SocketAddrV4 {
        self.next += 1;
        let ip = Ipv4Addr::new(198, 51, 100, client);
        SocketAddrV4::new(ip, 1024 + self.next as u16)
    }

    fn send(&mut self, packet: Packet) -> Outcome {
        let network = &self.host.setup().network;
        let packet = packet.between([2, 0, 0, 9, 9, 9], network.links[0].mac);
        self.host.run(0, &packet.frame()).unwrap()
    }

    /// Where a packet went.
    fn real_of(&self, out: &Outcome) -> Option<usize> {
        let Verdict::Redirect(Some(1..)) = out.verdict else {
            return None;
        };
        let at = ETHERNET + 16;
        let ip: [u8; 4] = out.frame[at..at + 4].try_into().unwrap();
        let port = u16::from_be_bytes([out.frame[at + 6], out.frame[at + 7]]);
        let addr = SocketAddrV4::new(ip.into(), port);
        self.reals.all.iter().position(|r| r.addr == addr)
    }

    fn agreed(&mut self, client: SocketAddrV4, to: Ipv4Addr, out: &Outcome) -> Option<usize> {
        let got = self.real_of(out);
        if self.scheduler == Scheduler::Twos {
            let usable: Vec<_> = self.reals.listed().filter(|(_, r)| r.usable()).collect();
            assert_eq!(got.is_some(), !usable.is_empty());
            assert!(got.is_none_or(|n| usable.iter().any(|(u, _)| *u == n)));
            return got;
        }
        let request = Request {
            client,
            to,
            now: self.now,
        };
        let wanted = self.naive.choose(&self.reals, request);
        assert_eq!(
            got,
            wanted,
            "of {:#?}",
            self.reals.listed().collect::<Vec<_>>()
        );
        got
    }

    /// One connection; tells who has it.
    pub(crate) fn connect(&mut self, client: u8, to: u8) -> Option<usize> {
        let (client, to) = (self.new_client(client), address(to));
        let segment = |flags| Packet::tcp(client, SocketAddrV4::new(to, 80), flags);
        let out = self.send(segment(flag::SYN));
        let real = self.agreed(client, to, &out)?;
        let id = self.next;
        let ends = self.now + ESTABLISHED;
        let active = true;
        self.reals.bind(real, Conn { id, active, ends });
        self.send(segment(flag::ACK));
        self.open.push(Open {
            id,
            client,
            to,
            real,
        });
        Some(real)
    }

    fn datagram(&mut self, client: u8, to: u8) {
        let (client, to) = (self.new_client(client), address(to));
        let out = self.send(Packet::udp(client, SocketAddrV4::new(to, 80)));
        if let Some(real) = self.agreed(client, to, &out) {
            let conn = Conn {
                id: self.next,
                active: false,
                ends: self.now + UDP,
            };
            self.reals.bind(real, conn);
        }
    }

    /// A segment without flags closes. Those of deleted real servers are dropped.
    fn close(&mut self, which: Index) {
        if self.open.is_empty() {
            return;
        }
        let open = self.open[which.index(self.open.len())];
        let real = &mut self.reals.all[open.real];
        let Some(conn) = real.conns.iter_mut().find(|c| c.id == open.id) else {
            return;
        };
        if self.reals.list.contains(&open.real) {
            conn.active = false;
            conn.ends = self.now + CLOSE;
        }
        let to = SocketAddrV4::new(open.to, 80);
        self.send(Packet::tcp(open.client, to, 0));
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.host.set_clock(START + self.now * HZ).unwrap();
        self.director.tick().unwrap();
        for real in self.reals.tick(self.now) {
            self.naive.forgotten(real);
        }
    }

    pub(crate) fn add(&mut self, real: usize, spec: Spec) {
        let command = Command::AddDest {
            service: ServiceKey::fwmark(MARK),
            dest: self.reals.all[real].addr.into(),
            spec: dest_spec(spec),
        };
        let done = self.director.execute(&command).is_ok();
        assert_eq!(done, !self.reals.is_listed(real));
        if done {
            self.reals.add(real, spec);
            self.naive.changed(&self.reals);
        }
    }

    fn edit(&mut self, real: usize, spec: Spec) {
        let command = Command::EditDest {
            service: ServiceKey::fwmark(MARK),
            dest: self.reals.all[real].addr.into(),
            spec: dest_spec(spec),
        };
        let done = self.director.execute(&command).is_ok();
        assert_eq!(done, self.reals.is_listed(real));
        if done {
            self.reals.edit(real, spec);
            self.naive.changed(&self.reals);
        }
    }

    fn delete(&mut self, real: usize) {
        let command = Command::DeleteDest {
            service: ServiceKey::fwmark(MARK),
            dest: self.reals.all[real].addr.into(),
        };
        let done = self.director.execute(&command).is_ok();
        assert_eq!(done, self.reals.is_listed(real));
        if done {
            self.naive.leaves(&self.reals, real);
            self.reals.delete(real);
            self.naive.changed(&self.reals);
        }
    }

    fn counts_agree(&self) {
        let services = self.director.services().unwrap();
        let views = services[0].dests.iter();
        let got: Vec<_> = views
            .map(|d| (d.key.socket(), d.active, d.inactive, d.overloaded))
            .collect();
        let counts = |(_, r): (usize, &super::reals::Real)| {
            let (active, inactive) = (r.active() as u32, r.inactive() as u32);
            (r.addr.into(), active, inactive, r.overloaded)
        };
        let wanted: Vec<_> = self.reals.listed().map(counts).collect();
        assert_eq!(got, wanted);
    }

    /// The datapath's table of the service, by number of the real server.
    pub(crate) fn table(&self) -> Vec<Option<usize>> {
        let tables = self.host.tables();
        let service = tables.services[&ServiceKey::fwmark(MARK)];
        let from = service.table_base as usize;
        let slots = &tables.hash_tables[from..from + service.table_len as usize];
        let number = |id: &u32| {
            let dest = tables.dests.get(*id as usize)?;
            let port = u16::from_be_bytes(dest.port);
            let addr = SocketAddrV4::new(dest.addr.low4().into(), port);
            self.reals.all.iter().position(|r| r.addr == addr)
        };
        slots.iter().map(number).collect()
    }
}

const fn dest_spec(spec: Spec) -> DestSpec {
    DestSpec {
        tunnel: ipvs_user::model::Tunnel::IPIP,
        method: ForwardingMethod::Masq,
        weight: spec.weight,
        upper: spec.upper,
        lower: spec.lower,
    }
}

const fn address(to: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 10 + to)
}

const _: () = assert!(State::Close.default_timeout() as u64 == CLOSE);
