//! The file that says what was changed, and so what is to be put back. Written before each change is made.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{step::Step, wanted::Wanted};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// The network namespace ([`crate::net::netns_number`]).
    pub(super) netns: u64,
    pub(super) wanted: Wanted,
    /// In the order in which they were made.
    pub(super) steps: Vec<Step>,
}

pub(super) struct StateFile {
    path: PathBuf,
    /// One command at a time works with the files of a directory.
    _lock: Option<Flock<File>>,
}

impl StateFile {
    /// Makes its directory, and keeps other commands out.
    pub(super) fn lock(path: PathBuf) -> Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let failed = || format!("--state {}", path.display());
        fs::create_dir_all(directory).with_context(failed)?;
        let handle = File::open(directory).with_context(failed)?;
        let lock = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                bail!("another `ipvsd real-server` is at work; wait for it, then once more")
            }
            Err((_, e)) => return Err(e).with_context(failed),
        };
        Ok(Self { path, _lock: lock })
    }

    /// To look at only.
    pub(super) const fn look(path: PathBuf) -> Self {
        Self { path, _lock: None }
    }

    /// What is written there; it must be of this network namespace.
    pub(super) fn read(&self) -> Result<Option<State>> {
        let shown = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("--state {shown}")),
        };
        let state: State = serde_json::from_str(&text).with_context(|| {
            format!("--state {shown} is not what was written there; look at it, and remove it")
        })?;
        if state.netns != crate::net::netns_number() {
            bail!(
                "--state {shown} is of another network namespace: give this one a file of its own (--state), or remove it if \
                 that namespace is gone"
            );
        }
        Ok(Some(state))
    }

    pub(super) fn write(&self, state: &State) -> Result<()> {
        let shown = self.path.display();
        let new = self.path.with_extension("new");
        let written = File::create(&new).and_then(|mut file| {
            serde_json::to_writer_pretty(&mut file, state)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        });
        written.with_context(|| format!("--state {shown}"))
    }

    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("--state {}", self.path.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
