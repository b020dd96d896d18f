//! What must hold of the tables whenever no packet is on its way.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use ipvs_common::{Addr, ConnFlags, Entry, Flow, Tie};

use super::Snapshot;

/// An entry that leads to no real server: of a connection that bypasses them, or of a template that ended.
const NOBODY: u32 = u32::MAX;

impl Snapshot {
    /// Entries of clients, of both tables.
    pub fn clients(&self) -> impl Iterator<Item = (&Flow, &Entry)> {
        let all = self.conns.iter().chain(&self.half_open);
        all.filter(|(_, c)| c.status.flags & ConnFlags::REPLY == 0)
    }

    /// Active and inactive connections of each real server, counted in the tables.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<u32, (u32, u32)> {
        let mut counts: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for (_, conn) in self.clients().filter(|(_, c)| c.dest != NOBODY) {
            let count = counts.entry(conn.dest).or_default();
            if conn.status.flags & ConnFlags::ACTIVE != 0 {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
        counts
    }

    /// The counters of the real servers that are not zero, in the form of [`Self::counted`].
    #[must_use]
    pub fn counters(&self) -> BTreeMap<u32, (u32, u32)> {
        self.dest_states
            .iter()
            .map(|(id, s)| (*id, (s.active, s.inactive)))
            .filter(|(_, n)| *n != (0, 0))
            .collect()
    }

    /// Fails unless every count is what the tables hold, and no connection is there twice.
    pub fn is_consistent(&self) -> Result<()> {
        let (entries, counters) = (self.counted(), self.counters());
        ensure!(
            entries == counters,
            "connections by real server: entries {entries:?}, counters {counters:?}"
        );
        let (entries, counters) = (self.templates_counted(), self.persistent());
        ensure!(
            entries == counters,
            "templates by real server: entries {entries:?}, counters {counters:?}"
        );
        let (entries, counters) = (self.children_counted(), self.children());
        ensure!(
            entries == counters,
            "connections by template: entries {entries:?}, counters {counters:?}"
        );
        let twice = self.conns.keys().find(|k| self.half_open.contains_key(k));
        ensure!(twice.is_none(), "in both tables: {twice:?}");
        let mut tickets = BTreeSet::new();
        let twice = self.clients().find(|(_, c)| !tickets.insert(c.seq));
        ensure!(twice.is_none(), "number given twice: {twice:?}");
        Ok(())
    }

    /// Fails unless nothing is left, and nothing counted.
    pub fn is_empty(&self) -> Result<()> {
        self.is_consistent()?;
        ensure!(self.conns.is_empty(), "{} connections", self.conns.len());
        let half_open = self.half_open.len();
        ensure!(half_open == 0, "{half_open} half-open connections");
        ensure!(self.templates.is_empty(), "{:?}", self.templates);
        let overloaded = self.dest_states.iter().find(|(_, s)| s.overloaded != 0);
        ensure!(overloaded.is_none(), "without connections: {overloaded:?}");
        Ok(())
    }

    /// The same with the generations of each client's templates counted from 0, and without those that ended: how long they
    /// keep their place hangs on the order in which a walk comes by, which is the table's own.
    #[must_use]
    pub(super) fn renumbered(&self) -> Self {
        let mut numbers: BTreeMap<Tie, u8> = BTreeMap::new();
        let mut next: BTreeMap<Tie, u8> = BTreeMap::new();
        for (key, _) in self.templates.iter().filter(|(_, t)| t.dest != NOBODY) {
            let of_client = next.entry(generation_of(key, 0)).or_default();
            numbers.insert(*key, *of_client);
            *of_client += 1;
        }
        let renumber = |(key, conn): (&Flow, &Entry)| {
            let client = conn.status.flags & (ConnFlags::CHILD | ConnFlags::REPLY);
            let number = match client {
                ConnFlags::CHILD => numbers.get(&template_of(key, conn)).copied(),
                _ => Some(0),
            };
            let generation = number.unwrap_or(conn.generation);
            (
                *key,
                Entry {
                    generation,
                    ..*conn
                },
            )
        };
        let templates = self.templates.iter();
        let template = |(key, t): (&Tie, &_)| Some((generation_of(key, *numbers.get(key)?), *t));
        Self {
            conns: self.conns.iter().map(renumber).collect(),
            half_open: self.half_open.iter().map(renumber).collect(),
            templates: templates.filter_map(template).collect(),
            ..self.clone()
        }
    }

    fn templates_counted(&self) -> BTreeMap<u32, u32> {
        let mut counts = BTreeMap::new();
        for template in self.templates.values().filter(|t| t.dest != NOBODY) {
            *counts.entry(template.dest).or_default() += 1;
        }
        counts
    }

    fn persistent(&self) -> BTreeMap<u32, u32> {
        let each = self.dest_states.iter().map(|(id, s)| (*id, s.persistent));
        each.filter(|(_, n)| *n != 0).collect()
    }

    fn children_counted(&self) -> BTreeMap<Tie, u32> {
        let mut counts = BTreeMap::new();
        for (key, conn) in self.clients() {
            if conn.status.flags & ConnFlags::CHILD != 0 {
                *counts.entry(template_of(key, conn)).or_default() += 1;
            }
        }
        counts
    }

    fn children(&self) -> BTreeMap<Tie, u32> {
        let each = self.templates.iter().map(|(key, t)| (*key, t.children));
        each.filter(|(_, n)| *n != 0).collect()
    }
}

const fn generation_of(key: &Tie, generation: u8) -> Tie {
    Tie { generation, ..*key }
}

/// The template that a connection was made through.
fn template_of(key: &Flow, conn: &Entry) -> Tie {
    let before = if key.is_v4() { 96 } else { 0 };
    let kept = before + u32::from(conn.status.template_prefix);
    let mask = (0..kept.min(128)).fold(0, |mask: u128, bit| mask | 1 << (127 - bit));
    let client = (u128::from_be_bytes(key.src.bytes()) & mask).to_be_bytes();
    let client = Addr::v6(client);
    let generation = conn.generation;
    let flags = conn.status.flags;
    if flags & ConnFlags::TEMPLATE_FWMARK != 0 {
        let mark = conn.mark.to_be_bytes();
        let mut vip = [0; 16];
        vip[..4].copy_from_slice(&mark);
        return Tie {
            client,
            vip: if key.is_v4() {
                Addr::v4(mark)
            } else {
                Addr::v6(vip)
            },
            generation,
            ..Tie::default()
        };
    }
    let port0 = flags & ConnFlags::TEMPLATE_PORT0 != 0;
    Tie {
        client,
        vip: key.dst,
        vport: if port0 { [0; 2] } else { key.dport },
        proto: key.proto,
        generation,
    }
}
