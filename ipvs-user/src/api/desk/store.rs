//! What was applied last, and what waits to be confirmed, in a file, so that the next daemon knows it. It is one file, so that
//! there is no moment at which the two contradict each other.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::warn;

use super::{
    Applied, clock,
    record::{AppliedRecord, Change, Line, Record, WaitingRecord},
};
use crate::config::Config;

/// After so many lines the file is written anew, or after so many bytes, or half as many as the record has.
const LINES: usize = 256;
const BYTES: usize = 1 << 16;

/// The file, and whose it is.
#[derive(Clone, Debug)]
pub struct Store {
    path: Option<PathBuf>,
    instance: String,
    /// As far as this process wrote it; `None`: nothing can be added to it.
    written: Arc<Mutex<Option<Written>>>,
}

#[derive(Debug)]
struct Written {
    /// What its lines come to.
    applied: Option<Arc<Config>>,
    /// Bytes of the record, and of the lines after it.
    record: usize,
    lines: usize,
    count: usize,
    /// What the last line begins.
    begun: Option<Arc<Config>>,
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
    /// What was about to be applied after that, and may have been.
    pub(super) begun: Option<Applied>,
    pub(super) waiting: Option<Waiting>,
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
            written: Arc::default(),
        }
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn none() -> Self {
        Self {
            path: None,
            instance: String::new(),
            written: Arc::default(),
        }
    }

    fn written(&self) -> MutexGuard<'_, Option<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut written = self.written();
        *written = None;
        let record = Record {
            instance: self.instance.clone(),
            boot: clock::boot(),
            applied: applied.map(AppliedRecord::of),
            waiting: waiting.map(WaitingRecord::of),
        };
        let bytes = a_line(&record).and_then(|bytes| {
            replace(path, &bytes)?;
            Ok(bytes.len())
        });
        let record = bytes.map_err(|e| cannot_write(path, &e))?;
        // Nothing else is applied while a change waits.
        *written = waiting.is_none().then(|| Written {
            applied: applied.map(|a| Arc::clone(&a.config)),
            record,
            lines: 0,
            count: 0,
            begun: None,
        });
        Ok(())
    }

    /// Remembers what is about to be applied. A crash before [`Self::ends`] leaves both to choose from.
    pub(super) fn begins(&self, last: Option<&Applied>, new: &Applied) -> Result<(), String> {
        let before = last.map(|l| &l.config);
        if !self.written().as_ref().is_some_and(|w| w.goes_on(before)) {
            self.save(last, None)?;
        }
        let change = Change::of(before.map(AsRef::as_ref), new);
        self.add(&Line::Begins(Box::new(change)))?;
        if let Some(written) = &mut *self.written() {
            written.begun = Some(Arc::clone(&new.config));
        }
        Ok(())
    }

    /// What began was applied, and is what was applied last.
    pub(super) fn kept(&self, new: &Applied) -> Result<(), String> {
        let begun = self.take_begun();
        if !begun.is_some_and(|b| Arc::ptr_eq(&b, &new.config)) {
            return self.save(Some(new), None);
        }
        if self.add(&Line::Kept {}).is_err() {
            return self.save(Some(new), None);
        }
        if let Some(written) = &mut *self.written() {
            written.applied = Some(Arc::clone(&new.config));
        }
        Ok(())
    }

    /// It was not.
    pub(super) fn withdrawn(&self, last: Option<&Applied>) -> Result<(), String> {
        if self.take_begun().is_some() && self.add(&Line::Withdrawn {}).is_ok() {
            return Ok(());
        }
        self.save(last, None)
    }

    fn take_begun(&self) -> Option<Arc<Config>> {
        self.written().as_mut()?.begun.take()
    }

    /// By one call, so that whoever reads it meets all of it or an end without a line's end.
    fn add(&self, line: &Line) -> Result<(), String> {
        let (Some(path), mut written) = (&self.path, self.written()) else {
            return Ok(());
        };
        let added = a_line(line).and_then(|bytes| {
            let mut file = File::options().append(true).open(path)?;
            file.write_all(&bytes)?;
            Ok(bytes.len())
        });
        match (added, written.as_mut()) {
            (Ok(bytes), Some(written)) => {
                written.lines += bytes;
                written.count += 1;
            }
            (Ok(_), None) => {}
            (Err(e), _) => {
                // There may be half a line now.
                *written = None;
                return Err(cannot_write(path, &e));
            }
        }
        Ok(())
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
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let record: Record =
            serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|e| e.to_string())?;
        if record.instance != self.instance {
            let other = record.instance;
            return Err(format!(
                "it is of the instance {other}; give each its own --state-dir"
            ));
        }
        if record.boot != clock::boot() {
            return Err("it is from before the machine was booted".to_owned());
        }
        // One that was cut short was about something that had not begun.
        let lines = lines.filter(|line| line.ends_with(b"\n"));
        let lines: Result<_, _> = lines.map(serde_json::from_slice).collect();
        record.remembered(lines.map_err(|e| e.to_string())?, rest)
    }

    /// Nobody shall believe it.
    pub(super) fn discard(&self) {
        *self.written() = None;
        let Some(path) = &self.path else { return };
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                warn!("cannot remove {}: {e}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Written {
    /// Whether a line can follow that is about a change of this, and the file does not get too long by it.
    fn goes_on(&self, from: Option<&Arc<Config>>) -> bool {
        let same = match (&self.applied, from) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same && self.begun.is_none()
            && self.count < LINES
            && self.lines <= BYTES.max(self.record / 2)
    }
}

fn a_line(of: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(of).map_err(io::Error::from)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn cannot_write(path: &Path, e: &io::Error) -> String {
    format!("cannot write {}: {e}", path.display())
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
