//! The connections and templates of one family on their way from the old tables into the new ones.

use std::collections::HashSet;

use aya::maps::{Array, HashMap, MapData};
use ipvs_common::{Conn, ConnFlags, FlowKey, RingSlot, Template, TemplateKey, maps as names};

use super::{
    Count, Counts, Migrated, failed, next_number,
    old::Old,
    sync::{Change, Phase, Snapshot},
};
use crate::dataplane::bpf::{LoadError, batch, bpffs::Bpffs, family::Family, maps::pinned};

/// Index of no real server.
const NO_DEST: u32 = u32::MAX;

pub(super) struct Flows<A: Family> {
    new: New<A>,
    half_open: Snapshot,
    conns: Snapshot,
    templates: Snapshot,
}

/// The tables that are filled.
struct New<A: Family> {
    half_open: HashMap<MapData, FlowKey<A>, Conn<A>>,
    conns: HashMap<MapData, FlowKey<A>, Conn<A>>,
    templates: HashMap<MapData, TemplateKey<A>, Template>,
    ring: Array<MapData, RingSlot<A>>,
    heads: Array<MapData, u32>,
    /// Places of the ring.
    size: u32,
}

impl<A: Family> Flows<A> {
    pub(super) fn open(dir: &Bpffs, size: u32) -> Result<Self, LoadError> {
        Ok(Self {
            new: New {
                half_open: pinned(dir, A::HALF_OPEN)?,
                conns: pinned(dir, A::CONNS)?,
                templates: pinned(dir, A::TEMPLATES)?,
                ring: pinned(dir, A::RING)?,
                heads: pinned(dir, names::HEADS)?,
                size: size.max(1),
            },
            half_open: Snapshot::default(),
            conns: Snapshot::default(),
            templates: Snapshot::default(),
        })
    }

    /// Copies what is new or changed since the last time, and counts it at its real servers.
    pub(super) fn sync(
        &mut self,
        old: &mut Old,
        states: &Counts,
        phase: Phase,
    ) -> Result<Migrated, LoadError> {
        // In this order, because that is the way an entry moves: met twice it counts once, but none is missed.
        let mut half_open = old.conns::<A>(A::HALF_OPEN)?;
        let conns = old.conns::<A>(A::CONNS)?;
        let promoted: HashSet<_> = conns.iter().map(|(key, _)| *key).collect();
        half_open.retain(|(key, _)| !promoted.contains(key));
        let templates = old.templates::<A>()?;

        let Self { new, .. } = self;
        let counted = |change: Change<'_, Conn<A>>| {
            let of = |conn: &Conn<A>, delta| {
                if let Some(count) = count_of(conn) {
                    states.add(conn.dest, count, delta);
                }
            };
            change.each(of);
        };
        // Templates before the connections that hold them; those that were promoted enter before they leave.
        let persistent = |change: Change<'_, Template>| {
            change.each(|template: &Template, delta| {
                if template.dest != NO_DEST {
                    states.add(template.dest, Count::Persistent, delta);
                }
            });
        };
        let later = |template: &Template, now: &Template| template.expires > now.expires;
        let table = (A::TEMPLATES, &mut new.templates);
        let of_templates = self
            .templates
            .apply(table, &templates, phase, later, persistent)?;
        let later = |conn: &Conn<A>, now: &Conn<A>| conn.expires > now.expires;
        let table = (A::CONNS, &mut new.conns);
        let of_conns = self.conns.apply(table, &conns, phase, later, counted)?;
        if phase == Phase::Resumed {
            let there = batch::entries(&new.conns).map_err(failed(A::CONNS))?;
            let there: HashSet<_> = there.iter().map(|(key, _)| *key).collect();
            half_open.retain(|(key, _)| !there.contains(key));
        }
        let table = (A::HALF_OPEN, &mut new.half_open);
        let of_half_open = self
            .half_open
            .apply(table, &half_open, phase, later, counted)?;
        new.number(&half_open, phase, old.ring_head::<A>()?)?;
        Ok(Migrated {
            connections: of_conns.changed + of_half_open.changed,
            templates: of_templates.changed,
            lost: of_templates.lost + of_conns.lost + of_half_open.lost,
            unfit: 0,
        })
    }
}

impl<A: Family> New<A> {
    /// The ring of half-open connections, in the new one's size; `next` is the old program's next number.
    fn number(
        &mut self,
        half_open: &[(FlowKey<A>, Conn<A>)],
        phase: Phase,
        next: u32,
    ) -> Result<(), LoadError> {
        let before = phase == Phase::Before;
        for (key, conn) in half_open {
            if conn.status.flags & ConnFlags::REPLY != 0 {
                continue;
            }
            let slot = RingSlot {
                key: *key,
                seq: conn.seq,
                used: 1,
            };
            let place = conn.seq % self.size;
            let now = self.ring.get(&place, 0).map_err(failed(A::RING))?;
            if now == slot || !before && now.used != 0 {
                continue;
            }
            self.ring.set(place, slot, 0).map_err(failed(A::RING))?;
        }
        let now = self.heads.get(&A::HEAD, 0).map_err(failed(names::HEADS))?;
        if let Some(next) = next_number(next, now, self.size, before) {
            let set = self.heads.set(A::HEAD, next, 0);
            set.map_err(failed(names::HEADS))?;
        }
        Ok(())
    }
}

/// Which count of its real server a connection is in.
fn count_of<A: Family>(conn: &Conn<A>) -> Option<Count> {
    let flags = conn.status.flags;
    if flags & ConnFlags::REPLY != 0 || conn.dest == NO_DEST {
        return None;
    }
    Some(if flags & ConnFlags::ACTIVE != 0 {
        Count::Active
    } else {
        Count::Inactive
    })
}
