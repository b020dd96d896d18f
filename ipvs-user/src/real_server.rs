//! `ipvsd real-server`: makes the machine that it runs on a real server, tells whether it is one, and takes that back.
//!
//! What is asked for ([`wanted`]) and what the machine is like ([`facts`]) make a [`plan`], which is pure; its steps are carried
//! out all or none, and written down before. Knows nothing of the director: that is another machine.

mod carry_out;
pub mod facts;
mod gather;
mod kernel;
mod options;
pub mod plan;
pub mod refusal;
mod state;
pub mod step;
pub mod wanted;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use caps::{CapSet, Capability};

use carry_out::Back;
use facts::Facts;
use kernel::Kernel;
pub use options::{DEFAULT_STATE, Options};
use plan::Plan;
use state::{State, StateFile};
use step::Step;
use wanted::Wanted;

use crate::{dataplane::unpack::Running, net::netns_number};

/// Carries out the command: what is to be printed. With `--check`, what is wrong is printed here, and an error.
pub async fn run(options: Options) -> Result<String> {
    let said = options.wanted()?;
    let looks_only = options.check || options.dry_run;
    if !looks_only {
        let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN)?;
        ensure!(may, "this needs root, or the capability CAP_NET_ADMIN");
    }
    let path = options.state().context("--state")?;
    let file = if looks_only {
        StateFile::look(path)
    } else {
        StateFile::lock(path)?
    };
    let kernel = Kernel::connect()?;
    let state = file.read()?;
    if options.undo {
        return undo(&kernel, &file, state, options.dry_run).await;
    }
    let wanted = together(said, state.as_ref())?;
    let facts = gather::gather(&kernel, &wanted).await?;
    let plan = plan::plan(&wanted, &facts);
    if options.check {
        return check(&plan, &facts);
    }
    if !plan.refusals.is_empty() {
        let all: Vec<_> = plan.refusals.iter().map(ToString::to_string).collect();
        bail!("{}", all.join("\nipvsd: "));
    }
    if options.dry_run {
        return Ok(told(&plan, "would change"));
    }
    let made = set_up(&kernel, &file, state, wanted, &plan.steps).await?;
    let plan = Plan {
        steps: made,
        ..plan
    };
    Ok(told(&plan, "changed"))
}

/// What is said now, beside what was said before.
fn together(said: Option<Wanted>, state: Option<&State>) -> Result<Wanted> {
    match (said, state) {
        (Some(said), None) => Ok(said),
        (None, Some(state)) => Ok(state.wanted.clone()),
        (None, None) => bail!(
            "nothing was set up here before: say what this machine shall be, --vip ADDRESS --method dr, tunnel or masq"
        ),
        (Some(said), Some(state)) => said.beside(&state.wanted).map_err(|option| {
            anyhow::anyhow!(
                "this machine is set up with another {option}: `ipvsd real-server --undo` first"
            )
        }),
    }
}

/// A line for each change, and for each thing that may stand in the way.
fn told(plan: &Plan, what: &str) -> String {
    let mut text = String::new();
    if plan.steps.is_empty() {
        text += "nothing to change\n";
    }
    for step in &plan.steps {
        let _ = writeln!(text, "{what} {}", step.change());
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    text
}

fn check(plan: &Plan, facts: &Facts) -> Result<String> {
    let mut text = String::new();
    for right in &plan.right {
        let _ = writeln!(text, "right  {right}");
    }
    for refusal in &plan.refusals {
        let _ = writeln!(text, "wrong  {refusal}");
    }
    for step in &plan.steps {
        let _ = writeln!(text, "wrong  {}, needed: {}", step.found(), step.needed());
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "note   {warning}");
    }
    for link in facts.links.iter().filter(|l| l.unpacks.is_some()) {
        if let Some(running) = link.program.map(Running::find).transpose()?.flatten() {
            let counts = running.counts()?;
            let counts: Vec<_> = counts
                .iter()
                .map(|(c, n)| format!("{n} {}", c.name()))
                .collect();
            let _ = writeln!(
                text,
                "note   packets of tunnels on {}: {}",
                link.name,
                counts.join(", ")
            );
        }
    }
    let wrong = plan.refusals.len() + plan.steps.len();
    if wrong == 0 {
        return Ok(text);
    }
    print!("{text}");
    let of = plan.right.len() + wrong;
    bail!(
        "{wrong} of {of} things are wrong; `ipvsd real-server` with --vip and --method sets them right where it can"
    )
}

