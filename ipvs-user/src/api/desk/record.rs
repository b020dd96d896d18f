//! What stands in the file: a record of all, and after it a line for each change since. Most changes are small beside what they
//! change, so that a line takes no time to write, and who asked for the change need not wait for megabytes.
//!
//! A change has a line before it begins and another one when it is done. Where the second one is missing, a crash came between, and
//! whoever reads this decides by the tables.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipvs_common::ServiceKey;
use serde::{Deserialize, Serialize};

use super::{
    Applied, convert,
    store::{Remembered, Waiting},
    wire,
};
use crate::{
    config::{Config, ServiceConfig},
    model::MatchRules,
};

#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) instance: String,
    pub(super) boot: String,
    pub(super) applied: Option<AppliedRecord>,
    pub(super) waiting: Option<WaitingRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct AppliedRecord {
    /// Seconds since 1970.
    at: u64,
    config: wire::Config,
    by_file: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WaitingRecord {
    carried_out: bool,
    /// Milliseconds since the boot.
    ends: u64,
    before: wire::Config,
    after: wire::Config,
    wanted: wire::Config,
}

/// What came after the record.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// This is about to be applied.
    Begins(Box<Change>),
    /// It is what was applied last.
    Kept {},
    /// It was refused.
    Withdrawn {},
}

/// What was applied, beside what had been applied before.
#[derive(Serialize, Deserialize)]
pub(super) struct Change {
    /// Without services and match rules.
    applied: AppliedRecord,
    services: Vec<Piece>,
    /// Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<wire::MatchRule>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Piece {
    /// As before: from this one on, so many.
    Same([usize; 2]),
    Other(Box<wire::ConfiguredService>),
}

/// A file that nobody should go by.
fn unreadable() -> String {
    "its lines do not belong together".to_owned()
}

impl Record {
    pub(super) fn remembered(self, lines: Vec<Line>, rest: &Config) -> Result<Remembered, String> {
        let (mut applied, mut begun) = (self.applied, None);
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            let Line::Begins(change) = line else {
                return Err(unreadable());
            };
            match lines.next() {
                Some(Line::Kept {}) => applied = Some(change.over(applied.take())?),
                Some(Line::Withdrawn {}) => {}
                Some(Line::Begins(_)) => return Err(unreadable()),
                None => begun = Some(change.over(applied.clone())?),
            }
        }
        let read = |record: Option<AppliedRecord>| record.map(|a| a.read(rest)).transpose();
        let waiting = self.waiting.map(|w| w.read(rest)).transpose();
        Ok(Remembered {
            applied: read(applied).map_err(|e| e.message)?,
            begun: read(begun).map_err(|e| e.message)?,
            waiting: waiting.map_err(|e| e.message)?,
        })
    }
}

impl Change {
    pub(super) fn of(before: Option<&Config>, applied: &Applied) -> Self {
        let stays = before.is_some_and(|b| b.matches == applied.config.matches);
        let matches = (!stays).then(|| convert::shown_rules(&applied.config.matches));
        let before = before.map_or(&[][..], |b| &b.services);
        Self {
            applied: AppliedRecord {
                config: convert::shown_config(&Config {
                    services: Vec::new(),
                    matches: MatchRules::from([]),
                    ..Config::clone(&applied.config)
                }),
                ..AppliedRecord::about(applied)
            },
            services: pieces(before, &applied.config.services),
            matches,
        }
    }

    fn over(self, before: Option<AppliedRecord>) -> Result<AppliedRecord, String> {
        let before = before.map_or_else(wire::Config::default, |b| b.config);
        let mut applied = self.applied;
        applied.config.matches = self.matches.unwrap_or(before.matches);
        let mut before: Vec<_> = before.services.into_iter().map(Some).collect();
        for piece in self.services {
            match piece {
                Piece::Other(service) => applied.config.services.push(*service),
                Piece::Same([from, count]) => {
                    let same = from
                        .checked_add(count)
                        .and_then(|to| before.get_mut(from..to));
                    for service in same.ok_or_else(unreadable)? {
                        let service = service.take().ok_or_else(unreadable)?;
                        applied.config.services.push(service);
                    }
                }
            }
        }
        Ok(applied)
    }
}

/// The reader of files makes a service anew only if its text is, so most of them are the very same.
fn is_same(a: &Arc<ServiceConfig>, b: &Arc<ServiceConfig>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn pieces(before: &[Arc<ServiceConfig>], after: &[Arc<ServiceConfig>]) -> Vec<Piece> {
    let mut places: Option<HashMap<ServiceKey, usize>> = None;
    let mut pieces = Vec::new();
    let mut next = 0;
    for service in after {
        // Nearly always they are in the order of before.
        let at = if before.get(next).is_some_and(|b| b.key == service.key) {
            Some(next)
        } else {
            let number = |(at, s): (usize, &Arc<ServiceConfig>)| (s.key, at);
            let places =
                places.get_or_insert_with(|| before.iter().enumerate().map(number).collect());
            places.get(&service.key).copied()
        };
        next = at.map_or(next, |at| at + 1);
        match (
            at.filter(|at| is_same(&before[*at], service)),
            pieces.last_mut(),
        ) {
            (Some(at), Some(Piece::Same([from, count]))) if *from + *count == at => *count += 1,
            (Some(at), _) => pieces.push(Piece::Same([at, 1])),
            (None, _) => {
                let shown = convert::shown_service(service);
                pieces.push(Piece::Other(Box::new(shown)));
            }
        }
    }
    pieces
}

impl AppliedRecord {
    pub(super) fn of(applied: &Applied) -> Self {
        Self {
            config: convert::shown_config(&applied.config),
            ..Self::about(applied)
        }
    }

    fn about(applied: &Applied) -> Self {
        let at = applied.at.duration_since(UNIX_EPOCH);
        Self {
            at: at.map_or(0, |t| t.as_secs()),
            config: wire::Config::default(),
            by_file: applied.by_file,
        }
    }

    fn read(&self, rest: &Config) -> Result<Applied, wire::Error> {
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(self.at));
        Ok(Applied {
            config: Arc::new(convert::config(&self.config, rest)?),
            at: at.unwrap_or_else(SystemTime::now),
            by_file: self.by_file,
        })
    }
}

