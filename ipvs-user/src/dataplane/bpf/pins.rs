//! What one director leaves in the machine's BPF file system, and where:
//!
//! ```text
//! ipvs/INSTANCE/NOTES               what the daemon set beside the tables
//! ipvs/INSTANCE/current             names the generation in force
//! ipvs/INSTANCE/previous            while a migration is not done: the one that it came from
//! ipvs/INSTANCE/swapping          while programs go over from that one: the generation in force
//! ipvs/INSTANCE/vABI-HASH/…         a generation: tables of one layout and size, their LEDGER and LAYOUT
//! ipvs/INSTANCE/links/IF            the link that keeps the program on an interface
//! ipvs/INSTANCE/stages/IF/N         the later stages of that program, which the kernel would forget
//! ```
//!
//! The file system takes no dots in names. Knows nothing of what is in a map.

mod standing;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use tracing::warn;

use super::{bpffs::Bpffs, sys};
pub(super) use standing::Standing;

const TOP: &str = "ipvs";
const LINKS: &str = "links";
const STAGES: &str = "stages";
const CURRENT: &str = "current";
/// How often the place of an instance may go while it is being locked.
const ATTEMPTS: usize = 16;
const PREVIOUS: &str = "previous";
const SWAPPING: &str = "swapping";
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
        let locked = settled(name, || {
            let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
            let top = machine.directory(TOP).map_err(failed(TOP))?;
            match top.directory(&escaped(name)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Found::Gone),
                dir => Self::locked(name, machine, dir.map_err(failed(name))?),
            }
        });
        locked?.ok_or_else(|| PinError::Running(name.to_owned()))
    }

    /// The same of one that is there; `None`: there is none.
    pub fn lock_existing(name: &str) -> Result<Option<Self>, PinError> {
        settled(name, || {
            let machine = Bpffs::of_the_machine().map_err(PinError::NoFileSystem)?;
            let place = machine.existing(TOP);
            let place = place.and_then(|top| top.existing(&escaped(name)));
            match place {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
                dir => Self::locked(name, machine, dir.map_err(failed(name))?),
            }
        })
    }

    fn locked(name: &str, machine: Bpffs, dir: Bpffs) -> Result<Found<Self>, PinError> {
        let handle = fs::File::open(dir.path("")).map_err(failed(name))?;
        let lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, e)| {
            if e == nix::errno::Errno::EWOULDBLOCK {
                return PinError::Running(name.to_owned());
            }
            failed(name)(e.into())
        })?;
        let ours = lock.metadata().map_err(failed(name))?;
        match fs::metadata(machine.path(TOP).join(escaped(name))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
            there => {
                let there = there.map_err(failed(name))?;
                if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
                    return Ok(Found::Gone);
                }
            }
        }
        Ok(Found::Locked(Self {
            name: name.to_owned(),
            machine,
            dir,
            _lock: lock,
        }))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn notes(&self) -> PathBuf {
        self.dir.path(NOTES)
    }

    /// The generation in force.
    pub fn current(&self) -> Result<Option<String>, PinError> {
        self.named(CURRENT)
    }

    /// The one that a migration came from. Between two renames it may be the one in force, which is none.
    fn previous(&self) -> Result<Option<String>, PinError> {
        let current = self.current()?;
        Ok(self
            .named(PREVIOUS)?
            .filter(|p| Some(p) != current.as_ref()))
    }

    /// A generation by a link to it. An error is not an answer: what has no name is removed.
    fn named(&self, link: &str) -> Result<Option<String>, PinError> {
        let failed = |e| failed(&self.name)(e);
        let target = match fs::read_link(self.dir.path(link)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            target => target.map_err(failed)?,
        };
        match fs::metadata(self.dir.path(&target)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
            Ok(_) => Ok(target.to_str().map(str::to_owned)),
        }
    }

    /// From here on this generation is the one to come back to; the one before it too, until it is removed. What is between
    /// the two renames, the next start takes for nothing done.
    pub fn set_current(&self, generation: &str) -> Result<(), PinError> {
        let failed = || failed(&self.name);
        let current = self.current()?;
        if current.as_deref() == Some(generation) {
            return Ok(());
        }
        if let Some(before) = current {
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

    /// Interfaces that a link is pinned for.
    pub fn interfaces(&self) -> Result<Vec<String>, PinError> {
        match self.dir.existing(LINKS) {
            Ok(links) => {
                let names = links.names().map_err(failed(&self.name))?;
                Ok(names.iter().map(|n| unescaped(n)).collect())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(failed(&self.name)(e)),
        }
    }

    pub(super) fn link(&self, interface: &str) -> io::Result<PathBuf> {
        self.dir.directory(LINKS)?;
        Ok(self.dir.path(LINKS).join(escaped(interface)))
    }

    /// Pins of the later stages on an interface, and the next free names.
    pub(super) fn stages(&self, interface: &str) -> io::Result<(Vec<PathBuf>, [PathBuf; 2])> {
        let name = escaped(interface);
        let dir = self.dir.directory(STAGES)?.directory(&name)?;
        let place = self.dir.path(STAGES).join(&name);
        let names = dir.names()?;
        let last = names.iter().filter_map(|n| n.parse::<u64>().ok()).max();
        let last = last.unwrap_or(0);
        let next = [last + 1, last + 2].map(|n| place.join(n.to_string()));
        Ok((names.iter().map(|n| place.join(n)).collect(), next))
    }

    /// Takes the program of an interface off it, now (a link that only loses its name goes in the kernel's own time), and the
    /// names of its link and stages away.
    pub(super) fn remove_interface(&self, interface: &str) -> io::Result<()> {
        let name = escaped(interface);
        let link = self.dir.path(LINKS).join(&name);
        if let Err(e) = absent_is_fine(sys::detach_link(&link)) {
            warn!(interface, "detaching: {e}");
        }
        absent_is_fine(fs::remove_file(link))?;
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

    /// Takes the programs off all interfaces; the rest is still there, the notes above all.
    pub fn remove_interfaces(&self) -> Result<(), PinError> {
        for interface in self.interfaces()? {
            self.remove_interface(&interface)
                .map_err(failed(&self.name))?;
        }
        Ok(())
    }

    /// Takes everything away. First the names of the tables, so that nobody goes on with half of them.
    pub fn remove(&self) -> Result<(), PinError> {
        self.remove_interfaces()?;
        self.unlink(PREVIOUS)?;
        self.unlink(SWAPPING)?;
        self.unlink(CURRENT)?;
        let top = self.machine.path(TOP);
        remove_all(&top.join(escaped(&self.name))).map_err(failed(&self.name))?;
        // The place of all instances goes with the last one.
        let _ = fs::remove_dir(top);
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<(), PinError> {
        absent_is_fine(fs::remove_file(self.dir.path(name))).map_err(failed(&self.name))
    }
}

/// What an attempt to lock a place came to.
enum Found<T> {
    Locked(T),
    Nothing,
    /// Whoever held the lock removed the place, or that of all instances, before it was locked. There may be another one by now.
    Gone,
}

/// `None`: there is nothing.
fn settled<T>(
    name: &str,
    mut attempt: impl FnMut() -> Result<Found<T>, PinError>,
) -> Result<Option<T>, PinError> {
    for _ in 0..ATTEMPTS {
        match attempt()? {
            Found::Locked(found) => return Ok(Some(found)),
            Found::Nothing => return Ok(None),
            Found::Gone => {}
        }
    }
    Err(PinError::Running(name.to_owned()))
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
    fn a_place_that_went_while_it_was_locked_is_looked_for_again() {
        let mut attempts = [Found::Gone, Found::Gone, Found::Locked(7)].into_iter();
        let found = settled("blue", || Ok(attempts.next().unwrap_or(Found::Nothing)));
        assert_eq!(found.unwrap(), Some(7));
        let mut attempts = [Found::Gone].into_iter();
        let found = settled::<()>("blue", || Ok(attempts.next().unwrap_or(Found::Nothing)));
        assert_eq!(found.unwrap(), None);
        let busy = settled::<()>("blue", || Ok(Found::Gone));
        assert!(matches!(busy, Err(PinError::Running(name)) if name == "blue"));
    }

    #[test]
    fn names_come_back_from_what_the_file_system_takes() {
        for name in ["eth0", "vif1.0", "a/b", "50%", "%41", "ü", ""] {
            let taken = escaped(name);
            assert!(!taken.contains(['.', '/']), "{taken}");
            assert_eq!(unescaped(&taken), name);
        }
    }
}
