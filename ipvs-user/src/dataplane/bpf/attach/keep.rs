//! What of an attachment outlives the process: the pins of its link and of its later stages.
//!
//! The kernel empties a map of programs when the last process that knows it is gone, unless it is pinned. So the stages of a
//! program are pinned before it is put in force, and those of the one before it forgotten after.

use std::{fs, io, path::PathBuf};

use aya::{
    maps::Map,
    programs::links::{FdLink, PinnedLink},
};
use ipvs_common::maps::STAGES;
use tracing::warn;

use super::{AttachError, IfaceProgram, no_link};
use crate::dataplane::bpf::{loader::Loader, sys};

/// Pins of stages that end when the new ones are in force.
#[derive(Default)]
pub(super) struct Stages {
    old: Vec<PathBuf>,
    new: Vec<PathBuf>,
}

impl Stages {
    /// The program that they belong to is.
    pub(super) fn in_force(mut self, interface: &str) {
        self.new.clear();
        for old in &self.old {
            match fs::remove_file(old) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    // It takes memory, and the next change tries again.
                    warn!(interface, "stages of a program that is gone: {e}");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Drop for Stages {
    /// The program did not get there.
    fn drop(&mut self) {
        for new in &self.new {
            let _ = fs::remove_file(new);
        }
    }
}

/// Pins the stages of a load: where its own programs find the later ones, and where those find each other.
pub(super) fn stages(
    loader: &Loader,
    interface: &str,
    program: &IfaceProgram,
) -> Result<Stages, AttachError> {
    let Some(instance) = loader.instance() else {
        return Ok(Stages::default());
    };
    let (old, new) = instance.stages(interface).map_err(failed(interface))?;
    let mut stages = Stages {
        old,
        new: Vec::new(),
    };
    for (ebpf, place) in [&program.ebpf, &program.later.0].into_iter().zip(new) {
        let Some(Map::ProgramArray(map)) = ebpf.map(STAGES) else {
            return Err(no_link(interface));
        };
        let pinned = map.pin(&place);
        pinned.map_err(|e| failed(interface)(io::Error::other(e)))?;
        stages.new.push(place);
    }
    Ok(stages)
}

/// Pins a new link, in the place of one that is left from an interface which is gone.
pub(super) fn link(loader: &Loader, interface: &str, link: FdLink) -> Result<FdLink, AttachError> {
    let Some(instance) = loader.instance() else {
        return Ok(link);
    };
    let place = instance.link(interface).map_err(failed(interface))?;
    match fs::remove_file(&place) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(interface)(e)),
        Ok(()) | Err(_) => {}
    }
    let pinned = link.pin(&place);
    let pinned = pinned.map_err(|e| failed(interface)(io::Error::other(e)))?;
    Ok(pinned.into())
}

/// The link that is pinned for an interface, if it is on this one.
pub(super) fn pinned(
    loader: &Loader,
    interface: &str,
    ifindex: u32,
) -> Result<Option<FdLink>, AttachError> {
    let Some(instance) = loader.instance() else {
        return Ok(None);
    };
    let place = instance.link(interface).map_err(failed(interface))?;
    match sys::link_interface(&place) {
        Ok(Some(on)) if on == ifindex => {}
        Ok(_) => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(interface)(e)),
    }
    let link = PinnedLink::from_pin(&place);
    let link = link.map_err(|e| failed(interface)(io::Error::other(e)))?;
    Ok(Some(link.into()))
}

/// Takes the program of a link off its interface, now: a link that is only closed goes in the kernel's own time.
pub(super) fn detach(loader: &Loader, interface: &str, link: FdLink) -> Result<(), AttachError> {
    drop(link);
    let Some(instance) = loader.instance() else {
        return Ok(());
    };
    let place = instance.link(interface).map_err(failed(interface))?;
    match sys::detach_link(&place) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(interface)(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes the program that is pinned for an interface off it, and forgets it.
pub(super) fn nothing(loader: &Loader, interface: &str) -> Result<(), AttachError> {
    let Some(instance) = loader.instance() else {
        return Ok(());
    };
    instance
        .remove_interface(interface)
        .map_err(failed(interface))
}

fn failed(interface: &str) -> impl FnOnce(io::Error) -> AttachError {
    let interface = interface.to_owned();
    move |source| AttachError::Pin { interface, source }
}
