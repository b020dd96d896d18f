//! What was applied last, and what waits to be confirmed, in a file, so that the next daemon knows it. It is one file and
//! replaced in one step: there is no moment at which the two contradict each other.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Applied, clock, convert, wire};
use crate::config::Config;

/// The file, and whose it is.
#[derive(Clone, Debug)]
pub struct Store {
    path: Option<PathBuf>,
    instance: String,
}

/// What a change left that waits to be confirmed.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// False: it had begun.
    pub(super) carried_out: bool,
    /// Since the boot.
    pub(super) ends: Duration,
    pub(super) before: Arc<Config>,
    pub(super) after: Arc<Config>,
    /// What was asked for, which is remembered once it is confirmed.
    pub(super) wanted: Arc<Config>,
}

#[derive(Default)]
pub(super) struct Remembered {
    pub(super) applied: Option<Applied>,
    pub(super) waiting: Option<Waiting>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    instance: String,
    boot: String,
    applied: Option<AppliedRecord>,
    waiting: Option<WaitingRecord>,
}

#[derive(Serialize, Deserialize)]
struct AppliedRecord {
    /// Seconds since 1970.
    at: u64,
    config: wire::Config,
    by_file: bool,
}

#[derive(Serialize, Deserialize)]
struct WaitingRecord {
    carried_out: bool,
    /// Milliseconds since the boot.
    ends: u64,
    before: wire::Config,
    after: wire::Config,
    wanted: wire::Config,
}

impl Store {
    /// In this directory, or else beside the socket, whose name tells several directors apart.
    #[must_use]
    pub fn at(directory: Option<&Path>, socket: &Path, instance: &str) -> Self {
        let mut beside = socket.as_os_str().to_owned();
        beside.push(".applied.json");
        Self {
            path: Some(directory.map_or_else(|| beside.into(), |d| d.join("applied.json"))),
            instance: instance.to_owned(),
        }
    }

    /// Nothing is remembered.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            path: None,
            instance: String::new(),
        }
    }

    /// Takes the place of what was remembered before.
    pub(super) fn save(
        &self,
        applied: Option<&Applied>,
        waiting: Option<&Waiting>,
    ) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let record = Record {
            instance: self.instance.clone(),
            boot: clock::boot(),
            applied: applied.map(AppliedRecord::of),
            waiting: waiting.map(WaitingRecord::of),
        };
        let bytes = serde_json::to_vec(&record).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| replace(path, &bytes));
        written.map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// What is not about this director, or from before the boot, is as good as nothing.
    pub(super) fn load(&self, rest: &Config) -> Remembered {
        let Some(path) = &self.path else {
            return Remembered::default();
        };
        match self.read(path, rest) {
            Ok(remembered) => remembered,
            Err(e) => {
                let path = path.display();
                warn!("{path}: {e}; what was applied last is not known");
                Remembered::default()
            }
        }
    }

    fn read(&self, path: &Path, rest: &Config) -> Result<Remembered, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
            Err(e) => return Err(e.to_string()),
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        if record.instance != self.instance {
            let other = record.instance;
            return Err(format!(
                "it is of the instance {other}; give each its own --state-dir"
            ));
        }
        if record.boot != clock::boot() {
            return Err("it is from before the machine was booted".to_owned());
        }
        let applied = record.applied.map(|a| a.read(rest)).transpose();
        let waiting = record.waiting.map(|w| w.read(rest)).transpose();
        Ok(Remembered {
            applied: applied.map_err(|e| e.message)?,
            waiting: waiting.map_err(|e| e.message)?,
        })
    }

    /// Nobody shall believe it.
    pub(super) fn discard(&self) {
        let Some(path) = &self.path else { return };
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                warn!("cannot remove {}: {e}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl AppliedRecord {
    fn of(applied: &Applied) -> Self {
        let at = applied.at.duration_since(UNIX_EPOCH);
        Self {
            at: at.map_or(0, |t| t.as_secs()),
            config: convert::shown_config(&applied.config),
            by_file: applied.by_file,
        }
    }

    fn read(&self, rest: &Config) -> Result<Applied, wire::Error> {
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(self.at));
        Ok(Applied {
            config: Arc::new(convert::config(&self.config, rest)?),
            at: at.unwrap_or_else(SystemTime::now),
            by_file: self.by_file,
        })
    }
}

impl WaitingRecord {
    fn of(waiting: &Waiting) -> Self {
        Self {
            carried_out: waiting.carried_out,
            ends: u64::try_from(waiting.ends.as_millis()).unwrap_or(u64::MAX),
            before: convert::shown_config(&waiting.before),
            after: convert::shown_config(&waiting.after),
            wanted: convert::shown_config(&waiting.wanted),
        }
    }

    fn read(&self, rest: &Config) -> Result<Waiting, wire::Error> {
        let config = |c: &wire::Config| convert::config(c, rest).map(Arc::new);
        Ok(Waiting {
            carried_out: self.carried_out,
            ends: Duration::from_millis(self.ends),
            before: config(&self.before)?,
            after: config(&self.after)?,
            wanted: config(&self.wanted)?,
        })
    }
}

/// Whoever reads it meets the old one or the new one, and nothing in between. It is not forced to the disk: what is from before a
/// boot is worth nothing.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(contents)?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
