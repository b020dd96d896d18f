//! The oracle's command: scenarios by seed or from files through the kernel's ip_vs and ours, and the score. For a machine
//! with ip_vs: `cargo xtask vm -- oracle`.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use ipvs_tests::{
    oracle::{
        Difference, Expectations, Oracle, Scenario, Score, Verdict, generate, generate_sctp, load,
        shrink,
    },
    topology::stay_on_cpu,
};
use ipvs_user::kernel;

/// After so many scenarios a line says how far it is.
const TELL: usize = 100;
/// Longer scenarios are read in their file.
const SHOWN: usize = 30;

/// Asks the kernel's ip_vs what is right.
#[derive(Parser, Debug)]
enum Args {
    /// Start the daemon on this kernel, to see that the verifier takes the programs
    Load,
    /// Run scenarios, and print the score
    Run(Run),
    /// Print the scenario of a seed, to be read or changed and run
    Show {
        seed: u64,
        /// With SCTP
        #[arg(long)]
        sctp: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Run {
    /// Scenarios of these seeds: FIRST..END
    #[arg(long, default_value = "0..100", value_parser = seeds)]
    seeds: Range<u64>,
    /// Most of their services of SCTP: a scenario of its own for each seed
    #[arg(long)]
    sctp: bool,
    /// No new scenario after so many seconds; else there are enough
    #[arg(long)]
    limit: Option<u64>,
    /// Number of the first scenario's addresses, which decide what schedulers that hash do; else its seed does
    #[arg(long)]
    place: Option<u16>,
    /// How often to try to make a differing scenario smaller
    #[arg(long, default_value_t = 120)]
    tries: usize,
    /// Stop after so many differing scenarios
    #[arg(long, default_value_t = 20)]
    most: usize,
    /// Tell each scenario's time, and at the end our director's reasons
    #[arg(long)]
    verbose: bool,
    /// Where differing scenarios are left, shrunk
    #[arg(long, default_value = ".")]
    share: PathBuf,
    /// Scenarios to run instead
    files: Vec<PathBuf>,
}

fn main() -> Result<ExitCode> {
    match Args::parse() {
        Args::Load => {
            let start = Instant::now();
            let ready = load()?;
            println!("{} takes the programs: {ready}", kernel::release());
            println!("after {} s", start.elapsed().as_secs());
            Ok(ExitCode::SUCCESS)
        }
        Args::Run(args) => run(&args),
        Args::Show { seed, sctp } => {
            let scenario = drawn(seed, sctp);
            println!("{}", serde_json::to_string_pretty(&scenario)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>> {
    let (first, end) = text
        .split_once("..")
        .context("write FIRST..END, such as 0..100")?;
    Ok(first.parse()?..end.parse()?)
}

fn run(args: &Run) -> Result<ExitCode> {
    let expectations = Expectations::load()?;
    let kernel = kernel::release();
    let mut oracle = Oracle::new()?;
    // The daemon has the other one; packets are handled on the CPU that sends them.
    stay_on_cpu(0)?;
    let mut score = Score::new(&kernel);
    oracle.go_to(args.place.unwrap_or_else(|| place(args.seeds.start)));
    let (start, limit) = (Instant::now(), args.limit.map(Duration::from_secs));
    let mut different = 0;
    for scenario in scenarios(args)? {
        let scenario = scenario?;
        if limit.is_some_and(|limit| start.elapsed() > limit) || different >= args.most {
            println!("stopped before {}", scenario.name);
            break;
        }
        let began = Instant::now();
        let outcome = oracle.run(&scenario)?;
        if args.verbose {
            println!("{}: {} ms", scenario.name, began.elapsed().as_millis());
        }
        let verdict = expectations.judge(&kernel, &scenario, &outcome);
        score.count(&scenario, &outcome, verdict);
        match verdict {
            Verdict::Equal => {}
            Verdict::Meant(found, _) => {
                println!("{} differs as it is meant to: {found}", scenario.name);
            }
            Verdict::Different(found) => {
                different += 1;
                let (name, place) = (&scenario.name, oracle.place());
                println!("{name} differs at place {place}: {found}");
                report(args, &mut oracle, &scenario, &kernel, found)?;
            }
        }
        if score.scenarios().is_multiple_of(TELL) {
            println!("{}", score.line());
        }
    }
    if args.verbose {
        print!("{}", oracle.reasons()?);
    }
    oracle.stop()?;
    println!("{score}\nin {} s", start.elapsed().as_secs());
    Ok(if score.is_perfect() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Of a seed: the same in whatever range it runs.
const fn place(seed: u64) -> u16 {
    (seed % u16::MAX as u64) as u16 + 1
}

fn scenarios(args: &Run) -> Result<Box<dyn Iterator<Item = Result<Scenario>> + '_>> {
    if args.files.is_empty() {
        let seeds = args.seeds.clone();
        return Ok(Box::new(seeds.map(|seed| Ok(drawn(seed, args.sctp)))));
    }
    if let Some(missing) = args.files.iter().find(|file| !file.exists()) {
        bail!("{} does not exist", missing.display());
    }
    Ok(Box::new(args.files.iter().map(|file| read(file))))
}

fn drawn(seed: u64, sctp: bool) -> Scenario {
    if sctp {
        generate_sctp(seed)
    } else {
        generate(seed)
    }
}

fn read(file: &Path) -> Result<Scenario> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Shrinks what differs, tells it and keeps it.
fn report(
    args: &Run,
    oracle: &mut Oracle,
    scenario: &Scenario,
    kernel: &str,
    first: &Difference,
) -> Result<()> {
    let mut last: Option<Difference> = None;
    if let Some(left) = oracle.flush()? {
        println!("  and after it {left}");
    }
    let smallest = shrink(scenario, args.tries, |candidate| {
        let outcome = oracle.run_again(candidate)?;
        let found = outcome
            .differences()
            .find(|found| found.is_like(first))
            .cloned();
        let differs = found.is_some();
        last = found.or_else(|| last.take());
        Ok(differs)
    })?;
    let name = format!("oracle-{kernel}-{}.json", scenario.name);
    let path = args.share.join(&name);
    fs::write(&path, serde_json::to_string_pretty(&smallest)?)
        .with_context(|| path.display().to_string())?;
    let steps = &smallest.steps;
    println!(
        "  {} of {} steps, in {name}",
        steps.len(),
        scenario.steps.len()
    );
    if steps.len() <= SHOWN {
        for (index, step) in steps.iter().enumerate() {
            println!("    {index} {}", serde_json::to_string(step)?);
        }
    }
    match last {
        Some(last) => println!("  {last}"),
        None if args.tries == 0 => {}
        None => println!("  it did not differ again: a race, or what an earlier scenario left"),
    }
    Ok(())
}
