//! A million random packets through the datapath on the host and through the real programs in the kernel: the same verdicts,
//! bytes, counters and tables. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod changes;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_common::{AttachMode, PuntHeader, PuntReason, maps::Capacities};
use ipvs_tests::{
    backend::{
        Backend, Host, Kernel, START, Setup, TestVlan, Verdict, in_network, untagged, with_tags,
    },
    packet,
    random::{Arrival, COMMANDS, DESTS, Generator, LINK_MARKS},
    replay::Console,
    six,
    trace::Network,
};
use ipvs_user::model::OnDead;

use changes::set_policy;

const PACKETS: u64 = 1_000_000;
/// So many times as many until everything has happened.
const PATIENCE: u64 = 2;
/// Counters are compared after this many packets, whole tables after that many.
const COUNTERS: u64 = 64;
const TABLES: u64 = 16_384;
/// So small that the tables of connections get full. (That of templates must not: for how long those that ended take their
/// place hangs on the order of a walk.)
const CAPACITIES: Capacities = Capacities {
    conns: 1 << 9,
    half_open: 1 << 8,
    conns6: 1 << 10,
    half_open6: 1 << 8,
    ..Capacities::SMALL
};

/// What these packets cannot bring about.
const NEVER: [&str; 12] = [
    "conn_table_full",
    // The kernel's table is in another order.
    "dropped_entry",
    "hand_over",
    "internal",
    "no_headroom",
    "no_route",
    // The daemon always takes one more, and counts what waited in vain.
    "fragment_early",
    "fragment_lost",
    // No other director, and nobody who listens to one.
    "sync_entered",
    "sync_missed",
    "template_table_full",
    "truncated",
];

/// Match rules at a time, at most.
const RULES: usize = 30;

/// So few ICMP errors in a second that some are held back.
const ICMP_RATE: u32 = 20;
/// So many that a client that is told too often is held back before.
const MUCH: u32 = 10_000;

/// What packets of one family cannot bring about.
const NEVER_OF_IPV4: [&str; 2] = ["extensions", "icmp_too_big"];
const NEVER_OF_IPV6: [&str; 1] = [
    // Only senders fragment.
    "handed_fragment",
];

#[test]
fn host_and_kernel_agree_when_attached_in_the_driver() {
    agree(AttachMode::Native, Family::Four, seed(1));
}

#[test]
fn host_and_kernel_agree_when_attached_in_the_stack() {
    agree(AttachMode::Generic, Family::Four, seed(22));
}

#[test]
fn host_and_kernel_agree_over_ipv6_when_attached_in_the_driver() {
    agree(AttachMode::Native, Family::Six, seed(3));
}

#[test]
fn host_and_kernel_agree_over_ipv6_when_attached_in_the_stack() {
    agree(AttachMode::Generic, Family::Six, seed(12));
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Four,
    Six,
}

impl Family {
    /// In one tag and in two; a real server's link, or the clients', gets some on the way out.
    fn vlans(self) -> Vec<TestVlan> {
        let is_four = self == Self::Four;
        vec![
            TestVlan::one(0, 1, 10, !is_four),
            TestVlan::one(2, 0, 20, false),
            TestVlan::two(2, 0, 100, 7, is_four),
        ]
    }

    fn command(self, line: &str) -> String {
        match self {
            Self::Four => six::command_of_four(line),
            Self::Six => six::command(line),
        }
    }
}

/// `IPVS_SEED` runs other packets.
fn seed(default: u64) -> u64 {
    std::env::var("IPVS_SEED").map_or(default, |s| s.parse().unwrap())
}

