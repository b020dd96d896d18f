//! Compares and carries out.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ipvs_common::ServiceKey;
use tracing::{info, warn};

use super::{
    Applied, Desk, How, Rule, Source, clock, convert,
    pending::watch,
    store::Waiting,
    to_the_end,
    wire::{self, ErrorCode, What},
};
use crate::{
    api::server::{Absent, Handle},
    config::{Config, Interface},
    desired::{self, Difference, Row},
    director::{Director, Rehearsed, Together},
    model::Command,
    net::give_back_memory,
};

/// One comparison, and what to do about it.
pub(super) struct Job {
    pub(super) last: Option<Arc<Config>>,
    pub(super) since: Option<u64>,
    pub(super) new: Arc<Config>,
    pub(super) rule: Rule,
    pub(super) dry_run: bool,
    pub(super) from: &'static str,
    pub(super) confirm: Option<Duration>,
    /// What becomes of interfaces that are not there.
    pub(super) absent: Absent,
}

pub(super) struct Done {
    pub(super) plan: wire::Plan,
    /// The states before and after, if there may be a way back.
    pub(super) states: Option<(Arc<Config>, Arc<Config>)>,
}

/// Changes that take memory worth giving back.
const MANY: usize = 1000;

/// Applies a configuration, or tells what that would do.
pub(crate) async fn apply(
    handle: &Handle,
    source: Source,
    how: How,
) -> Result<wire::Plan, wire::Error> {
    let handle = handle.clone();
    to_the_end(async move {
        let mut desk = handle.desk.lock().await;
        let applied = apply_at(&handle, &mut desk, source, how).await;
        if let (Err(e), false) = (&applied, how.dry_run) {
            let message = e.message.clone();
            handle.events.tell(What::Refused { message });
        }
        let changes = applied.as_ref().map_or(0, |plan| plan.changes.len());
        if changes >= MANY {
            give_back_memory();
        }
        applied
    })
    .await
}

async fn apply_at(
    handle: &Handle,
    desk: &mut Desk,
    source: Source,
    how: How,
) -> Result<wire::Plan, wire::Error> {
    if !how.dry_run {
        desk.refuse_another()?;
    }
    let wanted = desk.read(source).await?;
    let job = Job {
        last: desk.last.as_ref().map(|l| Arc::clone(&l.config)),
        since: desk.since(),
        new: Arc::clone(&wanted.config),
        rule: how.rule,
        dry_run: how.dry_run,
        from: wanted.from,
        confirm: how.confirm,
        absent: Absent::Refuses,
    };
    if how.dry_run {
        let mut plan = carry_out(handle, desk, job).await?.plan;
        plan.waiting = desk.waiting();
        return Ok(plan);
    }
    let applied = Applied {
        config: wanted.config,
        at: SystemTime::now(),
        by_file: wanted.from == "file",
    };
    match how.confirm {
        Some(time) => foretell(handle, desk, &job, time).await?,
        None => desk.announce(&applied).await,
    }
    let done = match (carry_out(handle, desk, job).await, how.confirm) {
        (Err(e), Some(_)) => {
            desk.settle().await;
            return Err(e);
        }
        (Err(e), None) => {
            desk.withdraw().await;
            return Err(e);
        }
        (Ok(done), _) => done,
    };
    let last = desk.last.replace(applied);
    match (how.confirm, done.states) {
        (Some(time), Some(states)) => wait(handle, desk, time, states, last).await,
        (None, _) | (_, None) => desk.keep().await,
    }
    Ok(done.plan)
}

