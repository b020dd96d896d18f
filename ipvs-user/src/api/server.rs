//! The daemon's side: routes, and the socket they are served on. What they do is the director's.

mod config;
mod events;
mod handle;
mod knobs;
mod listen;
mod matches;
pub mod openapi;
mod routes;
mod sync;

use std::{
    io,
    sync::{Arc, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, Request, State, rejection::QueryRejection},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use ipvs_common::{ABI_VERSION, DropReason, Event, PassReason};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixListener;

use super::{
    convert,
    wire::{self, ErrorCode},
};
use crate::{
    director::{Director, SyncCount},
    model::service_name,
};

pub use handle::{Absent, Attach, Handle};
pub use listen::{Listen, bind};

/// A configuration of 100,000 real servers as JSON has about 20 MB.
const LARGEST_BODY: usize = 256 << 20;

/// All resources of version 1.
pub fn router(handle: Handle) -> Router {
    let v1 = routes::all().into_iter().fold(Router::new(), |v1, route| {
        v1.route(route.path, (route.handler)())
    });
    Router::new()
        .nest(wire::PREFIX, v1)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(handle)
}

/// The same for those who may look and not touch.
pub fn read_only(handle: Handle) -> Router {
    router(handle).layer(middleware::from_fn(only_questions))
}

async fn only_questions(request: Request, next: Next) -> Response {
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return next.run(request).await;
    }
    let message = format!(
        "{} {} changes something, and this socket only answers questions (GET); use the other one",
        request.method(),
        request.uri().path()
    );
    convert::error(ErrorCode::ReadOnly, message).into_response()
}

/// Serves until `stop` is done.
pub async fn serve(
    listener: UnixListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
}

type Answer<T> = Result<Json<T>, wire::Error>;

impl IntoResponse for wire::Error {
    fn into_response(self) -> Response {
        (http_status(self.code), Json(self)).into_response()
    }
}

const fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ServiceExists
        | ErrorCode::DestExists
        | ErrorCode::Pending
        | ErrorCode::SyncRuns => StatusCode::CONFLICT,
        ErrorCode::NoService
        | ErrorCode::ServiceUndefined
        | ErrorCode::NoDest
        | ErrorCode::NoSync
        | ErrorCode::NoDevice
        | ErrorCode::UnknownSysctl => StatusCode::NOT_FOUND,
        ErrorCode::ReadOnly => StatusCode::FORBIDDEN,
        ErrorCode::UnknownScheduler
        | ErrorCode::Config
        | ErrorCode::Interface
        | ErrorCode::UnknownEngine
        | ErrorCode::DoesNotApply
        | ErrorCode::Range
        | ErrorCode::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::NotCarried => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Full => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Tables | ErrorCode::Other => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn from_json<T: DeserializeOwned>(body: &Bytes, what: &str) -> Result<T, wire::Error> {
    serde_json::from_slice(body)
        .map_err(|e| convert::error(ErrorCode::BadRequest, format!("not {what}: {e}")))
}

async fn version(State(handle): State<Handle>) -> Answer<wire::Version> {
    let job = |d: &mut Director| {
        Ok(Json(wire::Version {
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            connection_table_size: d.capacities().conns,
            hz: d.hz(),
        }))
    };
    handle.with(job).await
}

async fn status(State(handle): State<Handle>) -> Answer<wire::Status> {
    let interfaces = handle
        .interfaces
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let waiting = handle.desk.waiting();
    let fill = |used: u64, capacity: u32| wire::Fill {
        used,
        capacity: capacity.into(),
    };
    let job = move |d: &mut Director| {
        let (caps, usage) = (d.capacities(), d.usage());
        Ok(Json(wire::Status {
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            services: fill(usage.services as u64, caps.services),
            dests: fill((usage.dests + usage.trash) as u64, caps.dests),
            deleted_dests: usage.trash as u64,
            list_slots: fill(
                (caps.list_slots - usage.free_list_slots).into(),
                caps.list_slots,
            ),
            timeouts: convert::timeouts(d.settings()),
            totals: convert::totals(d).map_err(convert::table_error)?,
            interfaces,
            waiting,
        }))
    };
    handle.with(job).await
}

/// One service or all, as the query says.
async fn queried_services(
    handle: Handle,
    query: Result<Query<wire::ServiceQuery>, QueryRejection>,
) -> Result<Vec<wire::Service>, wire::Error> {
    let Query(query) = query.map_err(|e| convert::error(ErrorCode::BadRequest, e.body_text()))?;
    let wanted = convert::queried(&query)?;
    let job = move |d: &mut Director| {
        let views = match wanted {
            None => d.services().map_err(convert::table_error)?,
            Some(key) => {
                let view = d.service(&key).map_err(convert::table_error)?;
                let missing = || format!("no virtual service {}", service_name(&key));
                vec![view.ok_or_else(|| convert::error(ErrorCode::NoService, missing()))?]
            }
        };
        Ok(views.iter().map(convert::service).collect())
    };
    handle.with(job).await
}

