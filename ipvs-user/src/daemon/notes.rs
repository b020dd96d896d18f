//! What the daemon set beside the tables, written down with the pins: whoever comes next goes on with it, or undoes it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    dataplane::bpf::{Instance, LoadError, NotePad},
    net::{NextHop, Setting},
    sync,
};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// Where the daemon is, or was, asked.
    pub(super) socket: PathBuf,
    /// The network namespace.
    pub(super) netns: u64,
    /// Version of the daemon that wrote this.
    pub(super) daemon: String,
    pub(super) interfaces: BTreeMap<String, InterfaceNote>,
    /// Neighbours that the kernel keeps for us.
    pub(super) neighbours: Vec<NextHop>,
    /// Sync daemons that run.
    pub(super) sync: Vec<sync::Config>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct InterfaceNote {
    pub(super) ifindex: u32,
    pub(super) settings: Vec<Setting>,
}

/// The notes and where they are kept.
pub(super) struct Keeper {
    pad: NotePad,
    notes: Notes,
}

impl Keeper {
    /// With what stands there; what cannot be read is as good as nothing.
    pub(super) fn open(instance: &Instance) -> Result<Self, LoadError> {
        let pad = NotePad::open(instance)?;
        let text = pad.read()?;
        let notes = if text.is_empty() {
            Notes::default()
        } else {
            serde_json::from_str(&text).unwrap_or_else(|e| {
                warn!("notes of the daemon before: {e}");
                Notes::default()
            })
        };
        Ok(Self { pad, notes })
    }

    pub(super) const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Changes the notes, and writes them if that makes a difference.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Notes)) {
        let before = self.notes.clone();
        change(&mut self.notes);
        if self.notes == before {
            return;
        }
        let written = serde_json::to_string(&self.notes)
            .map_err(|e| e.to_string())
            .and_then(|text| self.pad.write(&text).map_err(|e| e.to_string()));
        if let Err(e) = written {
            warn!("cannot note what was set, which `ipvsd detach` would go by: {e}");
        }
    }
}
