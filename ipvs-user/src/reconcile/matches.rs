//! The match rules in the tables. A set of rules is written beside the one in force, then the settings name it; what they named
//! before rests for a second, because a packet in flight may still ask it.

use std::collections::{BTreeMap, VecDeque};

use ipvs_common::{MatchKey, MatchNode, maps::MATCH_PREFIXES};

use super::{ReconcileError, Tables, journal::Journal};
use crate::{
    dataplane::{Dataplane, TableError},
    model::{MatchRule, Model},
    plan::{self, Block, ListSpace},
};

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Their number; 0: there are none.
    pub(super) set: u32,
    block: Block,
    keys: Vec<MatchKey>,
    /// Interfaces that rules name, as they were found.
    links: Links,
}

type Links = BTreeMap<String, Option<u32>>;

#[derive(Debug)]
pub(super) struct Matches {
    pub(super) stands: Standing,
    space: ListSpace,
    /// Prefixes of sets that are no longer named, and the time from which they may be removed, oldest first.
    resting: VecDeque<(u64, Vec<MatchKey>)>,
    hold: u64,
    /// The last number that was given.
    last: u32,
}

impl Matches {
    pub(super) fn new(slots: u32, hold: u64) -> Self {
        Self {
            stands: Standing::default(),
            space: ListSpace::new(slots, hold),
            resting: VecDeque::new(),
            hold,
            last: 0,
        }
    }

    /// What stands in the tables under the number in the settings. What else is there nobody asks any more.
    pub(super) fn take_over(
        dataplane: &mut dyn Dataplane,
        slots: u32,
        hold: u64,
        set: u32,
    ) -> Result<Self, TableError> {
        let mut this = Self::new(slots, hold);
        this.last = set;
        let nodes = dataplane.match_nodes()?;
        let (ours, others): (Vec<_>, Vec<_>) =
            nodes.iter().partition(|(key, _)| key.place.set() == set);
        let keys = |nodes: Vec<&(MatchKey, MatchNode)>| -> Vec<MatchKey> {
            nodes.into_iter().map(|(key, _)| *key).collect()
        };
        dataplane.remove_match_nodes(&keys(others))?;
        let block = block(ours.iter().map(|(_, node)| node));
        if !this.space.occupy(block) {
            tracing::warn!("the match rules in the tables are not whole");
        }
        this.stands = Standing {
            set,
            block,
            keys: keys(ours),
            links: Links::new(),
        };
        Ok(this)
    }

    fn next_set(&mut self) -> u32 {
        self.last = if self.last >= u32::from(u16::MAX) {
            1
        } else {
            self.last + 1
        };
        self.last
    }

    /// Prefixes in the table.
    fn prefixes(&self) -> usize {
        let resting = self.resting.iter().map(|(_, keys)| keys.len());
        self.stands.keys.len() + resting.sum::<usize>()
    }

    /// Its set is no longer named, or never was.
    pub(super) fn release(&mut self, gone: Standing, now: u64) {
        self.space.release(gone.block, now);
        if !gone.keys.is_empty() {
            self.resting.push_back((now + self.hold, gone.keys));
        }
    }

    /// Removes what rested long enough.
    pub(super) fn tick(
        &mut self,
        dataplane: &mut dyn Dataplane,
        now: u64,
    ) -> Result<(), TableError> {
        self.space.end_quarantine(now);
        while let Some((until, keys)) = self.resting.front()
            && *until <= now
        {
            dataplane.remove_match_nodes(keys)?;
            self.resting.pop_front();
        }
        Ok(())
    }
}

/// The slots that nodes name.
fn block<'a>(nodes: impl Iterator<Item = &'a MatchNode> + Clone) -> Block {
    let runs = nodes.flat_map(|n| [(n.tcp_base, n.tcp_len), (n.udp_base, n.udp_len)]);
    let base = runs.clone().map(|(base, _)| base).min().unwrap_or(0);
    let end = runs.map(|(base, len)| base + len).max().unwrap_or(0);
    Block {
        base,
        len: end.saturating_sub(base),
    }
}

