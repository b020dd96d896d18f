//! The sync daemon: shown, started and stopped. What it does is not known here.

use std::sync::PoisonError;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
};

use super::{Answer, Applied, Handle, convert, from_json};
use crate::{
    api::wire::{self, ErrorCode},
    sync::Daemons,
};

/// Starting one may wait for a network interface, so it happens on a thread for that.
async fn with<T: Send + 'static>(
    handle: Handle,
    job: impl FnOnce(&mut dyn Daemons) -> Result<T, wire::Error> + Send + 'static,
) -> Result<T, wire::Error> {
    let work = move || {
        let mut sync = handle.sync.lock().unwrap_or_else(PoisonError::into_inner);
        job(sync.as_mut())
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(convert::error(ErrorCode::Tables, e.to_string())))
}

pub(super) async fn running(State(handle): State<Handle>) -> Answer<Vec<wire::SyncDaemon>> {
    let job = |sync: &mut dyn Daemons| {
        let running = sync.running();
        Ok(Json(running.iter().map(convert::sync_daemon).collect()))
    };
    with(handle, job).await
}

pub(super) async fn start(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let daemon: wire::SyncDaemon = from_json(&body, "a sync daemon")?;
    let config = convert::sync_config(&daemon);
    let job = move |sync: &mut dyn Daemons| {
        sync.start(&config).map_err(convert::sync_error)?;
        Ok(Json(Applied { applied: 1 }))
    };
    with(handle, job).await
}

pub(super) async fn stop(
    State(handle): State<Handle>,
    query: Result<Query<wire::SyncQuery>, QueryRejection>,
) -> Answer<Applied> {
    let Query(query) = query.map_err(|e| convert::error(ErrorCode::BadRequest, e.body_text()))?;
    let role = convert::sync_role(query.role);
    let job = move |sync: &mut dyn Daemons| {
        sync.stop(role).map_err(convert::sync_error)?;
        Ok(Json(Applied { applied: 1 }))
    };
    with(handle, job).await
}
