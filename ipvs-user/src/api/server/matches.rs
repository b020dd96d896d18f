//! What there is of match rules.

use axum::{Json, extract::State};

use super::{Answer, Handle, convert, wire};
use crate::director::Director;

pub(super) async fn matches(State(handle): State<Handle>) -> Answer<Vec<wire::Match>> {
    let job = |d: &mut Director| {
        let rules = d.model().matches();
        let idle = rules.iter().map(|rule| d.why_idle(rule));
        let shown = convert::shown_rules(rules);
        let listed = shown.into_iter().zip(idle);
        Ok(listed
            .map(|(rule, idle)| wire::Match { rule, idle })
            .collect())
    };
    Ok(Json(handle.with(job).await?))
}
