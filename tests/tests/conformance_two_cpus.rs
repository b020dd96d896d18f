//! The real programs on two CPUs at once, over the same few flows, while the director changes, ages and ends what they are
//! about: at rest every count is what the tables hold, and in the end nothing is left. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use ipvs_common::{Policy, maps::Capacities};
use ipvs_tests::{
    backend::{Backend, HZ, Kernel, START, Setup, in_network},
    packet::{Packet, flag},
    replay::Console,
    topology::stay_on_cpu,
    trace::Network,
};
use ipvs_user::{
    dataplane::bpf::IfaceProgram,
    model::{Command, ServiceSpec},
};

const TIME: Duration = Duration::from_secs(10);
const CLIENTS: u16 = 40;
const DESTS: u32 = 32;
/// So small that half-open connections make room all the time.
const CAPACITIES: Capacities = Capacities {
    conns: 1 << 8,
    half_open: 1 << 5,
    templates: 1 << 6,
    ..Capacities::SMALL
};

const COMMANDS: [&str; 19] = [
    "ipvsadm -A -t 203.0.113.10:80 -s rr",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.2.10:8080 -m",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.3.10:80 -g",
    "ipvsadm -A -t 203.0.113.10:81 -s wlc",
    "ipvsadm -a -t 203.0.113.10:81 -r 10.0.1.11:81 -g -x 9 -y 4",
    "ipvsadm -a -t 203.0.113.10:81 -r 10.0.2.11:81 -i -x 7",
    "ipvsadm -a -t 203.0.113.10:81 -r 10.0.3.11:8081 -m -x 2",
    "ipvsadm -A -t 203.0.113.10:82 -s lblcr -p 3",
    "ipvsadm -a -t 203.0.113.10:82 -r 10.0.1.12:8082 -m",
    "ipvsadm -a -t 203.0.113.10:82 -r 10.0.2.12:82 -g -x 5",
    "ipvsadm -A -t 203.0.113.10:83 -s wrr -p 2 -M 255.255.255.0",
    "ipvsadm -a -t 203.0.113.10:83 -r 10.0.1.13:8083 -m -w 3",
    "ipvsadm -a -t 203.0.113.10:83 -r 10.0.2.13:83 -g -w 2",
    "ipvsadm -A -u 203.0.113.10:84 -s sh -p 2",
    "ipvsadm -a -u 203.0.113.10:84 -r 10.0.1.14:8084 -m",
    "ipvsadm -a -u 203.0.113.10:84 -r 10.0.2.14:84 -g",
    "ipvsadm -A -u 203.0.113.10:85 -s nq -o",
    "ipvsadm -a -u 203.0.113.10:85 -r 10.0.1.15:8085 -m -x 3",
];

/// Masqueraded real servers, whose packets come back.
const REPLYING: [(u8, u8, u16); 6] = [
    (1, 10, 8080),
    (2, 10, 8080),
    (3, 11, 8081),
    (1, 12, 8082),
    (1, 13, 8083),
    (1, 14, 8084),
];

#[test]
fn counts_are_exact_after_two_cpus_worked_at_once() {
    let mut setup = Setup::new(Network::load().unwrap());
    setup.capacities = CAPACITIES;
    let network = setup.network.clone();
    in_network(&network, || Race::new(setup)?.run()).unwrap_or_else(|e| panic!("{e:#}"));
}

struct Race {
    kernel: Kernel,
    console: Console,
    /// By link.
    programs: Vec<IfaceProgram>,
    frames: Vec<(usize, Vec<u8>)>,
    rng: Rng,
    clock: u64,
}

impl Race {
    fn new(setup: Setup) -> Result<Self> {
        let network = setup.network.clone();
        let kernel = Kernel::load(setup)?;
        let console = Console::new(kernel.dataplane(), &network)?;
        for command in COMMANDS {
            let outcome = console.run(command)?;
            ensure!(outcome.status == 0, "{command}: {}", outcome.stderr);
        }
        let programs = (0..4).map(|link| kernel.another(link));
        Ok(Self {
            programs: programs.collect::<Result<_>>()?,
            frames: frames(&network),
            kernel,
            console,
            rng: Rng::with_seed(7),
            clock: START,
        })
    }

    fn run(&mut self) -> Result<()> {
        let stop = AtomicBool::new(false);
        let packets = [AtomicU64::new(0), AtomicU64::new(0)];
        let (programs, frames) = (std::mem::take(&mut self.programs), &self.frames.clone());
        let edits = thread::scope(|scope| {
            for (cpu, packets) in packets.iter().enumerate() {
                let (programs, stop) = (&programs, &stop);
                scope.spawn(move || hammer(cpu, programs, frames, stop, packets).unwrap());
            }
            let edits = self.disturb();
            stop.store(true, Ordering::SeqCst);
            edits
        })?;
        let packets = packets.map(|p| p.load(Ordering::SeqCst));
        ensure!(packets.iter().all(|p| *p > 1000), "packets {packets:?}");
        let tables = self.kernel.snapshot(DESTS)?;
        println!(
            "packets {packets:?}, edits {edits}, at rest {} + {} entries, {} templates; {:?}",
            tables.conns.len(),
            tables.half_open.len(),
            tables.templates.len(),
            tables.reasons
        );
        tables.is_consistent().context("at rest")?;
        for _ in 0..12 {
            self.pass(1000)?;
        }
        self.kernel
            .snapshot(DESTS)?
            .is_empty()
            .context("in the end")
    }