impl Journal<'_> {
    /// Writes rules, if there are any, for the settings to name.
    pub(super) fn write_matches(
        &mut self,
        rules: &[MatchRule],
        now: u64,
    ) -> Result<(), ReconcileError> {
        let stands = if rules.is_empty() {
            Standing::default()
        } else {
            self.write_set(rules, now)?
        };
        let before = std::mem::replace(&mut self.tables.matches.stands, stands);
        self.replaced_matches(before);
        Ok(())
    }

    fn write_set(&mut self, rules: &[MatchRule], now: u64) -> Result<Standing, ReconcileError> {
        let links = links(self.dataplane, rules);
        let set = self.tables.matches.next_set();
        let planned = plan::matches(rules, set, &|name| links.get(name).copied().flatten());
        let needed = planned.slots.len() as u32;
        let matches = &mut self.tables.matches;
        if matches.prefixes() + planned.nodes.len() > MATCH_PREFIXES as usize {
            return Err(ReconcileError::MatchSpace { needed });
        }
        let block = matches.space.take(needed, now);
        let block = block.ok_or(ReconcileError::MatchSpace { needed })?;
        let nodes = planned.at(block.base);
        let written = Standing {
            set,
            block,
            keys: nodes.iter().map(|(key, _)| *key).collect(),
            links,
        };
        self.taken_matches(written.clone());
        self.dataplane
            .write_match_slots(block.base, &planned.slots)?;
        self.dataplane.put_match_nodes(&nodes)?;
        Ok(written)
    }

    /// The flags that follow from the model, and which match rules are in force: one write.
    pub(super) fn write_flags(&mut self, model: &Model) -> Result<(), TableError> {
        let mut settings = *self.tables.settings();
        settings.flags = settings.flags & !plan::MODEL_FLAGS | plan::settings_flags(model);
        settings.match_set = self.tables.matches.stands.set;
        if settings == *self.tables.settings() {
            return Ok(());
        }
        self.put_settings(&settings)
    }

    /// Brings the rules in the tables to those of the model, if they are others.
    pub(super) fn repair_matches(&mut self, model: &Model, now: u64) -> Result<(), ReconcileError> {
        let rules = model.matches();
        let links = links(self.dataplane, rules);
        let Standing { set, block, .. } = self.tables.matches.stands;
        let planned = plan::matches(rules, set, &|name| links.get(name).copied().flatten());
        let mut nodes = self.dataplane.match_nodes()?;
        nodes.retain(|(key, _)| key.place.set() == set);
        nodes.sort_unstable_by_key(|(key, _)| *key);
        let mut wanted = planned.at(block.base);
        wanted.sort_unstable_by_key(|(key, _)| *key);
        let slots = self.dataplane.read_match_slots(block.base, block.len);
        let stands = nodes == wanted && slots.is_ok_and(|slots| slots == planned.slots);
        if stands && (set != 0) != rules.is_empty() {
            self.tables.matches.stands.links = links;
            return Ok(());
        }
        self.write_matches(rules, now)
    }
}

/// The interfaces that rules name.
fn links(dataplane: &dyn Dataplane, rules: &[MatchRule]) -> Links {
    let mut links = Links::new();
    for name in rules.iter().filter_map(|r| r.conditions.interface.as_ref()) {
        if !links.contains_key(name) {
            links.insert(name.clone(), dataplane.link(name));
        }
    }
    links
}

impl Tables {
    /// Writes the match rules anew if an interface that they name came, went, or is another one.
    pub fn refresh_matches(
        &mut self,
        dataplane: &mut dyn Dataplane,
        model: &Model,
    ) -> Result<(), ReconcileError> {
        let links = &self.matches.stands.links;
        if links
            .iter()
            .all(|(name, known)| dataplane.link(name) == *known)
        {
            return Ok(());
        }
        let now = dataplane.now()?;
        let mut journal = Journal::new(self, dataplane);
        let written = journal
            .write_matches(model.matches(), now)
            .and_then(|()| Ok(journal.write_flags(model)?));
        match written {
            Ok(()) => {
                journal.commit(now);
                Ok(())
            }
            Err(cause) => Err(journal.roll_back(cause, now)),
        }
    }
}
