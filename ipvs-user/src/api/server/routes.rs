//! Every resource: where it is, who answers, and what is documented of it. Router and document are made of this one list.

use axum::{
    http::Method,
    routing::{MethodRouter, delete, get, patch, post, put},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    Applied, Handle, commands, config, conns, dests, detach, events, expectations, knobs, matches,
    openapi, reasons, services, stats, status, sync, version, wire,
};

/// Names the schema of a type.
pub(super) type Of = fn(&mut SchemaGenerator) -> Schema;

pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) handler: fn() -> MethodRouter<Handle>,
    pub(super) summary: &'static str,
    pub(super) query: Option<Of>,
    pub(super) body: Option<Of>,
    pub(super) answer: Of,
    /// Media type of the answer.
    pub(super) media: &'static str,
    /// Statuses of refusals, beside those that any request may get.
    pub(super) refusals: &'static [u16],
}

fn of<T: JsonSchema>() -> Of {
    |generator| generator.subschema_for::<T>()
}

const JSON: &str = "application/json";

fn route(
    method: Method,
    path: &'static str,
    handler: fn() -> MethodRouter<Handle>,
    summary: &'static str,
    answer: Of,
) -> Route {
    Route {
        method,
        path,
        handler,
        summary,
        query: None,
        body: None,
        answer,
        media: JSON,
        refusals: &[],
    }
}

impl Route {
    fn query(self, of: Of) -> Self {
        Self {
            query: Some(of),
            ..self
        }
    }

    fn body(self, of: Of) -> Self {
        Self {
            body: Some(of),
            ..self
        }
    }

    fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }
}

/// All resources of version 1.
pub(super) fn all() -> Vec<Route> {
    let [get_, put_, post_, patch_] = [Method::GET, Method::PUT, Method::POST, Method::PATCH];
    let mut routes = questions(&get_);
    routes.extend(configurations(&get_, &put_, &post_));
    routes.extend([
        route(
            patch_.clone(),
            "/sysctl",
            || patch(knobs::set_sysctls),
            "Turns knobs of ip_vs: all of them, or none",
            of::<Applied>(),
        )
        .body(of::<wire::SysctlChanges>())
        .refuses(&[404, 422]),
        route(
            patch_,
            "/timeouts",
            || patch(knobs::set_timeouts),
            "Sets timeouts: all that are given, or none",
            of::<wire::Timeouts>(),
        )
        .body(of::<wire::TimeoutChanges>())
        .refuses(&[422]),
        route(
            post_.clone(),
            "/commands",
            || post(commands),
            "Carries out commands in order: all of them, or none",
            of::<Applied>(),
        )
        .body(of::<Vec<wire::Command>>())
        .refuses(&[404, 409, 422, 507]),
        route(
            post_,
            "/expectations",
            || post(expectations),
            "Announces a connection",
            of::<Applied>(),
        )
        .body(of::<wire::Expectation>())
        .refuses(&[404, 422, 507]),
    ]);
    routes.extend(sync_daemons());
    routes.push(route(
        Method::POST,
        "/detach",
        || post(detach),
        "Takes everything away, programs, tables and settings, and ends the daemon",
        of::<Applied>(),
    ));
    routes
}

fn questions(get_: &Method) -> Vec<Route> {
    let ask = |path, handler, summary, answer| route(get_.clone(), path, handler, summary, answer);
    vec![
        ask(
            "/version",
            || get(version),
            "Who answers",
            of::<wire::Version>(),
        ),
        ask(
            "/status",
            || get(status),
            "How full the tables are, and where the datapath is attached",
            of::<wire::Status>(),
        ),
        ask(
            "/services",
            || get(services),
            "Services with their real servers, counts and traffic",
            of::<Vec<wire::Service>>(),
        )
        .query(of::<wire::ServiceQuery>())
        .refuses(&[404]),
        ask(
            "/dests",
            || get(dests),
            "Real servers with their counts and traffic",
            of::<Vec<wire::DestOf>>(),
        )
        .query(of::<wire::ServiceQuery>())
        .refuses(&[404]),
        ask(
            "/conns",
            || get(conns),
            "Connections and persistence templates",
            of::<Vec<wire::Conn>>(),
        ),
        ask(
            "/stats",
            || get(stats),
            "Traffic of everything",
            of::<wire::Totals>(),
        ),
        ask(
            "/reasons",
            || get(reasons),
            "Why packets were passed on or dropped",
            of::<Vec<wire::Reason>>(),
        ),
        ask(
            "/matches",
            || get(matches::matches),
            "Match rules, in their order",
            of::<Vec<wire::Match>>(),
        ),
        ask(
            "/sysctl",
            || get(knobs::sysctls),
            "Knobs of ip_vs",
            of::<Vec<wire::Sysctl>>(),
        ),
        ask(
            "/timeouts",
            || get(knobs::timeouts),
            "Timeouts in seconds",
            of::<wire::Timeouts>(),
        ),
        ask(
            "/openapi.json",
            || get(openapi::openapi),
            "This description",
            of::<serde_json::Map<String, serde_json::Value>>(),
        ),
        Route {
            media: "application/x-ndjson",
            ..ask(
                "/events",
                || get(events::events),
                "What happens, a line of JSON each, until one of the two ends it",
                of::<wire::Event>(),
            )
        }
        .query(of::<wire::EventQuery>()),
    ]
}

fn sync_daemons() -> Vec<Route> {
    vec![
        route(
            Method::GET,
            "/sync",
            || get(sync::running),
            "The sync daemons that run",
            of::<Vec<wire::SyncDaemon>>(),
        ),
        route(
            Method::POST,
            "/sync",
            || post(sync::start),
            "Starts a sync daemon",
            of::<Applied>(),
        )
        .body(of::<wire::SyncDaemon>())
        .refuses(&[404, 409, 422, 500]),
        route(
            Method::DELETE,
            "/sync",
            || delete(sync::stop),
            "Stops one",
            of::<Applied>(),
        )
        .query(of::<wire::SyncQuery>())
        .refuses(&[404, 500]),
    ]
}

fn configurations(get_: &Method, put_: &Method, post_: &Method) -> Vec<Route> {
    vec![
        route(
            get_.clone(),
            "/config",
            || get(config::config),
            "What is running, as a configuration",
            of::<wire::Config>(),
        ),
        route(
            put_.clone(),
            "/config",
            || put(config::put_config),
            "Makes a configuration the running one, as a whole or not at all; what stays the same is not touched",
            of::<wire::Plan>(),
        )
        .query(of::<wire::ApplyQuery>())
        .body(of::<wire::Config>())
        .refuses(&[404, 409, 422, 507]),
        route(
            post_.clone(),
            "/config/reload",
            || post(config::reload),
            "Reads the daemon's configuration file again and applies it",
            of::<wire::Plan>(),
        )
        .query(of::<wire::ApplyQuery>())
        .refuses(&[404, 409, 422, 507]),
        route(
            post_.clone(),
            "/config/confirm",
            || post(config::confirm),
            "Keeps the change that waits to be confirmed",
            of::<wire::Done>(),
        )
        .refuses(&[409]),
        route(
            post_.clone(),
            "/config/rollback",
            || post(config::roll_back),
            "Takes it back without waiting",
            of::<wire::Plan>(),
        )
        .refuses(&[404, 409, 422, 507]),
    ]
}
