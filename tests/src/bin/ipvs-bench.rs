//! `cargo xtask bench`: what a packet costs, beside floors of the same run.

use std::io::{Write as _, stdout};

use anyhow::{Result, ensure};
use clap::Parser;
use ipvs_tests::{
    bench::{self, Options},
    oracle::{self, Effort},
};
use nix::unistd::Uid;

/// Nanoseconds per packet of the datapath, by test runs in the kernel on one CPU.
#[derive(Parser, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Args {
    /// Less than a minute instead of many.
    #[arg(long)]
    quick: bool,
    /// How often all cases are timed in turn.
    #[arg(long)]
    rounds: Option<u32>,
    /// Sizes of the flow set, powers of two.
    #[arg(long, value_delimiter = ',')]
    flows: Option<Vec<u32>>,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Instead: what it costs to age tables of one and of four million connections, and the memory of a connection.
    #[arg(long)]
    ageing: bool,
    /// Instead: what it takes to load and to reload 10,000 services with 10 real servers each (with --quick, 1,000).
    #[arg(long)]
    config: bool,
    /// Instead: packets through the kernel's ip_vs and ours. Wants a kernel with ip_vs, which `cargo xtask bench --vs-ip_vs` boots.
    #[arg(long = "vs-ip_vs", conflicts_with_all = ["json", "only", "cases", "flows", "rounds"])]
    versus: bool,
    /// Under virtual time, to tell instructions.
    #[arg(long, requires = "versus")]
    ns_per_instruction: Option<f64>,
    /// Only cases whose names begin so.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    only: Vec<String>,
    /// An array of objects on stdout, one for each row; the table goes to stderr.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        Uid::effective().is_root(),
        "loading programs and making a network namespace needs root"
    );
    if args.ageing {
        return bench::ageing::run(args.quick).map(|report| print!("{report}"));
    }
    if args.config {
        let services = if args.quick { 1000 } else { 10_000 };
        let size = bench::config::Size {
            services,
            reals: 10,
        };
        return bench::config::run(size).map(|report| print!("{report}"));
    }
    if args.versus {
        let effort = Effort {
            rounds: if args.quick { 3 } else { 15 },
            packets: 1024,
            ns_per_instruction: args.ns_per_instruction,
        };
        return oracle::versus(effort).map(|table| print!("{table}"));
    }
    let options = if args.quick {
        Options::quick()
    } else {
        Options::full()
    };
    let options = Options {
        rounds: args.rounds.unwrap_or(options.rounds),
        flows: args.flows.unwrap_or(options.flows),
        cases: args.cases,
        prefixes: args.only,
        ..options
    };
    let report = bench::run(&options)?;
    if args.json {
        eprint!("{report}");
        serde_json::to_writer_pretty(stdout(), &report.rows)?;
        writeln!(stdout())?;
    } else {
        print!("{report}");
    }
    Ok(())
}
