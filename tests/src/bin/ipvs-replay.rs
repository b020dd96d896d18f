//! `cargo xtask replay`: recorded traces through the model, the plan and the datapath.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use ipvs_common::AttachMode;
use ipvs_tests::{
    replay::{Engine, Expectations, files, outline, replay_all},
    trace::{Trace, golden_dir},
};
use nix::unistd::Uid;

/// Replays traces of the kernel's ip_vs, on the host and in the kernel, and compares.
#[derive(Parser, Debug)]
struct Args {
    /// Only on the host, which needs no root
    #[arg(long)]
    host_only: bool,
    /// In the kernel as a generic program, too; the verifier takes its time
    #[arg(long, conflicts_with = "host_only")]
    generic: bool,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    outline: bool,
    /// Files and folders; without any, the traces of this project
    paths: Vec<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let mut args = Args::parse();
    if args.paths.is_empty() {
        args.paths.push(golden_dir());
    }
    if args.outline {
        return tell(&args.paths);
    }
    let mut engines = vec![Engine::Host];
    if !args.host_only && Uid::effective().is_root() {
        engines.push(Engine::Kernel(AttachMode::Native));
        engines.extend(args.generic.then_some(Engine::Kernel(AttachMode::Generic)));
    } else {
        println!("replay: on the host only; the programs in the kernel need root");
    }
    let expectations = Expectations::load()?;
    let totals = replay_all(&args.paths, &engines, &expectations, |report| {
        println!("{report}");
    })?;
    println!("replay: {totals}");
    Ok(if totals.different == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(paths: &[PathBuf]) -> Result<ExitCode> {
    for file in files(paths)? {
        if let Some(trace) = Trace::read(&file)? {
            println!("{}:", trace.name);
            outline(&trace)?.iter().for_each(|line| println!("{line}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
