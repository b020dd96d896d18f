//! Services, knobs and timeouts changed in one step: all of it, or nothing.

use super::{Director, DirectorError, Rehearsed, SetTimeoutsError};
use crate::{
    dataplane::TableError,
    model::{Command, Model},
    sysctl::SysctlError,
    timeouts::Timeouts,
};

/// Changes that belong together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Together {
    pub commands: Vec<Command>,
    /// Names and values.
    pub sysctls: Vec<(String, String)>,
    pub timeouts: Timeouts,
    /// ICMP errors that each CPU may send in a second; 0: no limit.
    pub icmp_rate: Option<u32>,
}

/// Changes were not carried out.
#[derive(Debug, thiserror::Error)]
pub enum TogetherError {
    #[error(transparent)]
    Commands(#[from] DirectorError),
    #[error(transparent)]
    Sysctls(#[from] SysctlError),
    #[error(transparent)]
    Timeouts(#[from] SetTimeoutsError),
    #[error(transparent)]
    Tables(#[from] TableError),
    /// The tables are between two states.
    #[error("{cause}; and the knobs and timeouts of before could not be put back: {undo}")]
    HalfDone {
        cause: Box<TogetherError>,
        undo: TableError,
    },
}

impl Together {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Director {
    /// Everything that can be known to refuse the changes before any of them is made. Returns what the commands come to.
    pub fn check(&self, changes: &Together) -> Result<Rehearsed, TogetherError> {
        let rehearsed = self.rehearse(&changes.commands)?;
        changes.timeouts.check().map_err(SetTimeoutsError::from)?;
        self.check_sysctls(named(&changes.sysctls))?;
        Ok(rehearsed)
    }

    /// Carries out all of it, or none. Returns the model of before.
    pub fn carry_out(&mut self, changes: &Together) -> Result<Model, TogetherError> {
        // What is against the rules is so before packets see anything of the rest.
        let rehearsed = self.check(changes)?;
        let before = self.controls_now();
        match self.carry_out_in_turn(changes, rehearsed) {
            Ok(model) => Ok(model),
            Err(cause) => match self.put_controls_back(&before) {
                Ok(()) => Err(cause),
                Err(undo) => Err(TogetherError::HalfDone {
                    cause: Box::new(cause),
                    undo,
                }),
            },
        }
    }

    /// Commands come last: they take back by themselves what they did, and what comes before can be put back. None of that
    /// changes the model.
    fn carry_out_in_turn(
        &mut self,
        changes: &Together,
        rehearsed: Rehearsed,
    ) -> Result<Model, TogetherError> {
        if !changes.sysctls.is_empty() {
            self.set_sysctls(named(&changes.sysctls))?;
        }
        if changes.timeouts != Timeouts::default() {
            self.set_timeouts(changes.timeouts)?;
        }
        if let Some(rate) = changes.icmp_rate {
            self.adjust_settings(|s| s.icmp_rate = rate)?;
        }
        if changes.commands.is_empty() {
            // It is as it was.
            return Ok(rehearsed.model);
        }
        Ok(self.perform(rehearsed)?)
    }
}

fn named(sysctls: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    sysctls
        .iter()
        .map(|(n, value)| (n.as_str(), value.as_str()))
}