fn agree(mode: AttachMode, family: Family, seed: u64) {
    let mut setup = Setup::new(Network::load().unwrap());
    setup.capacities = CAPACITIES;
    setup.mode = mode;
    setup.marks = LINK_MARKS;
    setup.no_xmit = vec![3];
    setup.vlans = family.vlans();
    let network = setup.network.clone();
    let result = in_network(&network, || {
        match run(&setup, family, seed, None) {
            Ok(()) => Ok(()),
            // Once more, to find the very packet.
            Err(Failure { at, error }) => match run(&setup, family, seed, Some(at)) {
                Err(exact) => Err(exact.error),
                Ok(()) => Err(error),
            },
        }
    });
    result.unwrap_or_else(|e| panic!("seed {seed}, {mode:?}, {family:?}: {e:#}"));
}

/// Up to which packet all was well.
struct Failure {
    at: u64,
    error: anyhow::Error,
}

fn run(setup: &Setup, family: Family, seed: u64, exact_from: Option<u64>) -> Result<(), Failure> {
    let begin = |error| Failure { at: 0, error };
    let mut pair = Pair::new(setup, family, seed).map_err(begin)?;
    let mut good = 0;
    for number in 1..=PATIENCE * PACKETS {
        let exact = exact_from.is_some_and(|from| number > from);
        let step = pair.step(number, exact);
        step.map_err(|error| Failure { at: good, error })?;
        if exact || number.is_multiple_of(COUNTERS) {
            good = number;
        }
        // What is rare may take longer; a seed that is chosen for it is another one after each change of what is drawn.
        if number >= PACKETS && number.is_multiple_of(COUNTERS) {
            match pair.everything_happened(setup.mode) {
                Err(error) if number == PATIENCE * PACKETS => {
                    return Err(Failure { at: good, error });
                }
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Both backends with a director each.
struct Pair {
    family: Family,
    host: Host,
    kernel: Kernel,
    consoles: [Console; 2],
    generator: Generator,
    /// Fragments that the daemon would hold.
    held: Vec<Arrival>,
    clock: u64,
}

/// As many are held at a time.
const HELD: usize = 32;

impl Pair {
    fn new(setup: &Setup, family: Family, seed: u64) -> Result<Self> {
        let (host, kernel) = (Host::new(setup.clone()), Kernel::load(setup.clone())?);
        let consoles = [
            Console::new(host.dataplane(), &setup.network)?,
            Console::new(kernel.dataplane(), &setup.network)?,
        ];
        for command in COMMANDS {
            for console in &consoles {
                let command = family.command(command);
                let outcome = console.run(&command)?;
                ensure!(outcome.status == 0, "{command}: {}", outcome.stderr);
            }
        }
        for console in &consoles {
            let mut director = console.director();
            director.adjust_settings(|s| s.icmp_rate = ICMP_RATE)?;
            director.set_sysctls([("backup_only", "1")])?;
        }
        let policies = [OnDead::Reschedule, OnDead::Reset];
        let services = COMMANDS.iter().filter(|c| c.contains(" -A ")).count();
        for (which, on_dead) in (0..services).zip(policies.into_iter().cycle()) {
            for console in &consoles {
                set_policy(console, which, on_dead.bits())?;
            }
        }
        let generator = Generator::new(setup.network.clone(), seed);
        Ok(Self {
            family,
            host,
            kernel,
            consoles,
            generator: match family {
                Family::Four => generator,
                Family::Six => generator.over_six(),
            },
            held: Vec::new(),
            clock: START,
        })
    }

    /// One packet, and now and then whatever else happens to a director.
    fn step(&mut self, number: u64, exact: bool) -> Result<()> {
        self.pass_time()?;
        if self.generator.rng().u16(..) < 60 {
            self.change()?;
        }
        let again = self.held_again();
        let is_held = again.is_some();
        let arrival = again.unwrap_or_else(|| self.arrival());
        self.compare(&arrival, is_held)
            .and_then(|()| {
                if exact || number.is_multiple_of(COUNTERS) {
                    self.compare_counters()?;
                }
                if exact || number.is_multiple_of(TABLES) {
                    self.compare_tables()?;
                }
                Ok(())
            })
            .with_context(|| {
                format!(
                    "packet {number} on link {}: {}\n{}",
                    arrival.link,
                    packet::describe(&arrival.frame),
                    packet::hex(&arrival.frame)
                )
            })
    }

    /// The next one: mostly in tags, if its link is a VLAN device. Some tags are nobody's.
    fn arrival(&mut self) -> Arrival {
        let mut arrival = self.generator.arrival();
        let vlans = self.host.setup().vlans.iter();
        let vlans: Vec<_> = vlans.filter(|v| v.link == arrival.link).collect();
        let rng = self.generator.rng();
        let Some(mut vlan) = rng.choice(vlans).copied() else {
            return arrival;
        };
        if rng.u8(..4) == 0 {
            return arrival;
        }
        if rng.u8(..64) == 0 {
            vlan.tags[3] ^= 1;
        }
        arrival.frame = vlan.frame(&arrival.frame, rng.u8(..8));
        if rng.u8(..64) == 0 {
            arrival.frame = with_tags(&arrival.frame, &vlan.tags[..4]);
        }
        arrival.link = vlan.port;
        arrival
    }

    /// Now and then one of those that are held comes again; there is no room for more than so many.
    fn held_again(&mut self) -> Option<Arrival> {
        let rng = self.generator.rng();
        let is_full = self.held.len() >= HELD;
        let again = is_full || (!self.held.is_empty() && rng.u8(..4) == 0);
        again.then(|| self.held.swap_remove(rng.usize(..self.held.len())))
    }

    fn compare(&mut self, arrival: &Arrival, is_held: bool) -> Result<()> {
        let run = |backend: &mut dyn Backend| {
            if is_held {
                backend.run_held(arrival.link, &arrival.frame)
            } else {
                backend.run(arrival.link, &arrival.frame)
            }
        };
        let (host, kernel) = (run(&mut self.host)?, run(&mut self.kernel)?);
        if host == kernel {
            let early = |header: &PuntHeader| header.reason == PuntReason::Early as u32;
            let is_early = host
                .handed
                .as_ref()
                .is_some_and(|(header, _)| early(header));
            // Not all wait for ever.
            if is_early || (host.verdict == Verdict::Waits && self.held.len() < HELD / 2) {
                self.held.push(arrival.clone());
            }
            if matches!(host.verdict, Verdict::Redirect(_) | Verdict::Tx) {
                self.generator.observe(&untagged(&host.frame).0);
            }
            return Ok(());
        }
        bail!(
            "host: {:?}, handed {:?}\nkernel: {:?}, handed {:?}\nhost as expected, kernel as got:\n{}",
            host.verdict,
            host.handed,
            kernel.verdict,
            kernel.handed,
            packet::contrast(&host.frame, &kernel.frame)
        )
    }

    fn compare_counters(&self) -> Result<()> {
        let host = self.host.counters(DESTS)?;
        let differences = host.differences(&self.kernel.counters(DESTS)?);
        ensure!(differences.is_empty(), "host, kernel:\n{differences}");
        Ok(())
    }

    fn compare_tables(&self) -> Result<()> {
        let host = self.host.snapshot(DESTS)?;
        let differences = host.differences(&self.kernel.snapshot(DESTS)?);
        ensure!(differences.is_empty(), "host, kernel:\n{differences}");
        host.is_consistent()
    }

    /// Agreement on what never happens would be worth nothing.
    fn everything_happened(&self, mode: AttachMode) -> Result<()> {
        let impossible = match mode {
            AttachMode::Native => "aggregate",
            AttachMode::Generic => "egress_no_xdp",
        };
        let never: &[&str] = match self.family {
            Family::Four => &NEVER_OF_IPV4,
            Family::Six => &NEVER_OF_IPV6,
        };
        let never =
            |name: &str| name == impossible || NEVER.contains(&name) || never.contains(&name);
        let reasons = self.host.counters(0)?.reasons;
        let missing = reasons
            .iter()
            .filter(|(name, count)| **count == 0 && !never(name));
        let missing: Vec<_> = missing.map(|(name, _)| name).collect();
        ensure!(missing.is_empty(), "never counted: {missing:?}");
        Ok(())
    }
}
