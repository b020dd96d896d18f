//! Where our director is meant to differ from the kernel: `tests/oracle/expectations.toml` says it, with reasons.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{run::Difference, scenario::Scenario};

const FILE: &str = "expectations.toml";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    #[serde(default)]
    intended: Vec<Intended>,
}

/// A difference that is meant: all that is given must fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Intended {
    /// Only in scenarios about all of these.
    #[serde(default)]
    behaviours: Vec<String>,
    /// And about one of these at least.
    #[serde(default)]
    any: Vec<String>,
    /// `frames`, or the beginning of a command.
    subject: String,
    /// Only where the difference, as it is told, contains this.
    what: Option<String>,
    /// And none of these.
    #[serde(default)]
    never: Vec<String>,
    /// Only on kernels whose release begins like this.
    kernel: Option<String>,
    reason: String,
}

impl Expectations {
    pub fn load() -> Result<Self> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("oracle");
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::read(&text).with_context(|| path.display().to_string())
    }

    fn read(text: &str) -> Result<Self> {
        let this: Self = toml::from_str(text)?;
        for entry in &this.intended {
            let about = !entry.behaviours.is_empty() || !entry.any.is_empty();
            let narrow = about && (entry.what.is_some() || !entry.never.is_empty());
            ensure!(narrow, "too much may differ in {}", entry.subject);
        }
        Ok(this)
    }

    /// Why this difference is meant, if it is.
    #[must_use]
    pub fn reason(&self, kernel: &str, scenario: &Scenario, found: &Difference) -> Option<&str> {
        let fits = |entry: &&Intended| {
            found.subject.starts_with(&entry.subject)
                && entry
                    .behaviours
                    .iter()
                    .all(|b| scenario.behaviours.contains(b))
                && (entry.any.is_empty()
                    || entry.any.iter().any(|b| scenario.behaviours.contains(b)))
                && entry
                    .what
                    .as_ref()
                    .is_none_or(|what| found.what.contains(what))
                && !entry.never.iter().any(|part| found.what.contains(part))
                && entry
                    .kernel
                    .as_ref()
                    .is_none_or(|release| kernel.starts_with(release))
        };
        self.intended
            .iter()
            .find(fits)
            .map(|entry| entry.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[intended]]\nbehaviours = ['a']\nsubject = 'frames'\nwhat = 'x'\nnever = ['y']\nreason = 'because'\n";

    #[test]
    fn only_what_fits_an_entry_is_meant() {
        let expectations = Expectations::read(TEXT).unwrap();
        let scenario = |about: &str| Scenario {
            name: String::new(),
            behaviours: [about.to_owned()].into(),
            steps: Vec::new(),
        };
        let found = |subject: &str, what: &str| Difference {
            step: 0,
            subject: subject.to_owned(),
            what: what.to_owned(),
        };
        let reason = |about, subject, what| {
            expectations.reason("6.1", &scenario(about), &found(subject, what))
        };
        assert_eq!(reason("a", "frames", "xz"), Some("because"));
        assert_eq!(reason("b", "frames", "xz"), None);
        assert_eq!(reason("a", "ipvsadm -Ln", "xz"), None);
        assert_eq!(reason("a", "frames", "z"), None);
        assert_eq!(reason("a", "frames", "xy"), None);
    }

    #[test]
    fn entry_that_fits_too_much_is_refused() {
        let without = |line| Expectations::read(&TEXT.replace(line, ""));
        assert!(without("what = 'x'\n").is_ok());
        assert!(without("what = 'x'\nnever = ['y']\n").is_err());
        assert!(without("behaviours = ['a']\n").is_err());
    }

    #[test]
    fn own_file_is_read() {
        Expectations::load().unwrap();
    }
}
