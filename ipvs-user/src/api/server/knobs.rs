//! The routes of knobs and timeouts.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract::State};

use super::{Answer, Applied, Handle, convert, from_json, wire};
use crate::director::Director;

pub(super) async fn sysctls(State(handle): State<Handle>) -> Answer<Vec<wire::Sysctl>> {
    let views = handle.with(|d| Ok(d.sysctls())).await?;
    Ok(Json(views.iter().map(convert::sysctl).collect()))
}

pub(super) async fn set_sysctls(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let changes: wire::SysctlChanges = from_json(&body, "an object of knobs and their values")?;
    let events = handle.events.clone();
    let changed = Arc::clone(&handle.changed);
    let job = move |d: &mut Director| {
        let told = changes.clone();
        let changes: Vec<_> = changes
            .iter()
            .map(|(name, value)| (name.as_str(), convert::sysctl_value(value)))
            .collect();
        let each = changes.iter().map(|(name, value)| (*name, value.as_str()));
        d.set_sysctls(each)
            .map_err(|e| convert::sysctl_error(&e, changes.len()))?;
        let applied = changes.len();
        events.tell(wire::What::Sysctls(told));
        // What some of them begin does not wait for the next second.
        changed.notify_one();
        Ok(Json(Applied { applied }))
    };
    handle.with(job).await
}

pub(super) async fn timeouts(State(handle): State<Handle>) -> Answer<wire::Timeouts> {
    let job = |d: &mut Director| Ok(Json(convert::timeouts(d.settings())));
    handle.with(job).await
}

/// Answers with the timeouts as they are now.
pub(super) async fn set_timeouts(
    State(handle): State<Handle>,
    body: Bytes,
) -> Answer<wire::Timeouts> {
    let changes: wire::TimeoutChanges = from_json(&body, "an object of timeouts in seconds")?;
    let events = handle.events.clone();
    let job = move |d: &mut Director| {
        d.set_timeouts(convert::timeout_changes(changes))
            .map_err(|e| convert::timeouts_error(&e))?;
        events.tell(wire::What::Timeouts(changes));
        Ok(Json(convert::timeouts(d.settings())))
    };
    handle.with(job).await
}
