//! The stream of what happens, a line of JSON for each event.

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{Handle, convert, wire};
use crate::{api::wire::ErrorCode, events::EventReader};

pub(super) async fn events(
    State(handle): State<Handle>,
    query: Result<Query<wire::EventQuery>, QueryRejection>,
) -> Result<Response, wire::Error> {
    let Query(query) = query.map_err(|e| convert::error(ErrorCode::BadRequest, e.body_text()))?;
    let reader = handle.events.reader(query.since);
    let body = Body::from_stream(stream::unfold(reader, line));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn line(mut reader: EventReader) -> Option<(serde_json::Result<Bytes>, EventReader)> {
    let event = reader.next().await?;
    let line = serde_json::to_vec(event.as_ref()).map(|mut line| {
        line.push(b'\n');
        Bytes::from(line)
    });
    Some((line, reader))
}