async fn services(
    State(handle): State<Handle>,
    query: Result<Query<wire::ServiceQuery>, QueryRejection>,
) -> Answer<Vec<wire::Service>> {
    Ok(Json(queried_services(handle, query).await?))
}

async fn dests(
    State(handle): State<Handle>,
    query: Result<Query<wire::ServiceQuery>, QueryRejection>,
) -> Answer<Vec<wire::DestOf>> {
    let services = queried_services(handle, query).await?;
    let dests = services.into_iter().flat_map(|s| {
        s.dests.into_iter().map(move |dest| wire::DestOf {
            service: s.service,
            dest,
        })
    });
    Ok(Json(dests.collect()))
}

async fn conns(State(handle): State<Handle>) -> Answer<Vec<wire::Conn>> {
    let job = |d: &mut Director| {
        let conns = d.connections().map_err(convert::table_error)?;
        Ok(Json(conns.iter().map(convert::conn).collect()))
    };
    handle.with(job).await
}

async fn stats(State(handle): State<Handle>) -> Answer<wire::Totals> {
    let job = |d: &mut Director| Ok(Json(convert::totals(d).map_err(convert::table_error)?));
    handle.with(job).await
}

async fn reasons(State(handle): State<Handle>) -> Answer<Vec<wire::Reason>> {
    let job = |d: &mut Director| {
        let synced: Vec<_> = d.sync_counts().collect();
        Ok((d.reasons().map_err(convert::table_error)?, synced))
    };
    let (counts, synced) = handle.with(job).await?;
    let line = |kind: &str, name: &str, help: &str, slot: u32| wire::Reason {
        kind: kind.to_owned(),
        name: name.to_owned(),
        help: help.to_owned(),
        count: counts.get(slot as usize).copied().unwrap_or(0),
    };
    let pass = PassReason::ALL
        .iter()
        .map(|r| line(PassReason::KIND, r.name(), r.help(), r.slot()));
    let drop = DropReason::ALL
        .iter()
        .map(|r| line(DropReason::KIND, r.name(), r.help(), r.slot()));
    let event = Event::ALL
        .iter()
        .map(|r| line(Event::KIND, r.name(), r.help(), r.slot()));
    let synced = synced.into_iter().map(|(c, count)| wire::Reason {
        kind: SyncCount::KIND.to_owned(),
        name: c.name().to_owned(),
        help: c.help().to_owned(),
        count,
    });
    Ok(Json(pass.chain(drop).chain(event).chain(synced).collect()))
}

/// What a list of commands did.
#[derive(Serialize, JsonSchema)]
struct Applied {
    applied: usize,
}

async fn commands(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let list: Vec<wire::Command> = from_json(&body, "a list of commands")?;
    let events = handle.events.clone();
    // Told there and then: whoever asked may be gone before there is an answer.
    let changed = Arc::clone(&handle.changed);
    let job = move |d: &mut Director| {
        let commands = convert::commands(&list)?;
        d.execute_all(&commands)
            .map_err(|e| convert::director_error(&e, commands.len()))?;
        events.tell_all(list.into_iter().map(wire::What::Command));
        changed.notify_one();
        Ok(Json(Applied {
            applied: commands.len(),
        }))
    };
    handle.with(job).await
}

async fn expectations(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let announced: wire::Expectation = from_json(&body, "an announced connection")?;
    let events = handle.events.clone();
    let job = move |d: &mut Director| {
        d.expect(&convert::expectation(&announced)?)
            .map_err(|e| convert::expect_error(&e))?;
        events.tell(wire::What::Expected {
            client: announced.client.to_string(),
            r#virtual: announced.r#virtual.into(),
        });
        Ok(Json(Applied { applied: 1 }))
    };
    handle.with(job).await
}

async fn wrong_method(method: Method, uri: axum::http::Uri) -> Response {
    let message = format!("{method} is not for {}", uri.path());
    let error = convert::error(ErrorCode::BadRequest, message);
    (StatusCode::METHOD_NOT_ALLOWED, Json(error)).into_response()
}

/// Answers before it happens: afterwards nobody is there to.
async fn detach(State(handle): State<Handle>) -> Answer<Applied> {
    handle.detach.notify_one();
    Ok(Json(Applied { applied: 1 }))
}

async fn unknown(uri: axum::http::Uri) -> wire::Error {
    convert::error(ErrorCode::BadRequest, format!("no resource {}", uri.path()))
}
