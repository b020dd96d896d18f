//! What one director leaves in the machine's BPF file system, and where:
//!
//! ```text
//! ipvs/INSTANCE/NOTES               what the daemon set beside the tables
//! ipvs/INSTANCE/current             names the generation in force
//! ipvs/INSTANCE/previous            while a migration is not done: the one that it came from
//! ipvs/INSTANCE/vABI-HASH/…         a generation: tables of one layout and size, their LEDGER and LAYOUT
//! ipvs/INSTANCE/links/IF            the link that keeps the program on an interface
//! ipvs/INSTANCE/stages/IF/N         the later stages of that program, which the kernel would forget
//! ```
//!
//! The file system takes no dots in names. Knows nothing of what is in a map.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{bpffs::Bpffs, sys};

const TOP: &str = "ipvs";
const LINKS: &str = "links";
const STAGES: &str = "stages";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
pub(super) const NOTES: &str = "NOTES";

/// Something is in the way of what outlives the process.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(
        "no BPF file system at /sys/fs/bpf, and none can be mounted: {0}; mount one (`mount -t bpf bpf /sys/fs/bpf`)"
    )]
    NoFileSystem(#[source] io::Error),
    #[error("another ipvsd runs instance {0}: stop it, or give this one another name (--instance)")]
    Running(String),
    #[error("pinned under ipvs/{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
}

/// The pins of one director. Only one process holds them.
pub struct Instance {
    name: String,
    machine: Bpffs,
    dir: Bpffs,
    /// Held as long as this lives.
    _lock: Flock<fs::File>,
}

impl Instance {
    /// Makes the place if it is not there, and locks it.
    pub fn lock(name: &str) -> Result<Self, PinError> {
        let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
        let top = machine.directory(TOP).map_err(failed(TOP))?;
        let dir = top.directory(&escaped(name)).map_err(failed(name))?;
        Self::locked(name, machine, dir)
    }

