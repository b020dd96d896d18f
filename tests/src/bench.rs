//! What a packet costs: ns per packet by `BPF_PROG_TEST_RUN` on one CPU, beside floors measured in the same run.
//!
//! Knows the director from outside only: its tables are filled by packets, and every case shows that it does the right thing
//! before it is timed.

pub mod ageing;
mod case;
mod cases;
pub mod config;
mod director;
mod harness;
mod memory;
mod network;
mod output;
mod report;
mod rounds;
mod rules;
mod service;
mod walk;

use anyhow::{Context as _, Result, ensure};
use ipvs_common::maps::Capacities;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

pub use report::{Report, Row};
use {case::Filled, director::Director, harness::Harness, rounds::Rounds};

/// What to measure, and how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Sizes of the flow set, powers of two.
    pub flows: Vec<u32>,
    /// How often all cases are timed in turn.
    pub rounds: u32,
    /// Packets of one timing, at least.
    pub packets: u32,
    /// How often a timing walks the flow set, at least.
    pub passes: u32,
    pub capacities: Capacities,
    /// Only these cases, and those whose names begin with one of the prefixes; neither: all.
    pub cases: Vec<String>,
    pub prefixes: Vec<String>,
}

impl Options {
    /// Sizes of a flow set that say something: the program alone, the second-level cache, and beyond.
    pub const FLOWS: [u32; 3] = [1, 4096, 131_072];

    /// Tables as large as the daemon makes them, those of IPv6 as large as those of IPv4, and rounds enough for a figure to stand on.
    #[must_use]
    pub fn full() -> Self {
        Self {
            flows: Self::FLOWS.to_vec(),
            rounds: 11,
            packets: 1 << 18,
            passes: 4,
            capacities: Capacities {
                conns6: Capacities::DEFAULT.conns,
                half_open6: Capacities::DEFAULT.half_open,
                ..Capacities::DEFAULT
            },
            cases: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    /// About a minute, most of it to fill the tables: shows that everything works, and roughly what it costs.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 3,
            packets: 1 << 15,
            passes: 1,
            ..Self::full()
        }
    }

    fn check(&self) -> Result<()> {
        let conns = self.capacities.conns.min(self.capacities.conns6);
        let most = ipvs_common::bench::FLOWS.min(conns / 4);
        for flows in &self.flows {
            ensure!(
                flows.is_power_of_two() && *flows <= most,
                "{flows} flows: must be a power of two, at most {most}"
            );
        }
        ensure!(self.rounds > 0, "0 rounds measure nothing");
        Ok(())
    }
}

/// Measures everything.
pub fn run(options: &Options) -> Result<Report> {
    options.check()?;
    let network = network::Network::new()?;
    let mut report = Report::new(options);
    // A thread of its own: the namespace and the CPU it is bound to go with it.
    network.netns.enter(|| {
        let cpu = pin()?;
        report.pinned_to(cpu);
        measure(options, network.ifindex, &mut report)?;
        Ok(report)
    })
}

fn measure(options: &Options, ifindex: u32, report: &mut Report) -> Result<()> {
    let mut harness = Harness::load(&options.capacities)?;
    let mut director = Director::load(options.capacities, ifindex)?;
    report.remember(director.memory.clone());
    let ruled = cases::is_wanted(cases::RULED, &options.cases, &options.prefixes)
        .then(|| Director::load_ruled(options.capacities, ifindex))
        .transpose()?;
    let mut cases = cases::all(&harness, &director, ruled.as_ref())?;
    cases::choose(&mut cases, &options.cases, &options.prefixes)?;
    // Only those that are asked about: each connection more makes the table slower for the others.
    let kept = cases::kept(&cases);
    let mut filled = Filled::default();
    let mut open = 0;
    for flows in sorted(&options.flows) {
        director.open(&mut harness, &kept, open..flows)?;
        let entries = kept.iter().filter(|s| !s.six).map(|s| s.entries());
        harness.add_flows(open..flows, entries.sum())?;
        open = flows;
        for case in &mut cases {
            case.fill_anyhow(&mut harness, &mut filled, &options.capacities)?;
            let checked = case.check(&mut harness, flows);
            checked.with_context(|| format!("case {} with {flows} flows", case.name))?;
        }
        let rounds = Rounds::run(options, flows, &mut harness, &mut cases, &mut filled)?;
        report.add(flows, &rounds);
    }
    Ok(())
}

fn sorted(flows: &[u32]) -> Vec<u32> {
    let mut flows = flows.to_vec();
    flows.sort_unstable();
    flows.dedup();
    flows
}

/// Binds this thread to the last of the CPUs it may use; the first one has most of the interrupts.
fn pin() -> Result<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).context("asking for the CPUs of this thread")?;
    let mut usable = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpu = usable.next_back().context("no CPU to run on")?;
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(this, &one).with_context(|| format!("binding to CPU {cpu}"))?;
    Ok(cpu)
}
