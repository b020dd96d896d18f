//! The daemon's side: routes, and the socket they are served on. What they do is the director's.

mod knobs;
mod sync;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ipvs_common::{ABI_VERSION, DropReason, Event, PassReason};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixListener, sync::Notify};

use super::{
    convert,
    wire::{self, ErrorCode},
};
use crate::{
    dataplane::TableError,
    director::Director,
    model::service_name,
    sync::{Daemons, Nobody},
};

/// Commands for every service and real server that fit.
const LONGEST_BODY: usize = 64 << 20;

/// What the routes work on.
#[derive(Clone)]
pub struct Handle {
    pub director: Arc<Mutex<Director>>,
    /// Where the datapath is attached, kept up to date by the daemon.
    pub interfaces: Arc<Mutex<Vec<wire::Interface>>>,
    /// Who synchronises connections with another director.
    pub sync: Arc<Mutex<Box<dyn Daemons>>>,
    /// Told when commands were carried out.
    pub changed: Arc<Notify>,
}

impl Handle {
    #[must_use]
    pub fn new(director: Director) -> Self {
        Self {
            director: Arc::new(Mutex::new(director)),
            interfaces: Arc::default(),
            sync: Arc::new(Mutex::new(Box::new(Nobody))),
            changed: Arc::default(),
        }
    }

    /// Reading and writing maps blocks, so it happens on a thread for that.
    async fn with<T: Send + 'static>(
        self,
        job: impl FnOnce(&mut Director) -> Result<T, wire::Error> + Send + 'static,
    ) -> Result<T, wire::Error> {
        let work = move || {
            // The director changes its state as the last step of a command: one that panicked changed nothing.
            let mut director = self.director.lock().unwrap_or_else(PoisonError::into_inner);
            job(&mut director)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|e| Err(convert::error(ErrorCode::Tables, e.to_string())))
    }
}

/// All resources of version 1.
pub fn router(handle: Handle) -> Router {
    let v1 = Router::new()
        .route("/version", get(version))
        .route("/status", get(status))
        .route("/services", get(services))
        .route("/dests", get(dests))
        .route("/conns", get(conns))
        .route("/stats", get(stats))
        .route("/reasons", get(reasons))
        .route("/sysctl", get(knobs::sysctls).patch(knobs::set_sysctls))
        .route("/timeouts", get(knobs::timeouts).patch(knobs::set_timeouts))
        .route("/commands", post(commands))
        .route("/expectations", post(expectations))
        .route(
            "/sync",
            get(sync::running).post(sync::start).delete(sync::stop),
        );
    Router::new()
        .nest(wire::PREFIX, v1)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(handle)
}

/// Serves until `stop` is done.
pub async fn serve(
    listener: UnixListener,
    handle: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(handle))
        .with_graceful_shutdown(stop)
        .await
}

/// Listens at `path` for this user only. A socket that a dead daemon left is replaced, one that is served is an error.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let message = format!("another ipvsd serves {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    // Nobody may connect before the permissions are right, so the socket gets its name last.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    fs::rename(&temporary, path)?;
    Ok(listener)
}

type Answer<T> = Result<Json<T>, wire::Error>;

impl IntoResponse for wire::Error {
    fn into_response(self) -> Response {
        (http_status(self.code), Json(self)).into_response()
    }
}

const fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ServiceExists | ErrorCode::DestExists | ErrorCode::SyncRuns => {
            StatusCode::CONFLICT
        }
        ErrorCode::NoService
        | ErrorCode::ServiceUndefined
        | ErrorCode::NoDest
        | ErrorCode::NoSync
        | ErrorCode::NoDevice
        | ErrorCode::UnknownSysctl => StatusCode::NOT_FOUND,
        ErrorCode::UnknownScheduler
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

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` takes"
)]
fn table_error(e: TableError) -> wire::Error {
    convert::error(ErrorCode::Tables, e.to_string())
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
            totals: convert::totals(d).map_err(table_error)?,
            interfaces,
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
            None => d.services().map_err(table_error)?,
            Some(key) => {
                let view = d.service(&key).map_err(table_error)?;
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
        let conns = d.connections().map_err(table_error)?;
        Ok(Json(conns.iter().map(convert::conn).collect()))
    };
    handle.with(job).await
}

async fn stats(State(handle): State<Handle>) -> Answer<wire::Totals> {
    let job = |d: &mut Director| Ok(Json(convert::totals(d).map_err(table_error)?));
    handle.with(job).await
}

async fn reasons(State(handle): State<Handle>) -> Answer<Vec<wire::Reason>> {
    let counts = handle.with(|d| d.reasons().map_err(table_error)).await?;
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
    Ok(Json(pass.chain(drop).chain(event).collect()))
}

/// What a list of commands did.
#[derive(Serialize)]
struct Applied {
    applied: usize,
}

async fn commands(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let list: Vec<wire::Command> = from_json(&body, "a list of commands")?;
    let job = move |d: &mut Director| {
        let commands = convert::commands(&list)?;
        d.execute_all(&commands)
            .map_err(|e| convert::director_error(&e, commands.len()))?;
        Ok(Json(Applied {
            applied: commands.len(),
        }))
    };
    let changed = Arc::clone(&handle.changed);
    let applied = handle.with(job).await?;
    changed.notify_one();
    Ok(applied)
}

async fn expectations(State(handle): State<Handle>, body: Bytes) -> Answer<Applied> {
    let announced: wire::Expectation = from_json(&body, "an announced connection")?;
    let job = move |d: &mut Director| {
        d.expect(&convert::expectation(&announced)?)
            .map_err(|e| convert::expect_error(&e))?;
        Ok(Json(Applied { applied: 1 }))
    };
    handle.with(job).await
}

async fn unknown(uri: axum::http::Uri) -> wire::Error {
    convert::error(ErrorCode::BadRequest, format!("no resource {}", uri.path()))
}
