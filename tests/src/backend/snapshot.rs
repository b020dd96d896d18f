//! The tables at one moment, and how two of them differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Write as _},
};

use ipvs_common::{
    DestState, Entry, Flow, LblcEntry, LblcKey, LblcrEntry, SchedState, Stats, Template, Tie,
    reason::{DropReason, Event, PassReason},
};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub conns: BTreeMap<Flow, Entry>,
    pub half_open: BTreeMap<Flow, Entry>,
    pub templates: BTreeMap<Tie, Template>,
    pub lblc: BTreeMap<LblcKey, LblcEntry>,
    pub lblcr: BTreeMap<LblcKey, LblcrEntry>,
    /// By index of the service.
    pub sched_states: BTreeMap<u32, SchedState>,
    /// By index of the real server.
    pub dest_states: BTreeMap<u32, DestState>,
    pub dest_stats: BTreeMap<u32, Stats>,
    /// By name of the counter.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Snapshot {
    /// Every difference, at most a few of each table; empty if there is none.
    #[must_use]
    pub fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let (this, that) = (self.renumbered(), other.renumbered());
        compare(&mut text, "CONNS", &this.conns, &that.conns);
        compare(&mut text, "HALF_OPEN", &this.half_open, &that.half_open);
        compare(&mut text, "TEMPLATES", &this.templates, &that.templates);
        compare(&mut text, "LBLC", &self.lblc, &other.lblc);
        compare(&mut text, "LBLCR", &self.lblcr, &other.lblcr);
        compare(
            &mut text,
            "SCHED_STATES",
            &self.sched_states,
            &other.sched_states,
        );
        compare(
            &mut text,
            "DEST_STATES",
            &self.dest_states,
            &other.dest_states,
        );
        compare(&mut text, "DEST_STATS", &self.dest_stats, &other.dest_stats);
        compare(&mut text, "REASONS", &self.reasons, &other.reasons);
        text
    }
}

/// Counters by name from the slots of the counter map.
pub(super) fn by_name(slots: &[u64]) -> BTreeMap<&'static str, u64> {
    let pass = PassReason::ALL.iter().map(|r| (r.name(), r.slot()));
    let drop = DropReason::ALL.iter().map(|r| (r.name(), r.slot()));
    let event = Event::ALL.iter().map(|r| (r.name(), r.slot()));
    pass.chain(drop)
        .chain(event)
        .filter_map(|(name, slot)| Some((name, *slots.get(slot as usize)?)))
        .collect()
}

fn compare<K, V>(text: &mut String, name: &str, a: &BTreeMap<K, V>, b: &BTreeMap<K, V>)
where
    K: Ord + Debug,
    V: PartialEq + Debug,
{
    const SHOWN: usize = 4;
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let differ: Vec<_> = keys.into_iter().filter(|k| a.get(k) != b.get(k)).collect();
    for key in differ.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name} {key:?}\n  {:?}\n  {:?}",
            a.get(key),
            b.get(key)
        );
    }
    if differ.len() > SHOWN {
        let _ = writeln!(text, "{name}: {} entries differ", differ.len());
    }
}