/// All steps, or none of them: how they were made.
async fn set_up(
    kernel: &Kernel,
    file: &StateFile,
    before: Option<State>,
    wanted: Wanted,
    steps: &[Step],
) -> Result<Vec<Step>> {
    let mut state = State {
        netns: netns_number(),
        wanted,
        steps: before.as_ref().map_or_else(Vec::new, |s| s.steps.clone()),
    };
    let kept = state.steps.len();
    if steps.is_empty() && before.as_ref() == Some(&state) {
        return Ok(Vec::new());
    }
    for step in steps {
        state.steps.push(step.clone());
        if let Err(e) = make(kernel, file, &mut state).await {
            let failed = format!("{}: {}", step.change(), causes(&e));
            // What it met there is not its own.
            state.steps.pop();
            let new = state.steps.split_off(kept);
            return Err(go_back(kernel, file, before, state, &new, failed).await);
        }
    }
    file.write(&state)?;
    Ok(state.steps.split_off(kept))
}

/// The last step of the state.
async fn make(kernel: &Kernel, file: &StateFile, state: &mut State) -> Result<()> {
    file.write(state)?;
    let last = state.steps.last_mut().context("no step")?;
    carry_out::make(kernel, last).await
}

/// Takes back what was made before a step failed. What stays is written down for --undo.
async fn go_back(
    kernel: &Kernel,
    file: &StateFile,
    before: Option<State>,
    mut state: State,
    new: &[Step],
    failed: String,
) -> anyhow::Error {
    let taken = take_back(kernel, new).await;
    if taken.failed.is_empty() {
        let written = match &before {
            Some(before) => file.write(before),
            None => file.remove(),
        };
        return match written {
            Ok(()) => anyhow!("{failed}; nothing is changed"),
            Err(e) => anyhow!("{failed}; nothing is changed, but {}", causes(&e)),
        };
    }
    state.steps.extend(taken.left);
    let undone = taken.failed.join("; ");
    match file.write(&state) {
        Ok(()) => anyhow!(
            "{failed}; and what was done could not be undone: {undone}; `ipvsd real-server --undo` tries again"
        ),
        Err(e) => anyhow!(
            "{failed}; and what was done could not be undone: {undone}; nor written down: {}",
            causes(&e)
        ),
    }
}

/// With its causes, each of them once.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What became of steps that were to be taken back.
#[derive(Default)]
struct Taken {
    /// A line for each that was, or was somebody else's by then.
    text: String,
    /// Why others could not be.
    failed: Vec<String>,
    /// Those, in the order in which they were made.
    left: Vec<Step>,
}

/// Backwards, and all of them, whatever fails.
async fn take_back(kernel: &Kernel, steps: &[Step]) -> Taken {
    let mut taken = Taken::default();
    for step in steps.iter().rev() {
        match carry_out::take_back(kernel, step).await {
            Ok(Back::Done) => _ = writeln!(taken.text, "changed {}", step.back()),
            Ok(Back::Left(why)) => _ = writeln!(taken.text, "left {step} as it is: {why}"),
            Err(e) => {
                let failed = format!("{}: {}", step.back(), causes(&e));
                taken.failed.push(failed);
                taken.left.insert(0, step.clone());
            }
        }
    }
    taken
}

async fn undo(
    kernel: &Kernel,
    file: &StateFile,
    state: Option<State>,
    dry_run: bool,
) -> Result<String> {
    let Some(mut state) = state else {
        return Ok("nothing to undo\n".to_owned());
    };
    if dry_run {
        let backwards = state.steps.iter().rev();
        return Ok(backwards.fold(String::new(), |text, step| {
            format!("{text}would change {}\n", step.back())
        }));
    }
    let taken = take_back(kernel, &state.steps).await;
    if taken.failed.is_empty() {
        file.remove()?;
        return Ok(taken.text);
    }
    // Once more may help.
    state.steps = taken.left;
    file.write(&state)?;
    print!("{}", taken.text);
    bail!("{}", taken.failed.join("\nipvsd: "))
}
