//! What of a change goes into the ledger.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{ServiceKey, Stats};

use super::{Director, traffic::Moved};
use crate::{
    ledger::{
        Changes, DestRecord, DestStanding, Key, Kind, KnobRecord, MatchRecord, ServiceRecord,
        TotalRecord, Value,
    },
    model::{Effect, MatchRule, Model, RealServer},
    sysctl::Knobs,
};

/// Indices whose records a change may change.
#[derive(Default)]
struct Touched {
    services: BTreeSet<u32>,
    /// Index of the service by that of the real server.
    dests: BTreeMap<u32, u32>,
    /// Services whose whole trash is touched.
    removed: BTreeSet<u32>,
    /// Real servers that come to the head of their lists, in this order.
    added: Vec<u32>,
}

impl Touched {
    fn by(effects: &[Effect]) -> Self {
        let mut this = Self::default();
        for effect in effects {
            match effect {
                Effect::ServiceAdded { service } | Effect::ServiceEdited { service, .. } => {
                    this.services.insert(*service);
                }
                Effect::ServiceRemoved { service, dests } => {
                    this.services.insert(*service);
                    this.removed.insert(*service);
                    this.dests.extend(dests.iter().map(|d| (*d, *service)));
                }
                Effect::DestAdded { service, dest, .. } => {
                    this.services.insert(*service);
                    // An index that was given away twice: the later one counts.
                    if this.dests.insert(*dest, *service).is_some() {
                        this.added.retain(|d| d != dest);
                    }
                    this.added.push(*dest);
                }
                Effect::DestEdited { service, dest }
                | Effect::DestRemoved { service, dest, .. } => {
                    this.dests.insert(*dest, *service);
                }
                Effect::Zeroed { service, dests, .. } => {
                    this.services.insert(*service);
                    this.dests.extend(dests.iter().map(|d| (*d, *service)));
                }
                Effect::WrrChanged { .. }
                | Effect::OverloadLifted { .. }
                | Effect::TotalZeroed
                | Effect::MatchesReplaced => {}
            }
        }
        this
    }
}

/// Where the real servers of some services stand.
type Standings<'a> = BTreeMap<u32, (&'a RealServer, u32, DestStanding)>;

impl Director {
    /// The records after a change, as far as they differ from those that stand.
    pub(super) fn records(&mut self, effects: &[Effect], after: &Model, moved: &Moved) -> Changes {
        let touched = Touched::by(effects);
        let owners: BTreeSet<u32> = touched
            .dests
            .values()
            .chain(&touched.services)
            .copied()
            .collect();
        let (standings, reserved) = standings(after, &owners);
        let mut seqs = BTreeMap::new();
        for dest in &touched.added {
            seqs.insert(*dest, self.tables.ledger_mut().next_seq());
        }
        let mut changes = Changes::new();
        let of_removed = standings
            .iter()
            .filter(|(_, (_, service, _))| touched.removed.contains(service));
        let of_removed = of_removed.map(|(id, _)| *id);
        for id in touched.dests.keys().copied().chain(of_removed) {
            let offset = moved.dests.get(&id).copied();
            let offset = offset.unwrap_or_else(|| self.traffic.of_dest(id)).offset();
            let seq = seqs.get(&id).copied();
            let seq = seq.unwrap_or_else(|| self.tables.ledger().seq_of(id));
            let record = standings.get(&id).map(|(real, service, standing)| {
                Value::of(&DestRecord::new(real, *service, *standing, seq, offset))
            });
            changes.insert(Key::new(Kind::Dest, id), record);
        }
        for id in &touched.services {
            let record = self.service_record(*id, after, reserved.get(id), moved);
            changes.insert(Key::new(Kind::Service, *id), record);
        }
        changes.extend(total(moved));
        if effects.contains(&Effect::MatchesReplaced) {
            changes.extend(match_records(self.model.matches(), after.matches()));
        }
        self.tables.ledger().news(changes)
    }

    /// The records after these real servers of the trash were forgotten.
    pub(super) fn records_without(
        &self,
        gone: &[(u32, u32)],
        after: &Model,
        moved: &Moved,
    ) -> Changes {
        let services: BTreeSet<u32> = gone.iter().map(|(_, service)| *service).collect();
        let (_, reserved) = standings(after, &services);
        let dests = gone
            .iter()
            .map(|(dest, _)| (Key::new(Kind::Dest, *dest), None));
        let mut changes: Changes = dests.collect();
        for id in services {
            let record = self.service_record(id, after, reserved.get(&id), moved);
            changes.insert(Key::new(Kind::Service, id), record);
        }
        changes.extend(total(moved));
        self.tables.ledger().news(changes)
    }

    /// The records of the knobs.
    pub(super) fn knob_records(&self, knobs: &Knobs) -> Changes {
        let each = (0..).zip(knobs.named());
        let changes = each.map(|(number, (name, value))| {
            let record = KnobRecord::new(name, value);
            (Key::new(Kind::Knob, number), Some(Value::of(&record)))
        });
        self.tables.ledger().news(changes.collect())
    }

    fn service_record(
        &self,
        id: u32,
        after: &Model,
        reserved: Option<&ServiceKey>,
        moved: &Moved,
    ) -> Option<Value> {
        let offset = moved.services.get(&id).copied();
        let offset = offset
            .unwrap_or_else(|| self.traffic.of_service(id))
            .offset();
        let record = match (after.service_by_id(id), reserved) {
            (Some(service), _) => ServiceRecord::live(service, offset),
            (None, Some(key)) => ServiceRecord::reserved(*key, offset),
            (None, None) => return None,
        };
        Some(Value::of(&record))
    }
}

/// By place; those behind the last one go.
fn match_records(before: &[MatchRule], after: &[MatchRule]) -> Changes {
    let rules = after
        .iter()
        .map(|rule| Some(Value::of(&MatchRecord::new(rule))));
    let gone = std::iter::repeat_n(None, before.len().saturating_sub(after.len()));
    let numbered = (0..).zip(rules.chain(gone));
    let numbered = numbered.map(|(place, record)| (Key::new(Kind::Match, place), record));
    numbered.collect()
}

fn total(moved: &Moved) -> Option<(Key, Option<Value>)> {
    let offset: Stats = moved.total?.offset();
    Some((Key::TOTAL, Some(Value::of(&TotalRecord { offset }))))
}

/// Of the real servers of these services, deleted ones included; and the keys of those that have some in the trash.
fn standings<'a>(
    model: &'a Model,
    services: &BTreeSet<u32>,
) -> (Standings<'a>, BTreeMap<u32, ServiceKey>) {
    let mut standings = Standings::new();
    let mut keys = BTreeMap::new();
    for id in services {
        let live = model.service_by_id(*id).into_iter().flat_map(|s| &s.dests);
        standings.extend(live.map(|d| (d.id, (d, *id, DestStanding::Listed))));
    }
    for (key, gone) in model
        .trash()
        .filter(|(_, gone)| services.contains(&gone.service))
    {
        let standing = if gone.orphan {
            DestStanding::Orphan
        } else {
            DestStanding::Trash
        };
        standings.insert(gone.dest.id, (&gone.dest, gone.service, standing));
        keys.insert(gone.service, *key);
    }
    (standings, keys)
}