/// Writes down what is about to change, so that whoever starts after a crash in the middle takes it back.
async fn foretell(
    handle: &Handle,
    desk: &Desk,
    job: &Job,
    time: Duration,
) -> Result<(), wire::Error> {
    let (last, new, rule) = (job.last.clone(), Arc::clone(&job.new), job.rule);
    let rest = desk.started.clone();
    let look = move |director: &mut Director| {
        let changes = desired::compare(last.as_deref(), director, &new, rule).changes;
        let rehearsed = check(director, &changes)?;
        let before = desired::snapshot(director, &rest);
        let after = Config {
            interfaces: new.interfaces.clone(),
            ..desired::foreseen(&before, rehearsed.model(), &changes)
        };
        Ok((Arc::new(before), Arc::new(after)))
    };
    let (before, after) = handle.clone().with(look).await?;
    let waiting = Waiting {
        carried_out: false,
        ends: clock::since_boot() + time,
        before,
        after,
        wanted: Arc::clone(&job.new),
    };
    let saved = desk.save(desk.last.clone(), Some(waiting)).await;
    saved.map_err(|e| {
        let message = format!(
            "{e}; a crash would leave a change in force that nobody confirmed, so nothing was changed"
        );
        convert::error(ErrorCode::Other, message)
    })
}

/// The change holds, for this time.
async fn wait(
    handle: &Handle,
    desk: &mut Desk,
    time: Duration,
    (before, after): (Arc<Config>, Arc<Config>),
    last: Option<Applied>,
) {
    let wanted = desk.last.as_ref().map(|l| Arc::clone(&l.config));
    let waiting = Waiting {
        carried_out: true,
        ends: clock::since_boot() + time,
        wanted: wanted.unwrap_or_else(|| Arc::clone(&after)),
        before,
        after,
    };
    if let Err(e) = desk.save(last.clone(), Some(waiting.clone())).await {
        warn!("{e}; a daemon that starts before the change is confirmed will take it back at once");
    }
    let id = desk.wait(waiting, last);
    watch(handle.clone(), id);
}

/// Interfaces first: they may refuse, and can be put back.
pub(super) async fn carry_out(
    handle: &Handle,
    desk: &mut Desk,
    job: Job,
) -> Result<Done, wire::Error> {
    let interfaces = job.new.interfaces.clone();
    let mut rows = convert::interface_rows(&desk.started.interfaces, &interfaces);
    let restart = convert::restart_rows(&desk.started, &job.new);
    let switches = !rows.is_empty() && !job.dry_run;
    if switches {
        // Interfaces can be put back, but packets may see that: what is refused anyway is so before.
        look(handle, &job).await?;
        handle.attach(interfaces.clone(), job.absent).await?;
    }
    let rest = desk.started.clone();
    let mut done = match handle.clone().with(work(handle.clone(), job, rest)).await {
        Ok(done) => done,
        Err(e) if switches => return Err(put_back(handle, &desk.started.interfaces, e).await),
        Err(e) => return Err(e),
    };
    let changes = &mut done.plan.changes;
    changes.extend(rows.drain(..).map(|row| convert::change(&row, None)));
    let restart = restart.iter().map(|row| convert::change(row, None));
    done.plan.needs_restart = restart.collect();
    if done.plan.applied {
        desk.started.interfaces = interfaces;
        handle.changed.notify_one();
        report(&done.plan);
    }
    Ok(done)
}

async fn put_back(
    handle: &Handle,
    interfaces: &BTreeMap<String, Interface>,
    cause: wire::Error,
) -> wire::Error {
    match handle.attach(interfaces.clone(), Absent::IsAwaited).await {
        Ok(()) => cause,
        Err(e) => wire::Error {
            message: format!(
                "{}; and the interfaces of before could not be put back: {}",
                cause.message, e.message
            ),
            ..cause
        },
    }
}

/// Whether the director would refuse it now.
async fn look(handle: &Handle, job: &Job) -> Result<(), wire::Error> {
    let (last, new, rule) = (job.last.clone(), Arc::clone(&job.new), job.rule);
    let look = move |director: &mut Director| {
        let changes = desired::compare(last.as_deref(), director, &new, rule).changes;
        check(director, &changes).map(drop)
    };
    handle.clone().with(look).await
}