impl WaitingRecord {
    pub(super) fn of(waiting: &Waiting) -> Self {
        Self {
            carried_out: waiting.carried_out,
            ends: u64::try_from(waiting.ends.as_millis()).unwrap_or(u64::MAX),
            before: convert::shown_config(&waiting.before),
            after: convert::shown_config(&waiting.after),
            wanted: convert::shown_config(&waiting.wanted),
        }
    }

    fn read(&self, rest: &Config) -> Result<Waiting, wire::Error> {
        let config = |c: &wire::Config| convert::config(c, rest).map(Arc::new);
        Ok(Waiting {
            carried_out: self.carried_out,
            ends: Duration::from_millis(self.ends),
            before: config(&self.before)?,
            after: config(&self.after)?,
            wanted: config(&self.wanted)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn applied(text: &str) -> Applied {
        Applied {
            config: Arc::new(parse("f", text).unwrap()),
            at: UNIX_EPOCH + Duration::from_secs(7),
            by_file: true,
        }
    }

    fn file(services: &[(u16, u32)]) -> String {
        let each = services.iter().map(|(port, weight)| {
            format!(
                "[[service]]\ntcp = '10.0.0.5:{port}'\n[[service.real]]\naddress = '10.0.1.5'\nmethod = 'masq'\nweight = {weight}\n"
            )
        });
        each.collect()
    }

    fn begins(before: &Applied, now: &Applied) -> Line {
        let change = Change::of(Some(&before.config), now);
        let text = serde_json::to_string(&Line::Begins(Box::new(change))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn remembered(first: &Applied, lines: Vec<Line>) -> Result<Remembered, String> {
        let record = Record {
            instance: String::new(),
            boot: String::new(),
            applied: Some(AppliedRecord::of(first)),
            waiting: None,
        };
        record.remembered(lines, &Config::empty())
    }

    #[test]
    fn lines_of_changes_come_to_what_was_applied_last() {
        let many: Vec<_> = (1..40).map(|port| (port, 1)).collect();
        let mut edited = many.clone();
        edited[20].1 = 5;
        let mut mixed = edited.clone();
        mixed.swap(3, 30);
        mixed.remove(10);
        mixed.insert(17, (99, 1));
        let mut head = file(&many);
        head.insert_str(0, "[sysctl]\nsloppy_tcp = 1\n[interface.eth0]\n");
        let rules = "[[match]]\nmark = 7\nto = '0.0.0.0/0'\nports = [80, '90-99']\n";
        let with_rules = format!("{rules}{}", file(&many));
        let with_the_same = format!("{rules}{}", file(&edited));
        let texts = [
            file(&many),
            file(&edited),
            file(&mixed),
            head,
            with_rules,
            with_the_same,
            String::new(),
        ];
        let states: Vec<_> = texts.iter().map(|t| applied(t)).collect();
        let change = |pair: &[Applied]| {
            let refused = [begins(&pair[0], &applied("")), Line::Withdrawn {}];
            let applied = [begins(&pair[0], &pair[1]), Line::Kept {}];
            refused.into_iter().chain(applied)
        };
        for last in 1..states.len() {
            let lines = states[..=last].windows(2).flat_map(change);
            let read = remembered(&states[0], lines.collect()).unwrap();
            assert_eq!(read.applied.unwrap().config, states[last].config);
            assert!(read.begun.is_none());
        }
        let one = Change::of(Some(&states[0].config), &states[1]);
        assert_eq!(one.services.len(), 3, "only what differs is written");
    }

    #[test]
    fn change_that_has_no_end_is_told_beside_what_was_before_it() {
        let [before, now] =
            [file(&[(25, 1), (26, 1)]), file(&[(25, 1), (26, 2)])].map(|t| applied(&t));
        let read = remembered(&before, vec![begins(&before, &now)]).unwrap();
        assert_eq!(read.applied.unwrap().config, before.config);
        assert_eq!(read.begun.unwrap().config, now.config);
    }

    #[test]
    fn lines_that_do_not_belong_together_are_not_believed() {
        let [none, some] = ["", &file(&[(25, 1)])].map(applied);
        let of_another = begins(&some, &some);
        for lines in [
            vec![Line::Kept {}],
            vec![begins(&some, &some), begins(&some, &some)],
            vec![of_another],
        ] {
            assert!(remembered(&none, lines).is_err());
        }
    }
}
