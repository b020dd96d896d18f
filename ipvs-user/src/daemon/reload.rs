//! SIGHUP: the file is read again, beside everything else that goes on.

use tracing::error;

use super::notify;
use crate::{
    api::{
        desk::{self, How, Source},
        server::Handle,
    },
    desired::Rule,
};

/// What came of it is in the log, and told to those who follow events.
pub(super) fn reload(handle: Handle) {
    tokio::spawn(async move {
        notify::reloading();
        let how = How {
            rule: Rule::Keep,
            dry_run: false,
            confirm: None,
        };
        let outcome = desk::apply(&handle, Source::File, how).await;
        let status = match outcome {
            Ok(plan) => format!("reloaded, {} changes", plan.changes.len()),
            Err(e) => {
                error!("reload failed, nothing was changed: {}", e.message);
                let first = e.message.lines().next().unwrap_or_default().to_owned();
                format!("reload failed: {first}")
            }
        };
        notify::ready(&status);
    });
}
