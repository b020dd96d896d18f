//! Where our director is meant to differ from the kernel, or does not yet do what it does: one file says so, with reasons.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Difference, Engine, features};
use crate::{
    topology::kernel_version,
    trace::{Trace, golden_dir},
};

const FILE: &str = "expectations.toml";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    #[serde(default)]
    intended: Vec<Intended>,
    #[serde(default)]
    elsewhere: Vec<Elsewhere>,
    #[serde(default)]
    not_yet: Vec<NotYet>,
}

/// A difference that is meant. `*` in a name stands for anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Intended {
    trace: String,
    /// Only in what such a command printed or how it ended.
    command: Option<String>,
    /// Only at steps with such a note.
    note: Option<String>,
    /// Only at these steps.
    #[serde(default)]
    steps: Vec<usize>,
    reason: String,
}

/// Something that a trace does not tell enough of to be replayed, and that a test compares with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    feature: String,
    /// Its file, from the folder of this package on.
    test: String,
    reason: String,
}

/// Something that traces ask for and that is not there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotYet {
    feature: Option<String>,
    trace: Option<String>,
    /// Only in kernels before this one: major and minor version.
    before: Option<(u32, u32)>,
    reason: String,
}

/// How a trace came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    Equal,
    /// But for differences that are meant, for these reasons.
    Intended(String),
    /// In a test, for this reason.
    Elsewhere(String),
    NotYet(String),
    /// The first difference.
    Different(String),
}

impl Expectations {
    /// Those of this package.
    pub fn load() -> Result<Self> {
        Self::read(&golden_dir().join(FILE))
    }

    fn read(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(shown)?;
        let mut this: Self = toml::from_str(&text).with_context(shown)?;
        let kernel = kernel_version()?;
        this.not_yet
            .retain(|entry| entry.before.is_none_or(|before| kernel < before));
        for entry in &this.intended {
            let narrow = entry.command.is_some() || entry.note.is_some() || !entry.steps.is_empty();
            let trace = &entry.trace;
            ensure!(narrow, "{}: {trace} may differ in everything", shown());
        }
        for entry in &this.elsewhere {
            let known = features::NAMES.contains(&entry.feature.as_str());
            ensure!(known, "{}: {entry:?} names no feature", shown());
        }
        for entry in &this.not_yet {
            let known = |f: &String| features::NAMES.contains(&f.as_str());
            ensure!(
                entry.feature.as_ref().is_none_or(known)
                    && entry.feature.is_some() != entry.trace.is_some(),
                "{}: {entry:?} must name a trace or one of {:?}",
                shown(),
                features::NAMES
            );
        }
        Ok(this)
    }

    /// Whether one of these differences is neither meant nor waited for.
    #[must_use]
    pub fn is_surprised(&self, trace: &Trace, differences: &[Difference]) -> bool {
        differences.iter().any(|d| self.reason(trace, d).is_none())
    }

    /// Judges what became of a trace in every engine; the name of the engine goes before the difference.
    #[must_use]
    pub fn judge(&self, trace: &Trace, found: &[(Engine, Vec<Difference>)]) -> Standing {
        let all = || {
            found
                .iter()
                .flat_map(|(engine, ds)| ds.iter().map(move |d| (engine, d)))
        };
        let surprise = all().find(|(_, d)| self.reason(trace, d).is_none());
        if let Some((engine, difference)) = surprise {
            if let Some(reason) = self.wanting(trace, *engine) {
                return Standing::NotYet(reason);
            }
            return match self.elsewhere(trace) {
                Some(reason) => Standing::Elsewhere(reason),
                None => Standing::Different(format!("{engine}, {difference}")),
            };
        }
        let own = self.intended.iter().filter(|e| e.trace == trace.name);
        let mut stale = own.filter(|e| e.is_stale(|e| all().any(|(_, d)| e.is_about(trace, d))));
        if let Some(entry) = stale.next() {
            return Standing::Different(format!(
                "{FILE} tells of a difference that is none any more: {}",
                entry.reason
            ));
        }
        let mut reasons: Vec<_> = all().filter_map(|(_, d)| self.reason(trace, d)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if reasons.is_empty() {
            return Standing::Equal;
        }
        Standing::Intended(reasons.join("; "))
    }

    fn reason(&self, trace: &Trace, difference: &Difference) -> Option<&str> {
        let mut entries = self.intended.iter();
        let entry = entries.find(|e| e.is_about(trace, difference))?;
        Some(&entry.reason)
    }

    /// Why the trace is compared elsewhere, and where.
    fn elsewhere(&self, trace: &Trace) -> Option<String> {
        let features = features::of(trace);
        let mut entries = self.elsewhere.iter();
        let entry = entries.find(|e| features.contains(&e.feature.as_str()))?;
        Some(format!("{} ({})", entry.reason, entry.test))
    }

    /// Why nobody expects the trace to come out equal.
    fn wanting(&self, trace: &Trace, engine: Engine) -> Option<String> {
        let features = features::of(trace);
        let entries = self.not_yet.iter().filter(|e| {
            if e.before.is_some() && engine == Engine::Host {
                return false;
            }
            let feature = e.feature.as_deref().is_some_and(|f| features.contains(&f));
            let name = e.trace.as_deref().is_some_and(|t| matches(t, &trace.name));
            feature || name
        });
        let reasons: Vec<_> = entries.map(|e| e.reason.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl Intended {
    /// Whether nothing, or nothing at one of the steps, is `there`.
    fn is_stale(&self, there: impl Fn(&Self) -> bool) -> bool {
        let mut at_steps = self.steps.iter().map(|step| Self {
            steps: vec![*step],
            ..self.clone()
        });
        !there(self) || at_steps.any(|e| !there(&e))
    }

    fn is_about(&self, trace: &Trace, difference: &Difference) -> bool {
        let command = |pattern: &String| {
            difference
                .command()
                .is_some_and(|command| matches(pattern, command))
        };
        matches(&self.trace, &trace.name)
            && self.command.as_ref().is_none_or(command)
            && self
                .note
                .as_ref()
                .is_none_or(|n| matches(n, difference.note()))
            && (self.steps.is_empty() || self.steps.contains(&difference.step()))
    }
}

/// Whether `*`s can be replaced to make the text of the pattern.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| &text[at..]);
            ends.any(|end| matches(rest, end)) || matches(rest, "")
        }),
    }
}

