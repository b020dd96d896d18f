//! The figures as a table for people, and as rows for programs.

use std::{fmt, fs};

use serde::Serialize;

use super::{
    Options,
    memory::Memory,
    rounds::{Figure, Rounds},
    service::REALS,
};

/// Cases, and the floors that they are held against; of IPv6 the same of IPv4.
const RATIOS: [(&str, &str); 5] = [
    ("dr_hit", "floor_lru_rewrite"),
    ("new_rr_3", "floor_lru_insert"),
    ("dr6_hit", "dr_hit"),
    ("masq6_in_hit", "masq_in_hit"),
    ("masq6_out_hit", "masq_out_hit"),
];

/// One case with one size of the flow set.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub case: &'static str,
    pub flows: u32,
    pub raw_ns: f64,
    /// `raw_ns` less the empty run and the harness.
    pub net_ns: f64,
    /// From the 10th to the 90th percentile of the rounds, as a part of the median.
    pub spread: f64,
}

/// A run: its circumstances, and its figures.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    circumstances: Vec<(&'static str, String)>,
    memory: Option<Memory>,
    pub rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        let capacities = options.capacities;
        Self {
            circumstances: vec![
                ("kernel", first_line("/proc/sys/kernel/osrelease")),
                ("cpu", model()),
                ("jit", jit()),
                ("load", format!("{} at the start", first_line("/proc/loadavg"))),
                (
                    "mode",
                    "BPF_PROG_TEST_RUN, native XDP constants, sent back by XDP_TX unless the case says otherwise".into(),
                ),
                (
                    "rounds",
                    format!(
                        "{} of all cases in turn, at least {} packets and {} walks around the flows each (new flows among many real servers: a quarter); medians",
                        options.rounds, options.packets, options.passes
                    ),
                ),
                (
                    "tables",
                    format!(
                        "{} connections, {} half-open, the same for the floors; {REALS} real servers to a service, or as many as the case says",
                        capacities.conns, capacities.half_open
                    ),
                ),
                (
                    "includes",
                    "program, tables, checksums, statistics, timers, next hops; not the driver, its DMA, the wire".into(),
                ),
                (
                    "raw, net",
                    "ns per packet: all of it; less the empty run and the harness".into(),
                ),
                (
                    "spread",
                    "10th to 90th percentile of the rounds, as a part of the median".into(),
                ),
            ],
            memory: None,
            rows: Vec::new(),
        }
    }

    pub(super) fn pinned_to(&mut self, cpu: usize) {
        self.circumstances.push(("pinned", format!("to CPU {cpu}")));
    }

    pub(super) fn remember(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    pub(super) fn add(&mut self, flows: u32, rounds: &Rounds) {
        self.rows.extend(rounds.names().map(|case| {
            let Figure { median, spread } = rounds.figure(case);
            Row {
                case,
                flows,
                raw_ns: tenths(median),
                net_ns: tenths(median - rounds.around(case)),
                spread: (spread * 1000.0).round() / 1000.0,
            }
        }));
    }

    /// How often `case` takes what `floor` takes, raw and net, if both were measured.
    #[must_use]
    pub fn ratio(&self, case: &str, floor: &str, flows: u32) -> Option<(f64, f64)> {
        let row = |name| {
            let mut rows = self.rows.iter();
            rows.find(|row| row.case == name && row.flows == flows)
        };
        let (case, floor) = (row(case)?, row(floor)?);
        Some((case.raw_ns / floor.raw_ns, case.net_ns / floor.net_ns))
    }

    fn flows(&self) -> Vec<u32> {
        let mut flows: Vec<u32> = self.rows.iter().map(|row| row.flows).collect();
        flows.dedup();
        flows
    }
}

/// The table, with the flows side by side.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.circumstances {
            writeln!(f, "{name:9} {value}")?;
        }
        let flows = self.flows();
        write!(f, "\n{:18}", "flows")?;
        for flows in &flows {
            write!(f, " |{flows:^24}")?;
        }
        write!(f, "\n{:18}", "case")?;
        for _ in &flows {
            write!(f, " |{:>8}{:>8}{:>8}", "raw", "net", "spread")?;
        }
        writeln!(f)?;
        let first = flows.first().copied();
        for case in self.rows.iter().filter(|row| Some(row.flows) == first) {
            write!(f, "{:18}", case.case)?;
            for row in self.rows.iter().filter(|row| row.case == case.case) {
                write!(
                    f,
                    " |{:8.1}{:8.1}{:8.3}",
                    row.raw_ns, row.net_ns, row.spread
                )?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (case, floor) in RATIOS {
            for flows in &flows {
                if let Some((raw, net)) = self.ratio(case, floor, *flows) {
                    writeln!(
                        f,
                        "{case} / {floor} with {flows} flows: {raw:.2} raw, {net:.2} net"
                    )?;
                }
            }
        }
        match &self.memory {
            Some(memory) => write!(f, "\n{memory}"),
            None => Ok(()),
        }
    }
}

fn tenths(ns: f64) -> f64 {
    (ns * 10.0).round() / 10.0
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|_| "not known".into());
    text.lines().next().unwrap_or_default().to_owned()
}

fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    let model = fields.find(|(name, _)| name.trim() == "model name");
    model.map_or_else(|| "not known".into(), |(_, model)| model.to_owned())
}

fn jit() -> String {
    match first_line("/proc/sys/net/core/bpf_jit_enable").as_str() {
        "0" => "OFF: these figures say nothing".into(),
        "1" | "2" => "on".into(),
        _ => "not known".into(),
    }
}
