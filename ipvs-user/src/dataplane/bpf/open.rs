//! Opens the tables among the pins of an instance: those that are there, or new ones.

use std::sync::Arc;

use ipvs_common::maps::Capacities;

use super::{
    BpfDataplane, Clock, LoadError,
    blob::Blob,
    check_memory,
    layout::{LAYOUT, Layout},
    loader::{Loader, Place},
    pins::{Instance, NOTES},
};

/// What stood among the pins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Nothing,
    /// Tables of this program's layout, and of the wished sizes.
    Fitting,
    /// Tables of another layout or other sizes: the generation of this name.
    Other(String),
}

impl BpfDataplane {
    /// The tables of an instance; they are not the ones to come back to before [`Instance::set_current`] says so.
    pub fn open(
        object: &[u8],
        capacities: Capacities,
        instance: &Arc<Instance>,
    ) -> Result<(Self, Found), LoadError> {
        let layout = Layout::here(capacities);
        let generation = layout.generation();
        instance.sweep()?;
        let found = match instance.current() {
            None => Found::Nothing,
            Some(current) if current == generation => Found::Fitting,
            Some(other) => Found::Other(other),
        };
        if found != Found::Fitting {
            check_memory(capacities)?;
        }
        let place = Place::Pinned(Arc::clone(instance), generation.clone());
        let loader = Loader::new(object, capacities, Clock::Kernel, place)?;
        let dataplane = Self::over(loader, Clock::Kernel)?;
        let dir = instance.generation(&generation)?;
        let mut text = Blob::open_or_create(LAYOUT, &dir.path(LAYOUT))?;
        if found != Found::Fitting {
            text.write(&layout.text())?;
        }
        Ok((dataplane, found))
    }

    /// Name of the generation that tables of these sizes are.
    #[must_use]
    pub fn generation(capacities: Capacities) -> String {
        Layout::here(capacities).generation()
    }
}

/// A text that is kept with the pins of an instance.
pub struct NotePad(Blob);

impl NotePad {
    pub fn open(instance: &Instance) -> Result<Self, LoadError> {
        Ok(Self(Blob::open_or_create(NOTES, &instance.notes())?))
    }

    /// Empty if nothing was written yet.
    pub fn read(&self) -> Result<String, LoadError> {
        self.0.read()
    }

    /// All of it, or nothing.
    pub fn write(&mut self, text: &str) -> Result<(), LoadError> {
        self.0.write(text)
    }
}
