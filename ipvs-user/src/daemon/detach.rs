//! `ipvsd detach` and `ipvsd instances`: takes away what a director left or leaves, and lists those of the machine.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tracing::{info, warn};

use super::notes::{Keeper, Notes};
use crate::{
    api::client::Client,
    dataplane::bpf::{self as pins, Instance, NotePad, PinError},
    net::{Netlink, Network as _, netns_number},
};

/// A daemon that was told to end does so within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes away everything of an instance, whether or not a daemon runs it. False: there is nothing.
pub async fn detach(name: &str) -> Result<bool> {
    let start = Instant::now();
    let mut told = false;
    loop {
        match Instance::lock_existing(name) {
            Ok(Some(instance)) => {
                let keeper = Keeper::open(&instance)?;
                take_down(&instance, keeper.notes()).await?;
                // A daemon that died left its socket, too.
                let _ = std::fs::remove_file(&keeper.notes().socket);
                return Ok(true);
            }
            Ok(None) => return Ok(told),
            Err(PinError::Running(_)) if !told => {
                tell(name).await?;
                told = true;
            }
            Err(PinError::Running(_)) if start.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(PinError::Running(_)) => bail!(
                "the daemon of instance {name} was told to take everything away and does not end; kill it, and say it again"
            ),
            Err(e @ (PinError::NoFileSystem(_) | PinError::Io { .. })) => return Err(e.into()),
        }
    }
}

/// The same of an instance that this process holds. What it has open itself goes with it.
pub(super) async fn take_away(instance: &Instance) -> Result<()> {
    let keeper = Keeper::open(instance)?;
    take_down(instance, keeper.notes()).await
}

/// Has the daemon do it.
async fn tell(name: &str) -> Result<()> {
    let text = NotePad::peek(name)?;
    let notes: Notes = serde_json::from_str(&text)
        .with_context(|| format!("instance {name} is just being made"))?;
    let client = Client::new(&notes.socket);
    let told = tokio::time::timeout(PATIENCE, client.detach()).await;
    let silent = || format!("instance {name} is held by a process that does not answer");
    told.with_context(silent)?.with_context(silent)
}

/// A line for each instance that is pinned on this machine.
pub fn instances() -> Result<String> {
    let mut text = String::new();
    for name in pins::instances()? {
        let line = match Instance::lock_existing(&name) {
            Ok(None) => continue,
            Ok(Some(instance)) => described(&instance),
            Err(PinError::Running(_)) => "a daemon runs it".to_owned(),
            Err(e @ (PinError::NoFileSystem(_) | PinError::Io { .. })) => return Err(e.into()),
        };
        text.extend([name.as_str(), ": ", &line, &place(&name), "\n"]);
    }
    Ok(text)
}

fn described(instance: &Instance) -> String {
    match instance.alive() {
        Ok(true) => "no daemon runs, packets are forwarded".to_owned(),
        Ok(false) => "no daemon runs, and nothing is attached".to_owned(),
        Err(e) => format!("no daemon runs; {e}"),
    }
}

fn place(name: &str) -> String {
    let notes = NotePad::peek(name).ok();
    let notes: Option<Notes> = notes.and_then(|text| serde_json::from_str(&text).ok());
    let Some(notes) = notes else {
        return String::new();
    };
    let interfaces: Vec<_> = notes.interfaces.keys().map(String::as_str).collect();
    let elsewhere = if notes.netns == netns_number() {
        ""
    } else {
        " (of another network namespace)"
    };
    let interfaces = interfaces.join(", ");
    format!(
        "; interfaces {interfaces}{elsewhere}; socket {}; by ipvsd {}",
        notes.socket.display(),
        notes.daemon
    )
}

/// Takes away what this or another daemon left: programs, tables, settings, neighbours. What a process still holds goes with
/// it.
pub(super) async fn take_down(instance: &Instance, notes: &Notes) -> Result<()> {
    let name = instance.name().to_owned();
    let ours = notes.netns == 0 || notes.netns == netns_number();
    instance.remove().context("taking the pins away")?;
    if !ours {
        warn!(
            instance = name,
            "its network namespace is another one: settings of its interfaces stay as they are"
        );
        return Ok(());
    }
    for interface in notes.interfaces.values() {
        for setting in interface.settings.iter().rev() {
            setting.restore();
        }
    }
    let network = Netlink::connect()?;
    for hop in &notes.neighbours {
        if let Err(e) = network.forget(*hop).await {
            warn!("{e}");
        }
    }
    info!(instance = name, "everything is taken away");
    Ok(())
}
