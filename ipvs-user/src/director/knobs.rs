//! Knobs and timeouts: turning them, and the defences that some of them set up.

use ipvs_common::State;

use super::{CacheLimits, Director};
use crate::{
    dataplane::TableError,
    sysctl::{Defence, Knob, Knobs, SysctlError, SysctlView},
    timeouts::{TimeoutError, Timeouts},
};

/// Tells how many pages of memory are available.
pub type MemorySource = Box<dyn Fn() -> u64 + Send>;

/// What the knobs are at and what follows from it.
pub(super) struct Controls {
    knobs: Knobs,
    defence: Defence,
    memory: MemorySource,
}

impl Default for Controls {
    /// As in ip_vs, with memory without end.
    fn default() -> Self {
        Self {
            knobs: Knobs::default(),
            defence: Defence::default(),
            memory: Box::new(|| u64::MAX),
        }
    }
}

/// What knobs and timeouts were at.
#[derive(PartialEq, Eq)]
pub(super) struct Before {
    knobs: Knobs,
    defence: Defence,
    timeouts: [u32; State::SLOTS],
    icmp_rate: u32,
}

/// Timeouts were not set.
#[derive(Debug, thiserror::Error)]
pub enum SetTimeoutsError {
    #[error(transparent)]
    Range(#[from] TimeoutError),
    #[error(transparent)]
    Tables(#[from] TableError),
}

impl Director {
    /// Where the automatic defences learn of low memory. Without it there is always plenty.
    pub fn set_memory_source(&mut self, memory: MemorySource) {
        self.controls.memory = memory;
    }

    /// Sets one knob of ip_vs by its name, or changes nothing.
    pub fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        self.set_sysctls([(name, value)])
    }

    /// Sets all of these knobs in order, or none.
    pub fn set_sysctls<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), SysctlError> {
        let knobs = self.check_sysctls(changes)?;
        let mut defence = self.controls.defence;
        defence.settle(&knobs);
        Ok(self.turn(knobs, defence)?)
    }

    /// What the knobs would be at, or why one cannot be set.
    pub(super) fn check_sysctls<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Knobs, SysctlError> {
        let mut knobs = self.controls.knobs;
        for (name, value) in changes {
            knobs.set(name, value)?;
        }
        Ok(knobs)
    }

    /// Every knob, with its value and why it cannot be turned if it cannot.
    #[must_use]
    pub fn sysctls(&self) -> Vec<SysctlView> {
        self.controls.knobs.views()
    }

    /// What a knob is at.
    #[must_use]
    pub const fn knob(&self, knob: Knob) -> u32 {
        self.controls.knobs.get(knob)
    }

    /// Sets timeouts: all that are given, or none. Connections take them up with their next packet.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), SetTimeoutsError> {
        timeouts.check()?;
        Ok(self.adjust_settings(|settings| timeouts.put(settings))?)
    }

    /// Once a second: sets up the automatic defences or takes them down, as memory is.
    pub(super) fn defend(&mut self) -> Result<(), TableError> {
        let (mut knobs, mut defence) = (self.controls.knobs, self.controls.defence);
        defence.tick(&mut knobs, (self.controls.memory)());
        if (knobs, defence) == (self.controls.knobs, self.controls.defence) {
            return Ok(());
        }
        self.turn(knobs, defence)
    }

    /// Takes up knobs as they were; names that this version does not know are left out.
    pub(super) fn resume_knobs(&mut self, restored: &[(String, u32)]) -> Result<(), TableError> {
        let mut knobs = self.controls.knobs;
        for (name, value) in restored {
            if let Err(e) = knobs.set(name, &value.to_string()) {
                tracing::warn!("a knob of the running datapath: {e}");
            }
        }
        let mut defence = self.controls.defence;
        defence.settle(&knobs);
        self.turn(knobs, defence)
    }

    /// To go back to.
    pub(super) fn controls_now(&self) -> Before {
        Before {
            knobs: self.controls.knobs,
            defence: self.controls.defence,
            timeouts: self.settings().timeouts,
            icmp_rate: self.settings().icmp_rate,
        }
    }

    pub(super) fn put_controls_back(&mut self, before: &Before) -> Result<(), TableError> {
        if *before == self.controls_now() {
            return Ok(());
        }
        self.adjust_settings(|settings| {
            settings.timeouts = before.timeouts;
            settings.icmp_rate = before.icmp_rate;
        })?;
        self.turn(before.knobs, before.defence)
    }

    /// Noted first: a note that fails leaves the datapath as it is, and whoever comes after a crash goes by the notes.
    fn turn(&mut self, knobs: Knobs, defence: Defence) -> Result<(), TableError> {
        self.note_knobs(&knobs)?;
        if let Err(e) = self.adjust_settings(|settings| knobs.write(&defence, settings)) {
            let before = self.controls.knobs;
            return Err(match self.note_knobs(&before) {
                Ok(()) => e,
                Err(undo) => {
                    let both = format!(
                        "{}; and the notes of before could not be put back: {undo}",
                        e.source
                    );
                    TableError {
                        source: both.into(),
                        ..e
                    }
                }
            });
        }
        self.controls.knobs = knobs;
        self.controls.defence = defence;
        self.set_drop_entry(defence.drop_entry());
        self.follow_reals();
        self.set_cache_limits(CacheLimits {
            lblc_expiration: knobs.get(Knob::LblcExpiration).into(),
            lblcr_expiration: knobs.get(Knob::LblcrExpiration).into(),
            ..self.cache_limits()
        });
        Ok(())
    }

    fn note_knobs(&mut self, knobs: &Knobs) -> Result<(), TableError> {
        let records = self.knob_records(knobs);
        self.tables.note(self.dataplane.as_mut(), &records)
    }
}
