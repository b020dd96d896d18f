//! `cargo xtask`: everything a developer does to this workspace, one file to a subcommand.
//!
//! Depends on no crate of the product, and on little else: it is compiled before anything works.

mod bench;
mod bpf_object;
mod bpf_toolchain;
mod build;
mod ci;
mod ebpf;
mod fuzz;
mod packages;
mod products;
mod readme;
mod replay;
mod run;
mod setup;
mod shell;
mod test;
mod tidy;
mod vm;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, runs and checks the load balancer"
)]
enum Xtask {
    /// Make this machine able to build and test: BPF toolchain and packages
    Setup,
    /// Build everything in release
    Build {
        /// Put the talking datapath into the daemon: a message for each packet
        #[arg(long)]
        trace: bool,
    },
    /// Run the demo, or with arguments after `--` run `ipvsd run` with them
    Run {
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Run all tests; the kernel and netns layers need root
    Test {
        /// Only the layer that needs neither root nor a kernel
        #[arg(long)]
        host_only: bool,
        /// For the test programs, such as a part of a test's name
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Run the benchmarks, with arguments of their own
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Feed a fuzz target (command, config, api) with what it has not seen, for a time
    Fuzz {
        target: String,
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Replay recorded traces (files or folders; without any, those of this workspace) and compare
    Replay {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run a command under a stock kernel of Debian's, in a virtual machine
    Vm(vm::Vm),
    /// Check the rules that no compiler knows
    Tidy,
    /// Run everything that must hold before a change goes in
    Ci,
}

fn main() -> ExitCode {
    if let Err(error) = run_as_told(Xtask::parse()) {
        // A backtrace into this program helps nobody: the error names the command that failed.
        shell::say(&format!("error: {error:#}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_as_told(xtask: Xtask) -> Result<()> {
    match xtask {
        Xtask::Setup => setup::setup(),
        Xtask::Build { trace } => build::build(trace),
        Xtask::Run { args } => run::run(&args),
        Xtask::Test { host_only, args } => test::test(host_only, &args),
        Xtask::Bench { args } => bench::bench(&args),
        Xtask::Fuzz { target, seconds } => fuzz::fuzz(&target, seconds),
        Xtask::Replay { args } => replay::replay(&args),
        Xtask::Vm(vm) => vm::vm(&vm),
        Xtask::Tidy => tidy::tidy(),
        Xtask::Ci => ci::ci(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_other_programs_are_passed_as_they_are() {
        let bench = Xtask::try_parse_from(["xtask", "bench", "--json", "miss"]).unwrap();
        assert!(matches!(bench, Xtask::Bench { args } if args == ["--json", "miss"]));
        let run = Xtask::try_parse_from(["xtask", "run", "--", "--iface", "a"]).unwrap();
        assert!(matches!(run, Xtask::Run { args } if args == ["--iface", "a"]));
    }
}
