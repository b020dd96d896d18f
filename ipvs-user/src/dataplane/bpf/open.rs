//! Opens the tables among the pins of an instance: those that are there, or new ones.

use std::{path::Path, sync::Arc};

use ipvs_common::{Settings, maps::Capacities};

use super::{
    BpfDataplane, Clock, Dataplane as _, LoadError,
    blob::Blob,
    check_memory,
    layout::{LAYOUT, Layout},
    loader::{Loader, Place},
    migrate::Migration,
    pins::{self, Instance, NOTES},
};

/// Tables among the pins.
pub struct Opened {
    pub dataplane: BpfDataplane,
    /// What there is to take over from tables of another layout, or of other sizes.
    pub migration: Option<Migration>,
}

impl BpfDataplane {
    /// The tables of an instance: those in force, or new ones, which are not the ones to come back to before
    /// [`Instance::set_current`] says so.
    pub fn open(
        object: &[u8],
        capacities: Capacities,
        instance: &Arc<Instance>,
    ) -> Result<Opened, LoadError> {
        let layout = Layout::here(capacities);
        let generation = layout.generation();
        instance.sweep()?;
        let current = instance.current();
        let is_new = current.as_ref() != Some(&generation);
        if is_new {
            check_memory(capacities)?;
        }
        let place = Place::Pinned(Arc::clone(instance), generation.clone());
        let loader = Loader::new(object, capacities, Clock::Kernel, place)?;
        let mut dataplane = Self::over(loader, Clock::Kernel)?;
        let dir = instance.generation(&generation)?;
        if is_new {
            layout.write_to(&dir.path(""))?;
        }
        let from = if is_new { current } else { instance.previous() };
        let Some(from) = from else {
            return Ok(Opened {
                dataplane,
                migration: None,
            });
        };
        let mut migration = Migration::new(instance, &from, &dir, capacities, !is_new)?;
        if is_new {
            dataplane.begin_with(&mut migration)?;
        }
        Ok(Opened {
            dataplane,
            migration: Some(migration),
        })
    }

    /// Everything as it stands in the old tables. The configuration is made anew of the ledger.
    fn begin_with(&mut self, migration: &mut Migration) -> Result<(), LoadError> {
        let (ledger, settings) = migration.configuration(Settings::with_hz(self.hz))?;
        let failed = |e: crate::dataplane::TableError| LoadError::Migration(Box::new(e));
        self.put_settings(&settings).map_err(failed)?;
        if !ledger.is_empty() {
            self.put_ledger(&ledger).map_err(failed)?;
        }
        migration.sync(false)?;
        Ok(())
    }

    /// Name of the generation that tables of these sizes are.
    #[must_use]
    pub fn generation(capacities: Capacities) -> String {
        Layout::here(capacities).generation()
    }
}

impl Layout {
    /// Reads the description that is pinned in a directory.
    pub fn read_from(dir: &Path) -> Result<Self, LoadError> {
        let text = Blob::open(LAYOUT, &dir.join(LAYOUT))?.read()?;
        serde_json::from_str(&text).map_err(|e| LoadError::Layout(e.to_string()))
    }

    /// Pins this description in a directory.
    pub fn write_to(&self, dir: &Path) -> Result<(), LoadError> {
        Blob::open_or_create(LAYOUT, &dir.join(LAYOUT))?.write(&self.text())
    }
}

/// A text that is kept with the pins of an instance.
pub struct NotePad(Blob);

impl NotePad {
    pub fn open(instance: &Instance) -> Result<Self, LoadError> {
        Ok(Self(Blob::open_or_create(NOTES, &instance.notes())?))
    }

    /// Reads that of an instance, whoever holds it.
    pub fn peek(instance: &str) -> Result<String, LoadError> {
        let dir = pins::peek(instance)?;
        Blob::open(NOTES, &dir.path(NOTES))?.read()
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
