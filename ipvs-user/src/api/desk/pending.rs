//! A change that waits to be confirmed, and the way back.
//!
//! The way back is a comparison like any other: what the change did is taken back, and what was done by hand since, to other
//! things, stays. A way back that fails is gone again, some times; what waits is kept until it is gone, or somebody confirms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::{error, info, warn};

use super::{
    Applied, Desk, Rule,
    apply::{self, Job},
    clock, convert,
    store::Waiting,
    to_the_end,
    wire::{self, ErrorCode, What},
};
use crate::api::server::{Absent, Handle};

/// Attempts to go back by itself.
const TRIES: u32 = 10;
/// Between the first two of them; then twice as long each time, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// A sleep does not count the time in which the machine sleeps, so the clock is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Numbers those that wait.
static COUNT: AtomicU64 = AtomicU64::new(1);

/// What is told of a change that waits.
#[derive(Clone)]
pub(super) struct Notice {
    /// Since the boot.
    ends: Duration,
    failed: u32,
    trouble: Option<String>,
}

pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) waiting: Waiting,
    /// What was applied before it.
    pub(super) last: Option<Applied>,
    /// When to go back by itself, since the boot.
    due: Duration,
    failed: u32,
    /// Why the way back failed.
    trouble: Option<String>,
}

pub(in crate::api) fn none_pending() -> wire::Error {
    convert::error(
        ErrorCode::Pending,
        "no change waits to be confirmed: it was confirmed, or taken back because its time was over",
    )
}

impl Desk {
    /// From now on a change waits. [`watch`] takes it back.
    pub(super) fn wait(&mut self, waiting: Waiting, last: Option<Applied>) -> u64 {
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        self.pending = Some(Pending {
            id,
            due: waiting.ends,
            waiting,
            last,
            failed: 0,
            trouble: None,
        });
        id
    }

    pub(super) fn notice(&self) -> Option<Notice> {
        let pending = self.pending.as_ref()?;
        Some(Notice {
            ends: pending.waiting.ends,
            failed: pending.failed,
            trouble: pending.trouble.clone(),
        })
    }

    /// What waits, for whoever asks.
    pub(super) fn waiting(&self) -> Option<wire::Waiting> {
        self.notice().as_ref().map(Notice::told)
    }

    /// Why others are refused.
    pub(super) fn refuse_another(&self) -> Result<(), wire::Error> {
        let Some(waiting) = self.waiting() else {
            return Ok(());
        };
        let message = format!(
            "{waiting}: `ipvsd confirm` keeps it, `ipvsd rollback` takes it back; then try again"
        );
        Err(convert::error(ErrorCode::Pending, message))
    }

    /// Until when to wait with the next attempt; `None`: there is none any more.
    fn left(&self, id: u64) -> Option<Duration> {
        let pending = self.pending.as_ref().filter(|p| p.id == id)?;
        (pending.failed < TRIES).then(|| pending.due.saturating_sub(clock::since_boot()))
    }
}

impl Notice {
    pub(super) fn told(&self) -> wire::Waiting {
        let left = self.ends.saturating_sub(clock::since_boot());
        wire::Waiting {
            seconds: seconds(left),
            failed: self.failed,
            trouble: self.trouble.clone(),
        }
    }
}

impl Pending {
    pub(super) fn note_failure(&mut self, message: &str) {
        self.failed += 1;
        self.trouble = Some(message.to_owned());
        let pause = PAUSE.saturating_mul(1 << (self.failed - 1).min(16));
        self.due = self.due.max(clock::since_boot() + pause.min(LONGEST));
    }
}

/// Whole ones, until it is over.
fn seconds(left: Duration) -> u32 {
    u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// It stays. Where that cannot be written down it does not: the next daemon would take it back.
pub(in crate::api) async fn confirm(handle: &Handle) -> Result<(), wire::Error> {
    let handle = handle.clone();
    to_the_end(async move {
        let mut desk = handle.desk.lock().await;
        if desk.pending.is_none() {
            return Err(none_pending());
        }
        let saved = desk.save(desk.last.clone(), None).await;
        saved.map_err(|e| {
            let message = format!("{e}; the change still waits to be confirmed");
            convert::error(ErrorCode::Other, message)
        })?;
        desk.pending = None;
        info!("the change was confirmed");
        handle.events.tell(What::Confirmed {});
        Ok(())
    })
    .await
}

/// Takes it back without waiting for the end of its time.
pub(in crate::api) async fn roll_back_now(handle: &Handle) -> Result<wire::Plan, wire::Error> {
    let handle = handle.clone();
    to_the_end(async move {
        let mut desk = handle.desk.lock().await;
        roll_back(&handle, &mut desk).await
    })
    .await
}

/// Takes up the wait of the daemon before, if it left one.
pub(crate) async fn go_on_waiting(handle: &Handle) {
    let desk = handle.desk.lock().await;
    if let Some(pending) = &desk.pending {
        watch(handle.clone(), pending.id);
    }
}

/// Takes it back at the end of its time, whatever became of whoever asked for it.
pub(super) fn watch(handle: Handle, id: u64) {
    tokio::spawn(async move {
        loop {
            let mut desk = handle.desk.lock().await;
            let Some(left) = desk.left(id) else { return };
            if !left.is_zero() {
                drop(desk);
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            warn!("nobody confirmed the change in time: going back");
            if let Err(e) = roll_back(&handle, &mut desk).await {
                let next = match desk.left(id) {
                    Some(left) => format!("trying again in {} s", seconds(left)),
                    None => "`ipvsd rollback` tries again, `ipvsd confirm` keeps it".to_owned(),
                };
                let message = format!("cannot go back: {}; {next}", e.message);
                error!("{message}");
                handle.events.tell(What::Refused { message });
            }
        }
    });
}

async fn roll_back(handle: &Handle, desk: &mut Desk) -> Result<wire::Plan, wire::Error> {
    let pending = desk.pending.as_ref().ok_or_else(none_pending)?;
    let job = Job {
        last: Some(Arc::clone(&pending.waiting.after)),
        since: desk.since(),
        new: Arc::clone(&pending.waiting.before),
        rule: Rule::Keep,
        dry_run: false,
        from: "roll_back",
        confirm: None,
        absent: Absent::IsAwaited,
    };
    let done = apply::carry_out(handle, desk, job).await;
    if let Err(e) = &done
        && let Some(pending) = &mut desk.pending
    {
        pending.note_failure(&e.message);
    }
    let done = done?;
    desk.last = desk.pending.take().and_then(|pending| pending.last);
    desk.settle().await;
    Ok(done.plan)
}