    /// The same of one that is there; `None`: there is none.
    pub fn lock_existing(name: &str) -> Result<Option<Self>, PinError> {
        let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
        let Ok(top) = machine.existing(TOP) else {
            return Ok(None);
        };
        match top.existing(&escaped(name)) {
            Ok(dir) => Self::locked(name, machine, dir).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(name)(e)),
        }
    }

    fn locked(name: &str, machine: Bpffs, dir: Bpffs) -> Result<Self, PinError> {
        let handle = fs::File::open(dir.path("")).map_err(failed(name))?;
        let lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, e)| {
            if e == nix::errno::Errno::EWOULDBLOCK {
                return PinError::Running(name.to_owned());
            }
            failed(name)(e.into())
        })?;
        Ok(Self {
            name: name.to_owned(),
            machine,
            dir,
            _lock: lock,
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn notes(&self) -> PathBuf {
        self.dir.path(NOTES)
    }

    /// The generation in force.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        self.named(CURRENT)
    }

    /// The one that a migration came from.
    #[must_use]
    pub fn previous(&self) -> Option<String> {
        self.named(PREVIOUS)
    }

    fn named(&self, link: &str) -> Option<String> {
        let name = fs::read_link(self.dir.path(link)).ok()?;
        let name = name.to_str()?.to_owned();
        self.dir.path(&name).is_dir().then_some(name)
    }

    /// From here on this generation is the one to come back to; the one before it too, until it is removed.
    pub fn set_current(&self, generation: &str) -> Result<(), PinError> {
        let failed = || failed(&self.name);
        if let Some(before) = self.current().filter(|c| c != generation) {
            self.replace_link(PREVIOUS, &before).map_err(failed())?;
        }
        self.replace_link(CURRENT, generation).map_err(failed())
    }

    fn replace_link(&self, name: &str, target: &str) -> io::Result<()> {
        let new = self.dir.path(format!("{name}-new"));
        let _ = fs::remove_file(&new);
        std::os::unix::fs::symlink(target, &new)?;
        fs::rename(new, self.dir.path(name))
    }

    pub(super) fn generation(&self, name: &str) -> Result<Bpffs, PinError> {
        self.dir.directory(name).map_err(failed(&self.name))
    }

    /// The migration is done.
    pub fn forget_previous(&self) -> Result<(), PinError> {
        if let Some(previous) = self.previous() {
            remove_all(&self.dir.path(previous)).map_err(failed(&self.name))?;
        }
        let link = fs::remove_file(self.dir.path(PREVIOUS));
        absent_is_fine(link).map_err(failed(&self.name))
    }

    /// Removes generations that were never finished.
    pub fn sweep(&self) -> Result<(), PinError> {
        let known = [self.current(), self.previous()];
        let names = self.dir.names().map_err(failed(&self.name))?;
        let made = names
            .iter()
            .filter(|n| n.starts_with('v') && n.contains('-'));
        for name in made.filter(|n| !known.iter().flatten().any(|k| k == *n)) {
            remove_all(&self.dir.path(name)).map_err(failed(&self.name))?;
        }
        Ok(())
    }

    /// Interfaces that a link is pinned for.
    pub fn interfaces(&self) -> Result<Vec<String>, PinError> {
        match self.dir.existing(LINKS) {
            Ok(links) => {
                let names = links.names().map_err(failed(&self.name))?;
                Ok(names.iter().map(|n| unescaped(n)).collect())
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn link(&self, interface: &str) -> io::Result<PathBuf> {
        self.dir.directory(LINKS)?;
        Ok(self.dir.path(LINKS).join(escaped(interface)))
    }

    /// Pins of the later stages on an interface, and the next free name.
    pub(super) fn stages(&self, interface: &str) -> io::Result<(Vec<PathBuf>, PathBuf)> {
        let name = escaped(interface);
        let dir = self.dir.directory(STAGES)?.directory(&name)?;
        let place = self.dir.path(STAGES).join(&name);
        let names = dir.names()?;
        let last = names.iter().filter_map(|n| n.parse::<u64>().ok()).max();
        let next = place.join((last.unwrap_or(0) + 1).to_string());
        Ok((names.iter().map(|n| place.join(n)).collect(), next))
    }

    /// Takes the link and the stages of an interface away: where no process holds them, the program is gone.
    pub(super) fn remove_interface(&self, interface: &str) -> io::Result<()> {
        let name = escaped(interface);
        absent_is_fine(fs::remove_file(self.dir.path(LINKS).join(&name)))?;
        absent_is_fine(remove_all(&self.dir.path(STAGES).join(&name)))
    }

    /// Whether a program of it is on an interface.
    pub fn alive(&self) -> Result<bool, PinError> {
        for interface in self.interfaces()? {
            let link = self.link(&interface).map_err(failed(&self.name))?;
            if sys::link_interface(&link).is_ok_and(|on| on.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes everything away.
    pub fn remove(&self) -> Result<(), PinError> {
        for interface in self.interfaces()? {
            self.remove_interface(&interface)
                .map_err(failed(&self.name))?;
        }
        let top = self.machine.path(TOP);
        remove_all(&top.join(escaped(&self.name))).map_err(failed(&self.name))?;
        // The place of all instances goes with the last one.
        let _ = fs::remove_dir(top);
        Ok(())
    }
}

/// Names of all instances.
pub fn instances() -> Result<Vec<String>, PinError> {
    let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
    let Ok(top) = machine.existing(TOP) else {
        return Ok(Vec::new());
    };
    let names = top.names().map_err(failed(TOP))?;
    Ok(names.iter().map(|n| unescaped(n)).collect())
}

/// The pins of an instance, to look at only.
pub(super) fn peek(name: &str) -> Result<Bpffs, PinError> {
    let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
    let top = machine.existing(TOP).map_err(failed(TOP))?;
    top.existing(&escaped(name)).map_err(failed(name))
}

/// The kernel's numbers of the links that an instance pinned, whoever holds it.
pub(super) fn link_ids_of(name: &str) -> Result<Vec<u32>, PinError> {
    let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
    let place = machine.path(TOP).join(escaped(name)).join(LINKS);
    let Ok(entries) = fs::read_dir(place) else {
        return Ok(Vec::new());
    };
    let links = entries.filter_map(|e| sys::link_id(&e.ok()?.path()).ok());
    Ok(links.collect())
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> PinError {
    let what = what.to_owned();
    move |source| PinError::Io { what, source }
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes a directory with all that is in it.
fn remove_all(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// A name as the file system takes it.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|c| std::str::from_utf8(c).ok());
        if let Some(code) = code.and_then(|c| u8::from_str_radix(c, 16).ok()) {
            bytes.push(code);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_what_the_file_system_takes() {
        for name in ["eth0", "vif1.0", "a/b", "50%", "%41", "ü", ""] {
            let taken = escaped(name);
            assert!(!taken.contains(['.', '/']), "{taken}");
            assert_eq!(unescaped(&taken), name);
        }
    }
}