/// What is done with the director, at one go.
fn work(
    handle: Handle,
    job: Job,
    rest: Config,
) -> impl FnOnce(&mut Director) -> Result<Done, wire::Error> {
    move |director| {
        let last = job.last.as_deref();
        let difference = desired::compare(last, director, &job.new, job.rule);
        let commands = &difference.changes.commands;
        let mut plan = plan(director, &difference, job.since)?;
        let snapshot = |d: &Director| {
            let kept = job.confirm.map(|_| &rest);
            kept.map(|rest| Arc::new(desired::snapshot(d, rest)))
        };
        if job.dry_run {
            let after = check(director, &difference.changes)?;
            plan.moved = moved(director, director.model(), after.model(), commands);
            return Ok(Done { plan, states: None });
        }
        let earlier = snapshot(director);
        let carried = director.carry_out(&difference.changes);
        let before = carried.map_err(|e| convert::together_error(&e, commands.len()))?;
        plan.applied = true;
        plan.confirm = job
            .confirm
            .map(|t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX));
        plan.moved = moved(director, &before, director.model(), commands);
        let later = snapshot(director).map(|s| {
            let interfaces = job.new.interfaces.clone();
            Arc::new(Config {
                interfaces,
                ..Config::clone(&s)
            })
        });
        handle.events.tell_all(events(&difference, &plan, job.from));
        let states = earlier.zip(later);
        Ok(Done { plan, states })
    }
}

/// Refused is what can be known to be, before anything is touched.
fn check(director: &Director, changes: &Together) -> Result<Rehearsed, wire::Error> {
    let checked = director.check(changes);
    checked.map_err(|e| convert::together_error(&e, changes.commands.len()))
}

fn plan(
    director: &Director,
    difference: &Difference,
    since: Option<u64>,
) -> Result<wire::Plan, wire::Error> {
    let change = |row: &Row| {
        let counts = match row.leaves {
            None => None,
            Some(dest) => Some(director.dest_counts(dest).map_err(convert::table_error)?),
        };
        let counts = counts.map(|c| wire::Counts {
            active: c.active,
            inactive: c.inactive,
            persistent: c.persistent,
        });
        Ok(convert::change(row, counts))
    };
    let plain = |rows: &[Row]| rows.iter().map(|r| convert::change(r, None)).collect();
    let changes: Result<_, wire::Error> = difference.rows.iter().map(change).collect();
    Ok(wire::Plan {
        since,
        changes: changes?,
        kept: plain(&difference.kept),
        overridden: plain(&difference.overridden),
        ..wire::Plan::default()
    })
}

fn moved(
    director: &Director,
    before: &crate::model::Model,
    after: &crate::model::Model,
    commands: &[Command],
) -> Vec<wire::Moved> {
    let mut keys: Vec<ServiceKey> = commands.iter().filter_map(Command::service).collect();
    keys.sort_unstable();
    keys.dedup();
    let maglev = director.capacities().maglev;
    let moved = desired::moved(before, after, maglev, &keys);
    moved.iter().map(convert::moved).collect()
}

/// The same events as of single commands, and one for the whole.
fn events(difference: &Difference, plan: &wire::Plan, from: &str) -> Vec<What> {
    let changes = &difference.changes;
    let commands = changes.commands.iter().map(convert::shown_command);
    let mut events: Vec<_> = commands.map(What::Command).collect();
    let sysctls = changes.sysctls.iter();
    let sysctls: wire::SysctlChanges = sysctls
        .map(|(name, value)| (name.clone(), wire::SysctlValue::Text(value.clone())))
        .collect();
    if !sysctls.is_empty() {
        events.push(What::Sysctls(sysctls));
    }
    let timeouts = convert::shown_timeouts(changes.timeouts);
    if timeouts != wire::TimeoutChanges::default() {
        events.push(What::Timeouts(timeouts));
    }
    events.push(What::Applied {
        from: from.to_owned(),
        changes: plan.changes.len() as u64,
        kept: plan.kept.len() as u64,
        confirm: plan.confirm,
    });
    events
}

fn report(plan: &wire::Plan) {
    let (changes, kept) = (plan.changes.len(), plan.kept.len());
    let overridden = plan.overridden.len();
    info!(changes, kept, overridden, "configuration applied");
    for one in &plan.kept {
        info!("changed by hand, and left so: {one}");
    }
    for one in &plan.overridden {
        warn!("changed by hand, and overridden: {one}");
    }
    for one in &plan.needs_restart {
        warn!("needs a restart: {one}");
    }
}
