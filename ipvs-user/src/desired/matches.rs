//! The comparison of match rules. They are one thing, because each decides only about what those before it leave; what differs in it
//! is told rule by rule.

use std::{collections::HashMap, sync::Arc};

use super::{
    merge::{Merge, Outcome},
    row::{Row, Subject},
};
use crate::{
    config::Config,
    director::Director,
    model::{Command, Conditions, MatchRule, MatchRules},
};

impl Merge {
    pub(super) fn matches(&mut self, last: Option<&Config>, running: &Director, new: &Config) {
        let none = MatchRules::from([]);
        // What no configuration named before was set by hand, if there is any.
        let was = last.map_or(&none, |l| &l.matches);
        let (is, new) = (running.model().matches(), &new.matches);
        match self.judge(last.map(|_| was), is, new) {
            Outcome::Same => {}
            Outcome::Kept => self.difference.kept.extend(rows(was, is)),
            Outcome::New(over_hand) => {
                if over_hand {
                    self.difference.overridden.extend(rows(was, is));
                }
                let rules = Arc::clone(new);
                self.command(Command::SetMatches { rules }, None);
                self.difference.rows.extend(rows(is, new));
            }
        }
    }
}

type ByConditions<'a> = HashMap<&'a Conditions, u32>;

/// What differs. No two rules of a list have the same conditions.
fn rows(old: &[MatchRule], new: &[MatchRule]) -> Vec<Row> {
    let by_conditions = |rules| -> ByConditions<'_> {
        let rules: std::slice::Iter<'_, MatchRule> = rules;
        rules.map(|r| (&r.conditions, r.mark)).collect()
    };
    let (before, after) = (by_conditions(old.iter()), by_conditions(new.iter()));
    let subject = |rule: &MatchRule| Subject::Match(rule.conditions.to_string());
    let mut rows = Vec::new();
    for rule in old.iter().filter(|r| !after.contains_key(&r.conditions)) {
        rows.push(Row::removed(subject(rule), mark(rule.mark)));
    }
    for rule in new {
        match before.get(&rule.conditions) {
            None => rows.push(Row::added(subject(rule), mark(rule.mark))),
            Some(was) if *was != rule.mark => {
                rows.push(Row::changed(subject(rule), "", mark(*was), mark(rule.mark)));
            }
            Some(_) => {}
        }
    }
    let staying = |rules: &'_ [MatchRule], other: &ByConditions<'_>| -> Vec<Conditions> {
        let conditions = rules.iter().map(|r| &r.conditions);
        conditions
            .filter(|c| other.contains_key(c))
            .cloned()
            .collect()
    };
    if staying(old, &after) != staying(new, &before) {
        let texts = ["as before", "another"].map(str::to_owned);
        let [old, new] = texts;
        rows.push(Row::changed(Subject::MatchOrder, "", old, new));
    }
    rows
}

fn mark(mark: u32) -> String {
    format!("mark {mark}")
}
