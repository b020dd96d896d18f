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

use anyhow::{Context as _, Result, bail, ensure};
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
    let file = if looks_only {
        StateFile::look(options.state())
    } else {
        StateFile::lock(options.state())?
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
    set_up(&kernel, &file, state, wanted, &plan).await?;
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

/// All steps, or none of them.
async fn set_up(
    kernel: &Kernel,
    file: &StateFile,
    before: Option<State>,
    wanted: Wanted,
    plan: &Plan,
) -> Result<()> {
    let mut state = State {
        netns: netns_number(),
        wanted,
        steps: before.as_ref().map_or_else(Vec::new, |s| s.steps.clone()),
    };
    let kept = state.steps.len();
    if plan.steps.is_empty() && before.as_ref() == Some(&state) {
        return Ok(());
    }
    for step in &plan.steps {
        state.steps.push(step.clone());
        let made = make(kernel, file, &mut state).await;
        if let Err(e) = made {
            let failed = format!("{}: {}", step.change(), causes(&e));
            state.steps.pop();
            let left = unmake(kernel, &state.steps[kept..]).await;
            match &before {
                Some(before) => file.write(before)?,
                None => file.remove()?,
            }
            ensure!(
                left.is_empty(),
                "{failed}; and what was done could not be undone: {}",
                left.join("; ")
            );
            bail!("{failed}; nothing is changed");
        }
    }
    file.write(&state)
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

/// The last step of the state.
async fn make(kernel: &Kernel, file: &StateFile, state: &mut State) -> Result<()> {
    file.write(state)?;
    let last = state.steps.last_mut().context("no step")?;
    carry_out::make(kernel, last).await
}

/// Backwards; what could not be taken back.
async fn unmake(kernel: &Kernel, steps: &[Step]) -> Vec<String> {
    let mut left = Vec::new();
    for step in steps.iter().rev() {
        if let Err(e) = carry_out::take_back(kernel, step).await {
            left.push(format!("{step}: {}", causes(&e)));
        }
    }
    left
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
    let backwards = state.steps.iter().rev();
    if dry_run {
        return Ok(backwards.fold(String::new(), |text, step| {
            format!("{text}would change {}\n", step.back())
        }));
    }
    let (mut text, mut failed, mut left) = (String::new(), Vec::new(), Vec::new());
    for step in backwards {
        match carry_out::take_back(kernel, step).await {
            Ok(Back::Done) => _ = writeln!(text, "changed {}", step.back()),
            Ok(Back::Left(why)) => _ = writeln!(text, "left {step} as it is: {why}"),
            Err(e) => {
                failed.push(format!("{}: {}", step.back(), causes(&e)));
                left.insert(0, step.clone());
            }
        }
    }
    if failed.is_empty() {
        file.remove()?;
        return Ok(text);
    }
    // Once more may help.
    state.steps = left;
    file.write(&state)?;
    print!("{text}");
    bail!("{}", failed.join("\nipvsd: "))
}
