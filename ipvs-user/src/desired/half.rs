//! How far a configuration came that was being applied when the daemon died. Knobs and timeouts are written first, one after the
//! other; services and real servers last, and together.

use super::{
    merge::{Difference, Rule, compare},
    row::{Row, Subject},
};
use crate::{
    config::Config,
    director::{Director, Together},
    timeouts::Timeouts,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Half {
    /// All of it came to be.
    Whole,
    /// Services and real servers are those of before. This takes back what else is in force of it.
    Back(Together),
}

/// `last` is what was applied before `begun`. What has another value than `begun` says was changed by hand, or not yet reached.
#[must_use]
pub fn half(last: Option<&Config>, running: &Director, begun: &Config) -> Half {
    if compare(last, running, begun, Rule::Keep).changes.is_empty() {
        return Half::Whole;
    }
    let Some(last) = last else {
        // Nobody knows what there was.
        return Half::Back(Together::default());
    };
    let back = compare(Some(begun), running, last, Rule::Keep);
    let is_of_service = |row: &Row| match row.subject {
        Subject::Service(_) | Subject::Dest(..) | Subject::Match(_) | Subject::MatchOrder => true,
        Subject::Sysctl(_) | Subject::Director(_) | Subject::Interface(_) | Subject::Api(_) => {
            false
        }
    };
    if back
        .rows
        .iter()
        .any(|row| is_of_service(row) && is_in_force(&back, row))
    {
        return Half::Whole;
    }
    Half::Back(controls(&back))
}

/// Whether what a row takes back is as `begun` said.
fn is_in_force(back: &Difference, row: &Row) -> bool {
    let place = |row: &Row| (row.subject.clone(), row.field);
    !back
        .overridden
        .iter()
        .any(|other| place(other) == place(row))
}

fn controls(back: &Difference) -> Together {
    let taken = |subject: &Subject| {
        let mut rows = back.rows.iter().filter(|row| row.subject == *subject);
        rows.any(|row| is_in_force(back, row))
    };
    let number = |name: &str, value: Option<u32>| {
        value.filter(|_| taken(&Subject::Director(name.to_owned())))
    };
    let Together {
        sysctls,
        timeouts,
        icmp_rate,
        commands: _,
    } = &back.changes;
    let knobs = sysctls.iter().cloned();
    Together {
        commands: Vec::new(),
        sysctls: knobs
            .filter(|(name, _)| taken(&Subject::Sysctl(name.clone())))
            .collect(),
        timeouts: Timeouts {
            tcp: number("timeouts.tcp", timeouts.tcp),
            tcp_fin: number("timeouts.tcp_fin", timeouts.tcp_fin),
            udp: number("timeouts.udp", timeouts.udp),
        },
        icmp_rate: number("icmp_rate", *icmp_rate),
    }
}
