//! `ipvsd reload`, `plan`, `apply`, `confirm`, `rollback` and `events`: what they ask of the daemon, and what they print.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::api::{
    client::Client,
    wire::{ApplyQuery, ByHand},
};

/// How a configuration is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Over what was changed by hand.
    pub force: bool,
    /// Only tell.
    pub dry_run: bool,
    /// Go back after that time unless confirmed.
    pub confirm: Option<Duration>,
}

impl How {
    fn query(self, file: Option<&Path>) -> ApplyQuery {
        ApplyQuery {
            dry_run: self.dry_run,
            by_hand: Some(if self.force {
                ByHand::Overwrite
            } else {
                ByHand::Keep
            }),
            confirm: self
                .confirm
                .map(|t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX)),
            name: file.map(|f| f.display().to_string()),
        }
    }
}

/// A time as it is typed: `60s`, `5min`, or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let read = match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    };
    match read {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err("that is less than a second".to_owned()),
        Err(e) => Err(format!("{e}; write 60s, or 5min")),
    }
}

/// Applies a file, or tells what that would do.
pub async fn apply(client: &Client, file: &Path, how: How) -> Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan = client.put_file(text, &how.query(Some(file))).await?;
    Ok(plan.to_string())
}

/// Has the daemon read its own file again.
pub async fn reload(client: &Client, how: How) -> Result<String> {
    Ok(client.reload(&how.query(None)).await?.to_string())
}

pub async fn confirm(client: &Client) -> Result<String> {
    client.confirm().await?;
    Ok("the change stays\n".to_owned())
}

pub async fn roll_back(client: &Client) -> Result<String> {
    Ok(client.roll_back().await?.to_string())
}

/// Prints what happens, a line of JSON each, until the daemon ends or nobody reads on.
pub async fn events(client: &Client, since: Option<u64>) -> Result<()> {
    let mut events = client.events(since).await?;
    while let Some(line) = events.line().await {
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    bail!("the daemon ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for text in ["60", "60s", "1min"] {
            assert_eq!(duration(text), Ok(Duration::from_mins(1)), "{text}");
        }
        for text in ["0", "10ms", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
