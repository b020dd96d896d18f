//! What many runs amount to: how many scenarios about each behaviour were equal.

use std::{collections::BTreeMap, fmt};

use super::{expect::Verdict, run::Outcome, scenario::Scenario};

#[derive(Clone, Debug, Default)]
pub struct Score {
    kernel: String,
    /// Equal and all scenarios of each behaviour.
    behaviours: BTreeMap<String, (usize, usize)>,
    scenarios: usize,
    equal: usize,
    meant: BTreeMap<String, usize>,
    packets: usize,
    frames: usize,
    commands: usize,
}

impl Score {
    #[must_use]
    pub fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            ..Self::default()
        }
    }

    /// A scenario that differs as it is meant to counts as equal.
    pub fn count(&mut self, scenario: &Scenario, outcome: &Outcome, verdict: Verdict<'_>) {
        let equal = !matches!(verdict, Verdict::Different(_));
        for behaviour in &scenario.behaviours {
            let (good, all) = self.behaviours.entry(behaviour.clone()).or_default();
            *good += usize::from(equal);
            *all += 1;
        }
        if let Verdict::Meant(_, reason) = verdict {
            *self.meant.entry(reason.to_owned()).or_default() += 1;
        }
        self.scenarios += 1;
        self.equal += usize::from(equal);
        self.packets += outcome.packets;
        self.frames += outcome.frames;
        self.commands += outcome.commands;
    }

    /// Run so far.
    #[must_use]
    pub const fn scenarios(&self) -> usize {
        self.scenarios
    }

    /// All in one.
    #[must_use]
    pub fn line(&self) -> String {
        let perfect = self.behaviours.values().filter(|(equal, all)| equal == all);
        format!(
            "score on {}: {} of {} behaviours equal; {} of {} scenarios, with {} packets, {} frames sent, {} commands",
            self.kernel,
            perfect.count(),
            self.behaviours.len(),
            self.equal,
            self.scenarios,
            self.packets,
            self.frames,
            self.commands,
        )
    }

    #[must_use]
    pub const fn is_perfect(&self) -> bool {
        self.equal == self.scenarios
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (behaviour, (equal, all)) in &self.behaviours {
            let mark = if equal == all { "" } else { "   <-- differs" };
            writeln!(
                f,
                "  {behaviour:<24} {equal:>5} of {all:>5} scenarios equal{mark}"
            )?;
        }
        for (reason, count) in &self.meant {
            writeln!(f, "  {count} of them differ as they are meant to: {reason}")?;
        }
        f.write_str(&self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Difference;

    #[test]
    fn one_difference_costs_each_behaviour_of_its_scenario() {
        let scenario = |about: [&str; 2]| Scenario {
            name: String::new(),
            behaviours: about.map(str::to_owned).into(),
            steps: Vec::new(),
        };
        let (equal, found) = (Outcome::default(), Difference::default());
        let mut score = Score::new("6.1");
        score.count(&scenario(["rr", "masq"]), &equal, Verdict::Equal);
        score.count(
            &scenario(["rr", "tunnel"]),
            &equal,
            Verdict::Different(&found),
        );
        assert!(!score.is_perfect());
        assert!(
            score
                .to_string()
                .contains("1 of 3 behaviours equal; 1 of 2 scenarios")
        );
        let mut score = Score::new("6.1");
        score.count(
            &scenario(["rr", "tunnel"]),
            &equal,
            Verdict::Meant(&found, "because"),
        );
        assert!(score.is_perfect());
    }
}