#[cfg(test)]
mod tests {
    use ipvs_common::AttachMode;

    use super::*;

    fn expectations(text: &str) -> Expectations {
        toml::from_str(text).unwrap()
    }

    fn judged(text: &str, differences: Vec<Difference>) -> Standing {
        judged_in(Engine::Host, text, differences)
    }

    fn judged_in(engine: Engine, text: &str, differences: Vec<Difference>) -> Standing {
        let trace = Trace::of("tun_gre").unwrap();
        expectations(text).judge(&trace, &[(engine, differences)])
    }

    #[test]
    fn tests_that_compare_what_no_trace_tells_are_there() {
        let package = golden_dir().join("..");
        for entry in Expectations::load().unwrap().elsewhere {
            assert!(package.join(&entry.test).exists(), "{entry:?}");
        }
    }

    #[test]
    fn what_is_compared_elsewhere_may_differ_in_traces_of_it_alone() {
        let text = "[[elsewhere]]\nfeature = 'gre'\ntest = 'there.rs'\nreason = 'told there'\n";
        let found = || vec![Difference::of("ipvsadm -Ln", String::new())];
        let told = Standing::Elsewhere("told there (there.rs)".to_owned());
        assert_eq!(judged(text, found()), told);
        let other = text.replace("gre", "sync");
        assert!(matches!(judged(&other, found()), Standing::Different(_)));
    }

    #[test]
    fn stars_stand_for_anything() {
        assert!(matches("cat /proc/net/*", "cat /proc/net/ip_vs"));
        assert!(matches("*", ""));
        assert!(matches("a*c*", "abcd"));
        assert!(!matches("a*c", "abcd"));
        assert!(!matches("abc", "ab"));
    }

    #[test]
    fn intended_difference_covers_no_other() {
        let text = "[[intended]]\ntrace = 'tun_gre'\ncommand = 'ipvsadm -v'\nreason = 'why'\n";
        let version = || Difference::of("ipvsadm -v", String::new());
        let other = || Difference::of("ipvsadm -Ln", String::new());
        assert_eq!(
            judged(text, vec![version()]),
            Standing::Intended("why".to_owned())
        );
        assert!(matches!(
            judged(text, vec![version(), other()]),
            Standing::Different(_)
        ));
    }

    #[test]
    fn entry_about_a_difference_that_is_gone_is_a_difference() {
        let text = "[[intended]]\ntrace = 'tun_gre'\nsteps = [3]\nreason = 'why'\n";
        assert!(matches!(judged(text, Vec::new()), Standing::Different(_)));
        let two = text.replace("[3]", "[3, 4]");
        let at = |step| Difference::new(String::new()).at(step, "");
        assert!(matches!(judged(&two, vec![at(3)]), Standing::Different(_)));
        assert!(matches!(
            judged(&two, vec![at(3), at(4)]),
            Standing::Intended(_)
        ));
        let general = text.replace("tun_gre", "tun_*");
        assert_eq!(judged(&general, Vec::new()), Standing::Equal);
    }

    #[test]
    fn what_is_not_there_yet_may_come_out_equal() {
        let text = "[[not_yet]]\nfeature = 'gre'\nreason = 'later'\n";
        assert_eq!(judged(text, Vec::new()), Standing::Equal);
        let difference = Difference::of("ipvsadm -Ln", String::new());
        assert_eq!(
            judged(text, vec![difference]),
            Standing::NotYet("later".to_owned())
        );
    }

    #[test]
    fn what_a_kernel_lacks_is_no_excuse_on_the_host() {
        let text = "[[not_yet]]\ntrace = 'tun_gre'\nbefore = [6, 10]\nreason = 'old'\n";
        let there = || vec![Difference::of("ipvsadm -Ln", String::new())];
        let in_kernel = judged_in(Engine::Kernel(AttachMode::Native), text, there());
        assert_eq!(in_kernel, Standing::NotYet("old".to_owned()));
        assert!(matches!(judged(text, there()), Standing::Different(_)));
    }

    #[test]
    fn file_of_this_package_is_right() {
        Expectations::load().unwrap();
    }
}
