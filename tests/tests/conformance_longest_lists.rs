//! Services with as many real servers as there may be, under every scheduler that looks at them one by one: the real programs
//! reach the last one, and choose as the host does. Needs root.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use ipvs_common::{
    ForwardingMethod, Proto, Scheduler, Service, ServiceFlags, ServiceKey, maps::Capacities,
};
use ipvs_tests::{
    backend::{Backend, Host, Kernel, Outcome, Setup, Verdict, in_network},
    packet::{ETHERNET, Packet, flag},
    trace::Network,
};
use ipvs_user::{
    director::Director,
    model::{Command, DestKey, DestSpec, ServiceSpec},
};

/// All of these services at once.
const CAPACITIES: Capacities = Capacities {
    dests: 1 << 15,
    list_slots: 1 << 17,
    table_slots: 1 << 18,
    ..Capacities::SMALL
};
/// The first port of real servers that are told apart by their ports.
const FIRST: u16 = 1000;

#[test]
fn longest_lists_are_walked_to_their_end() {
    let mut setup = Setup::new(Network::load().expect("the network of the traces"));
    setup.capacities = CAPACITIES;
    let network = setup.network.clone();
    in_network(&network, || run(setup)).unwrap_or_else(|e| panic!("{e:#}"));
}

fn run(setup: Setup) -> Result<()> {
    let mut pair = Pair::new(setup)?;
    for (port, scheduler) in (1..).zip(Scheduler::ALL) {
        let place = || scheduler.name();
        // dh's table has fewer places than the list, and so has sh's.
        if !matches!(scheduler, Scheduler::Dh | Scheduler::Sh | Scheduler::None) {
            pair.reaches_the_last(port, *scheduler)
                .with_context(place)?;
        }
        if *scheduler != Scheduler::Twos {
            pair.chooses_alike(port + 100, *scheduler)
                .with_context(place)?;
        }
    }
    Ok(())
}

/// Both backends with a director each.
struct Pair {
    host: Host,
    kernel: Kernel,
    directors: [Director; 2],
    rng: Rng,
}

impl Pair {
    fn new(setup: Setup) -> Result<Self> {
        let (host, kernel) = (Host::new(setup.clone()), Kernel::load(setup)?);
        let director = |dataplane| -> Result<_> {
            let mut director = Director::new(dataplane, Box::new(|_| None))?;
            director.adjust_settings(|s| s.icmp_rate = 0)?;
            Ok(director)
        };
        let directors = [director(host.dataplane())?, director(kernel.dataplane())?];
        Ok(Self {
            host,
            kernel,
            directors,
            rng: Rng::with_seed(3),
        })
    }

    fn execute(&mut self, commands: &[Command]) -> Result<()> {
        for director in &mut self.directors {
            director.execute_all(commands)?;
        }
        Ok(())
    }

    fn serve(
        &mut self,
        port: u16,
        scheduler: Scheduler,
        mut spec: impl FnMut(u16) -> DestSpec,
    ) -> Result<()> {
        let service = service(port);
        let add = Command::AddService {
            service,
            spec: ServiceSpec {
                flags: ServiceFlags::FALLBACK | ServiceFlags::PORT,
                ..ServiceSpec::new(scheduler)
            },
        };
        let real = |n| Command::AddDest {
            service,
            dest: dest(n),
            spec: spec(n),
        };
        let adds = (0..Service::MAX_DESTS as u16).map(real);
        let commands: Vec<_> = [add].into_iter().chain(adds).collect();
        self.execute(&commands)
    }

    /// A new connection, which both have to treat alike.
    fn open(&mut self, n: u16, port: u16) -> Result<Outcome> {
        let client = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 2000 + n);
        let to = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
        let network = &self.host.setup().network;
        let packet = Packet::tcp(client, to, flag::SYN);
        let packet = packet.between([2, 0, 0, 9, 9, 9], network.links[0].mac);
        let (host, kernel) = (
            self.host.run(0, &packet.frame())?,
            self.kernel.run(0, &packet.frame())?,
        );
        ensure!(
            host == kernel || scheduler_is_random(port),
            "{host:?}, but {kernel:?}"
        );
        Ok(kernel)
    }

    /// The oldest real server, at the end of the list, is the only one of weight; then nobody is.
    fn reaches_the_last(&mut self, port: u16, scheduler: Scheduler) -> Result<()> {
        let weight = |n| DestSpec::new(ForwardingMethod::Masq, u32::from(n == 0));
        self.serve(port, scheduler, weight)?;
        ensure!(port_of(&self.open(1, port)?) == FIRST);
        let nobody = Command::EditDest {
            service: service(port),
            dest: dest(0),
            spec: DestSpec::new(ForwardingMethod::Masq, 0),
        };
        self.execute(&[nobody])?;
        let out = self.open(2, port)?;
        ensure!(out.frame[ETHERNET + 9] == 1, "no ICMP: {out:?}");
        Ok(())
    }

    /// Any weights, thresholds of one or two connections.
    fn chooses_alike(&mut self, port: u16, scheduler: Scheduler) -> Result<()> {
        let mut rng = self.rng.fork();
        self.serve(port, scheduler, |_| DestSpec {
            upper: rng.u32(..3),
            ..DestSpec::new(ForwardingMethod::Masq, rng.u32(..9))
        })?;
        let mut ports = BTreeSet::new();
        for n in 0..200 {
            let out = self.open(n, port)?;
            if matches!(out.verdict, Verdict::Redirect(_)) {
                ports.insert(port_of(&out));
            }
        }
        let spread = !matches!(scheduler, Scheduler::Dh | Scheduler::None);
        ensure!(!spread || ports.len() > 1, "all to {ports:?}");
        Ok(())
    }
}

/// twos has dice, of which each backend has its own.
fn scheduler_is_random(port: u16) -> bool {
    let place = usize::from(port) - 1;
    Scheduler::ALL.get(place) == Some(&Scheduler::Twos)
}

fn service(port: u16) -> ServiceKey {
    let proto = Proto::Tcp as u8;
    ServiceKey::v4(proto, [203, 0, 113, 10], port.to_be_bytes())
}

fn dest(n: u16) -> DestKey {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10), FIRST + n).into()
}

/// Where a packet was sent to.
fn port_of(out: &Outcome) -> u16 {
    let at = ETHERNET + 22;
    u16::from_be_bytes([out.frame[at], out.frame[at + 1]])
}
