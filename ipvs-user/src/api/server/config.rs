//! The routes of whole configurations.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header::CONTENT_TYPE},
};

use super::{Answer, Handle, convert, from_json, wire};
use crate::{
    api::{
        desk::{self, How, Source},
        wire::ErrorCode,
    },
    config::Config,
    desired::{self, Rule},
};

/// Longest time to confirm a change in.
const LONGEST: u32 = 24 * 3600;

type Parameters = Result<Query<wire::ApplyQuery>, QueryRejection>;

/// What is running, as a configuration.
pub(super) async fn config(State(handle): State<Handle>) -> Answer<wire::Config> {
    let desk = handle.desk.lock().await;
    let rest = Config {
        interfaces: desk.interfaces().clone(),
        ..Config::empty()
    };
    let shown = move |d: &mut crate::director::Director| {
        Ok(Json(convert::shown_config(&desired::snapshot(d, &rest))))
    };
    handle.clone().with(shown).await
}

/// TOML if it says so, else JSON.
pub(super) async fn put_config(
    State(handle): State<Handle>,
    query: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<wire::Plan> {
    let query = parameters(query)?;
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let (source, usual) = if kind == Some("application/toml") {
        (toml(&query, &body)?, Rule::Keep)
    } else {
        let given = from_json(&body, "a configuration")?;
        (Source::Json(Box::new(given)), Rule::Overwrite)
    };
    let plan = desk::apply(&handle, source, how(&query, usual)?).await?;
    Ok(Json(plan))
}

/// Reads the daemon's file again.
pub(super) async fn reload(State(handle): State<Handle>, query: Parameters) -> Answer<wire::Plan> {
    let query = parameters(query)?;
    let how = how(&query, Rule::Keep)?;
    Ok(Json(desk::apply(&handle, Source::File, how).await?))
}

pub(super) async fn confirm(State(handle): State<Handle>) -> Answer<wire::Done> {
    desk::confirm(&handle).await?;
    Ok(Json(wire::Done {}))
}

pub(super) async fn roll_back(State(handle): State<Handle>) -> Answer<wire::Plan> {
    Ok(Json(desk::roll_back_now(&handle).await?))
}

fn parameters(query: Parameters) -> Result<wire::ApplyQuery, wire::Error> {
    let Query(query) = query.map_err(|e| convert::error(ErrorCode::BadRequest, e.body_text()))?;
    Ok(query)
}

fn toml(query: &wire::ApplyQuery, body: &Bytes) -> Result<Source, wire::Error> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|e| convert::error(ErrorCode::BadRequest, format!("not TOML: {e}")))?;
    Ok(Source::Toml {
        name: query.name.clone().unwrap_or_else(|| "the body".to_owned()),
        text: text.to_owned(),
    })
}

fn how(query: &wire::ApplyQuery, usual: Rule) -> Result<How, wire::Error> {
    if let Some(seconds) = query.confirm
        && !(1..=LONGEST).contains(&seconds)
    {
        let message =
            format!("confirm = {seconds} is out of range: it takes 1 to {LONGEST} seconds");
        return Err(convert::error(ErrorCode::Range, message));
    }
    Ok(How {
        rule: match query.by_hand {
            None => usual,
            Some(wire::ByHand::Keep) => Rule::Keep,
            Some(wire::ByHand::Overwrite) => Rule::Overwrite,
        },
        dry_run: query.dry_run,
        confirm: query.confirm.map(|s| Duration::from_secs(s.into())),
    })
}
