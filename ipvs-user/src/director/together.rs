//! Services, knobs and timeouts changed in one step: all of it, or nothing.

use super::{Director, DirectorError, SetTimeoutsError};
use crate::{dataplane::TableError, model::Command, sysctl::SysctlError, timeouts::Timeouts};

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
    /// Carries out all of it, or none.
    pub fn carry_out(&mut self, changes: &Together) -> Result<(), TogetherError> {
        // What is against the rules is so before packets see anything of the rest.
        self.rehearse(&changes.commands)?;
        changes.timeouts.check().map_err(SetTimeoutsError::from)?;
        let before = self.controls_now();
        match self.carry_out_in_turn(changes) {
            Ok(()) => Ok(()),
            Err(cause) => match self.put_controls_back(&before) {
                Ok(()) => Err(cause),
                Err(undo) => Err(TogetherError::HalfDone {
                    cause: Box::new(cause),
                    undo,
                }),
            },
        }
    }

    /// Commands come last: they take back by themselves what they did, and what comes before can be put back.
    fn carry_out_in_turn(&mut self, changes: &Together) -> Result<(), TogetherError> {
        if !changes.sysctls.is_empty() {
            let sysctls = changes.sysctls.iter();
            self.set_sysctls(sysctls.map(|(name, value)| (name.as_str(), value.as_str())))?;
        }
        if changes.timeouts != Timeouts::default() {
            self.set_timeouts(changes.timeouts)?;
        }
        if let Some(rate) = changes.icmp_rate {
            self.adjust_settings(|s| s.icmp_rate = rate)?;
        }
        if !changes.commands.is_empty() {
            self.execute_all(&changes.commands)?;
        }
        Ok(())
    }
}
