//! Commands that failed or printed something: the recording tells them apart from where they were given.

use crate::trace::{Said, Trace, What};

pub(super) struct Outputs<'a> {
    recorded: Vec<&'a Said>,
    /// Commands that are still to be given.
    to_come: Vec<&'a str>,
}

/// How a command may have come out.
pub(super) struct Outcomes<'a> {
    /// It succeeded and printed nothing.
    pub(super) silent: bool,
    pub(super) recorded: Option<&'a Said>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let given = trace.steps.iter().filter_map(|s| match &s.what {
            What::Ctl { cmd } => Some(cmd),
            What::In(_)
            | What::Out(_)
            | What::Show { .. }
            | What::Sysctl { .. }
            | What::Sleep { .. } => None,
        });
        Self {
            recorded: trace.outputs.iter().collect(),
            to_come: trace
                .config
                .iter()
                .chain(given)
                .map(String::as_str)
                .collect(),
        }
    }

    /// Of a command that is given now. One that is given more often than it failed may have succeeded this time.
    pub(super) fn of(&mut self, command: &str) -> Outcomes<'a> {
        let times = self.to_come.iter().filter(|c| **c == command).count();
        if let Some(at) = self.to_come.iter().position(|c| *c == command) {
            self.to_come.remove(at);
        }
        let recorded = self.recorded.iter().filter(|s| s.cmd == command);
        let outputs = recorded.clone().count();
        Outcomes {
            silent: times > outputs || outputs == 0,
            recorded: recorded.copied().next(),
        }
    }

    pub(super) fn seen(&mut self, said: &Said) {
        if let Some(at) = self.recorded.iter().position(|s| *s == said) {
            self.recorded.remove(at);
        }
    }

    /// What was recorded of commands that were not given.
    pub(super) fn rest(&self) -> &[&'a Said] {
        &self.recorded
    }
}
