//! Where our director is meant to differ from the kernel: `tests/oracle/expectations.toml` says it, with reasons.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{
    run::{Difference, Outcome},
    scenario::Scenario,
};

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
    /// Only where as many frames leave one director as leave the other: elsewhere, or changed.
    #[serde(default)]
    same_number: bool,
    /// Only while no service is configured.
    #[serde(default)]
    without_services: bool,
    /// Only on kernels whose release begins like this.
    kernel: Option<String>,
    reason: String,
}

/// What a run says of the director.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    Equal,
    /// In nothing but what is meant.
    Meant(&'a Difference, &'a str),
    Different(&'a Difference),
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
            let about =
                !entry.behaviours.is_empty() || !entry.any.is_empty() || entry.without_services;
            let narrow = about && (entry.what.is_some() || !entry.never.is_empty());
            ensure!(narrow, "too much may differ in {}", entry.subject);
        }
        Ok(this)
    }

    /// On a kernel's release. One difference that is not meant is enough.
    #[must_use]
    pub fn judge<'a>(
        &'a self,
        kernel: &str,
        scenario: &Scenario,
        outcome: &'a Outcome,
    ) -> Verdict<'a> {
        let mut verdict = Verdict::Equal;
        for found in outcome.differences() {
            match (self.reason(kernel, scenario, found), verdict) {
                (None, _) => return Verdict::Different(found),
                (Some(reason), Verdict::Equal) => verdict = Verdict::Meant(found, reason),
                (Some(_), Verdict::Meant(..) | Verdict::Different(_)) => {}
            }
        }
        verdict
    }

    /// Why this difference is meant, if it is.
    fn reason(&self, kernel: &str, scenario: &Scenario, found: &Difference) -> Option<&str> {
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
                && (!entry.same_number || found.alone.0 == found.alone.1)
                && (!entry.without_services || scenario.services_before(found.step) == 0)
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::oracle::{
        generate::{generate, generate_sctp},
        scenario::Step,
    };

    const TEXT: &str = "[[intended]]\nbehaviours = ['a']\nsubject = 'frames'\nwhat = 'x'\nnever = ['y']\nreason = 'because'\n";

    fn scenario(about: &str, steps: &[&str]) -> Scenario {
        Scenario {
            name: String::new(),
            behaviours: [about.to_owned()].into(),
            steps: steps.iter().map(|s| Step::Ipvsadm((*s).into())).collect(),
        }
    }

    fn found(step: usize, subject: &str, what: &str) -> Difference {
        Difference {
            step,
            subject: subject.to_owned(),
            what: what.to_owned(),
            alone: (1, 0),
        }
    }

    #[test]
    fn only_what_fits_an_entry_is_meant() {
        let expectations = Expectations::read(TEXT).unwrap();
        let reason = |about, subject, what| {
            let found = found(0, subject, what);
            expectations.reason("6.1", &scenario(about, &[]), &found)
        };
        assert_eq!(reason("a", "frames", "xz"), Some("because"));
        assert_eq!(reason("b", "frames", "xz"), None);
        assert_eq!(reason("a", "ipvsadm -Ln", "xz"), None);
        assert_eq!(reason("a", "frames", "z"), None);
        assert_eq!(reason("a", "frames", "xy"), None);
        let moved = Expectations::read(&format!("{TEXT}same_number = true\n")).unwrap();
        let about = scenario("a", &[]);
        let lost = found(0, "frames", "x");
        assert_eq!(moved.reason("6.1", &about, &lost), None);
        let alone = (2, 2);
        let gone_elsewhere = Difference { alone, ..lost };
        assert!(moved.reason("6.1", &about, &gone_elsewhere).is_some());
        let elsewhere = Expectations::read(&format!("{TEXT}kernel = '6.12'\n")).unwrap();
        let found = found(0, "frames", "x");
        assert_eq!(elsewhere.reason("6.1.0-50", &about, &found), None);
    }

    #[test]
    fn what_is_meant_without_services_is_not_before_the_last_one_is_gone() {
        let text = "[[intended]]\nwithout_services = true\nsubject = 'frames'\nwhat = 'x'\nreason = 'because'\n";
        let expectations = Expectations::read(text).unwrap();
        let about = scenario("a", &["-A -f 7 -s rr", "-D -f 7"]);
        let reason = |step| expectations.reason("6.1", &about, &found(step, "frames", "x"));
        assert_eq!((reason(1), reason(2)), (None, Some("because")));
    }

    #[test]
    fn what_a_run_leaves_is_no_part_of_a_difference_that_is_meant() {
        let expectations = Expectations::read(TEXT).unwrap();
        let about = scenario("a", &[]);
        let mut outcome = Outcome {
            difference: Some(found(0, "frames", "x")),
            ..Outcome::default()
        };
        let verdict = expectations.judge("6.1", &about, &outcome);
        assert!(matches!(verdict, Verdict::Meant(_, "because")));
        outcome.left = Some(found(1, "expire_nodest_conn", "ours leaves"));
        let verdict = expectations.judge("6.1", &about, &outcome);
        assert_eq!(verdict, Verdict::Different(outcome.left.as_ref().unwrap()));
    }

    #[test]
    fn entry_that_fits_too_much_is_refused() {
        let without = |line| Expectations::read(&TEXT.replace(line, ""));
        assert!(without("what = 'x'\n").is_ok());
        assert!(without("what = 'x'\nnever = ['y']\n").is_err());
        assert!(without("behaviours = ['a']\n").is_err());
    }

    /// One about a behaviour that nobody draws, or misspelt, would never fit.
    #[test]
    fn own_file_speaks_of_what_scenarios_are_about() {
        let own = Expectations::load().unwrap();
        let drawn: BTreeSet<_> = (0..300)
            .flat_map(|seed| [generate(seed), generate_sctp(seed)])
            .flat_map(|scenario| scenario.behaviours)
            .collect();
        for entry in &own.intended {
            for name in entry.behaviours.iter().chain(&entry.any) {
                assert!(drawn.contains(name), "{name}: {}", entry.reason);
            }
        }
    }
}
