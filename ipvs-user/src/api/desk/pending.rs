//! A change that waits to be confirmed, and the way back.
//!
//! The way back is a comparison like any other: what the change did is taken back, and what was done by hand since, to other
//! things, stays.

use std::{sync::Arc, time::Duration};

use tracing::{error, info, warn};

use super::{
    Applied, Desk, Rule,
    apply::{self, Job},
    convert,
    store::Text,
    wire::{self, ErrorCode, What},
};
use crate::{api::server::Handle, config::Config};

pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) before: Arc<Config>,
    pub(super) after: Arc<Config>,
    /// What was applied before it.
    pub(super) last: Option<Applied>,
    /// To be remembered once it is confirmed.
    pub(super) text: Text,
}

pub(in crate::api) fn none_pending() -> wire::Error {
    convert::error(
        ErrorCode::Pending,
        "no change waits to be confirmed: it was confirmed, or taken back because its time was over",
    )
}

pub(super) fn another_pending() -> wire::Error {
    convert::error(
        ErrorCode::Pending,
        "a change waits to be confirmed: `ipvsd confirm` keeps it, `ipvsd rollback` takes it back; then try again",
    )
}

/// It stays.
pub(in crate::api) async fn confirm(handle: &Handle) -> Result<(), wire::Error> {
    let mut desk = handle.desk.lock().await;
    let pending = desk.pending.take().ok_or_else(none_pending)?;
    desk.store.save(&pending.text);
    info!("the change was confirmed");
    handle.events.tell(What::Confirmed {});
    Ok(())
}

/// Takes it back without waiting for the end of its time.
pub(in crate::api) async fn roll_back_now(handle: &Handle) -> Result<wire::Plan, wire::Error> {
    let mut desk = handle.desk.lock().await;
    let pending = desk.pending.take().ok_or_else(none_pending)?;
    roll_back(handle, &mut desk, pending).await
}

/// Takes it back at the end of its time, whatever became of whoever asked for it.
pub(super) fn watch(handle: Handle, id: u64, time: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        let mut desk = handle.desk.lock().await;
        let Some(pending) = desk.pending.take_if(|p| p.id == id) else {
            return;
        };
        warn!("nobody confirmed the change in time: going back");
        if let Err(e) = roll_back(&handle, &mut desk, pending).await {
            error!("cannot go back: {}", e.message);
            let message = format!("cannot go back: {}", e.message);
            handle.events.tell(What::Refused { message });
        }
    });
}

async fn roll_back(
    handle: &Handle,
    desk: &mut Desk,
    pending: Pending,
) -> Result<wire::Plan, wire::Error> {
    let job = Job {
        last: Some(pending.after),
        since: desk.since(),
        new: pending.before,
        rule: Rule::Keep,
        dry_run: false,
        from: "roll_back",
        confirm: None,
    };
    let done = apply::carry_out(handle, desk, job).await?;
    desk.last = pending.last;
    Ok(done.plan)
}