    fn pass(&mut self, seconds: u64) -> Result<()> {
        self.clock += seconds * HZ;
        self.kernel.set_clock(self.clock)?;
        Ok(self.console.director().tick()?)
    }

    /// Time, edits, knobs and policies, until the time is up.
    fn disturb(&mut self) -> Result<u32> {
        let (start, mut edits) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            match self.rng.u8(..10) {
                0..5 => {
                    let seconds = self.rng.u64(..20);
                    self.pass(seconds)?;
                }
                5..9 => self.edit()?,
                _ => self.change_policy()?,
            }
            edits += 1;
            thread::sleep(Duration::from_millis(self.rng.u64(..8)));
        }
        Ok(edits)
    }

    /// Deletes or quiesces a real server, or puts it as it was.
    fn edit(&mut self) -> Result<()> {
        let real_servers: Vec<_> = COMMANDS.iter().filter(|c| c.contains(" -a ")).collect();
        let line = real_servers[self.rng.usize(..real_servers.len())];
        let words: Vec<_> = line.split(' ').collect();
        let command = match self.rng.u8(..8) {
            0..2 => format!("ipvsadm -d {} -r {}", words[2..4].join(" "), words[5]),
            2..6 => (*line).to_owned(),
            6 => line.replace(" -a ", " -e "),
            _ => format!(
                "{} -w 0",
                line.replace(" -a ", " -e ").replace(" -w ", " -x ")
            ),
        };
        // What is there already, or no longer, is refused.
        self.console.run(&command)?;
        let knob = ["0", "0", "0", "1"][self.rng.usize(..4)];
        let mut director = self.console.director();
        Ok(director.set_sysctl("expire_nodest_conn", knob)?)
    }

    fn change_policy(&mut self) -> Result<()> {
        let any = Policy::RESET | Policy::RESCHEDULE | Policy::REOPEN | Policy::TEMPLATES_DIE;
        let mut director = self.console.director();
        let services: Vec<_> = director
            .model()
            .services()
            .map(|s| (s.key, s.spec))
            .collect();
        let (service, before) = services[self.rng.usize(..services.len())];
        let policy = self.rng.u8(..) & any;
        let spec = ServiceSpec { policy, ..before };
        let keep = 0;
        Ok(director.execute(&Command::EditService {
            service,
            spec,
            keep,
        })?)
    }
}

/// Runs frames in any order on one CPU.
fn hammer(
    cpu: usize,
    programs: &[IfaceProgram],
    frames: &[(usize, Vec<u8>)],
    stop: &AtomicBool,
    packets: &AtomicU64,
) -> Result<()> {
    stay_on_cpu(cpu)?;
    let mut rng = Rng::with_seed(cpu as u64);
    while !stop.load(Ordering::Relaxed) {
        let (link, frame) = &frames[rng.usize(..frames.len())];
        programs[*link].run(frame)?;
        packets.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Everything that clients and real servers send.
fn frames(network: &Network) -> Vec<(usize, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut add = |link: usize, packet: Packet| {
        let packet = packet.between([2, 0, 0, 9, 9, 9], network.links[link].mac);
        frames.push((link, packet.frame()));
    };
    for n in 0..CLIENTS {
        let client = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1 + (n % 8) as u8), 1024 + n);
        for (port, flags) in (80..84).flat_map(|port| FLAGS.map(|flags| (port, flags))) {
            let to = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
            add(0, Packet::tcp(client, to, flags));
        }
        for port in [84, 84, 85] {
            let to = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
            add(0, Packet::udp(client, to));
        }
        for (link, host, port) in REPLYING {
            let real = SocketAddrV4::new(Ipv4Addr::new(10, 0, link, host), port);
            if port == 8084 {
                add(link.into(), Packet::udp(real, client));
                continue;
            }
            for flags in [
                flag::SYN | flag::ACK,
                flag::ACK,
                flag::FIN | flag::ACK,
                flag::RST,
            ] {
                add(link.into(), Packet::tcp(real, client, flags));
            }
        }
    }
    frames
}

/// With SYN and ACK more often than the others.
const FLAGS: [u8; 8] = [
    flag::SYN,
    flag::SYN,
    flag::SYN,
    flag::ACK,
    flag::ACK,
    flag::FIN | flag::ACK,
    flag::RST,
    0,
];
