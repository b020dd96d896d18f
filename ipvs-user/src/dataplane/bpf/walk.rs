//! Walks over the large tables, in parts that take little time: reads some buckets, and has the program in the kernel end
//! what is due among them.
//!
//! Knows how to find what a [`Task`] is after; how it ends is the program's business.

use std::time::Instant;

use aya::maps::{HashMap, IterableMap as _, MapData, MapError};
use bytemuck::Pod;
use ipvs_common::{Conn, ConnFlags, FlowKey, Template, TemplateKey, maps as names};
use ipvs_datapath::expire::Batch;

use super::{
    BpfDataplane, Dataplane as _, Place, Result, Seen, Stop, Task,
    batch::{self, Batches},
    failed,
};

/// Entries read at once. Their keys and values, 20 KB, stay in the first caches: a fourth faster than 2,048 at once.
const AT_ONCE: usize = 256;
/// An entry of the reply direction is looked at in one walk out of so many: it ends with its other half, but for those rare
/// ones that lost it.
const ORPHANS: u32 = 8;

/// The tables in the order of a walk.
const TABLES: [&str; 3] = [names::HALF_OPEN, names::CONNS, names::TEMPLATES];
const CONNS: usize = 1;
const TEMPLATES: usize = 2;

#[derive(Default)]
pub(super) struct Buffers {
    conns: Batches<FlowKey, Conn>,
    templates: Batches<TemplateKey, Template>,
    due: Vec<FlowKey>,
    due_templates: Vec<TemplateKey>,
}

/// What all parts of one call have in common.
struct Call {
    now: u64,
    orphans: bool,
}

impl BpfDataplane {
    pub(super) fn walk_tables(
        &mut self,
        mut task: Task<'_>,
        place: &mut Place,
        stop: Stop,
    ) -> Result<bool> {
        let tables = match task {
            Task::Drop(_) => TEMPLATES,
            Task::Expire | Task::ExpireAndShow(_) | Task::EndOf(_) => TABLES.len(),
        };
        let Some(limit) = self.limit(place, stop, tables) else {
            return Ok(false);
        };
        let call = Call {
            now: self.now()?,
            orphans: stop == Stop::Never || place.rounds.is_multiple_of(ORPHANS),
        };
        let mut walked = 0;
        loop {
            let next = if place.table == TEMPLATES {
                self.walk_templates(&mut task, place.at, &call)?
            } else {
                self.walk_connections(&mut task, place.table, place.at, &call)?
            };
            let end = next.unwrap_or_else(|| self.buckets(place.table));
            walked += u64::from(end.saturating_sub(place.at));
            place.at = end;
            if next.is_none() {
                (place.table, place.at) = (place.table + 1, 0);
            }
            let ended = place.table >= tables;
            if ended {
                *place = place.next_round();
            }
            if ended || limit.is_reached(walked) {
                place.ahead = limit.ahead(walked);
                return Ok(ended);
            }
        }
    }

    /// `None`: the last call went so far that there is nothing to do this time.
    fn limit(&self, place: &mut Place, stop: Stop, tables: usize) -> Option<Limit> {
        Some(match stop {
            Stop::Never => Limit::None,
            Stop::After(time) => Limit::Time(Instant::now() + time),
            Stop::Part(parts) => {
                let all: u64 = (0..tables).map(|t| u64::from(self.buckets(t))).sum();
                let part = all.div_ceil(u64::from(parts.max(1)));
                if place.ahead >= part {
                    place.ahead -= part;
                    return None;
                }
                Limit::Buckets(part - place.ahead)
            }
        })
    }

    /// Buckets of a table: the kernel takes the next power of two.
    fn buckets(&self, table: usize) -> u32 {
        let entries = self.loader.capacities().entries(TABLES[table]);
        entries.unwrap_or(1).next_power_of_two()
    }

    /// Returns the bucket to go on with.
    fn walk_connections(
        &mut self,
        task: &mut Task<'_>,
        table: usize,
        at: u32,
        call: &Call,
    ) -> Result<Option<u32>> {
        let map = if table == CONNS {
            &self.maps.conns
        } else {
            &self.maps.half_open
        };
        let [established, half_open] = match task {
            Task::Expire | Task::ExpireAndShow(_) => [Batch::CONNECTIONS, Batch::HALF_OPEN],
            Task::EndOf(_) => [Batch::GONE_CONNECTIONS, Batch::GONE_HALF_OPEN],
            Task::Drop(_) => [Batch::DROP_CONNECTIONS, Batch::DROP_HALF_OPEN],
        };
        let kind = if table == CONNS {
            established
        } else {
            half_open
        };
        let Buffers { conns, due, .. } = &mut self.buffers;
        let next = read(conns, map, at);
        let next = next.map_err(failed(TABLES[table], "read", at))?;
        let found = |(key, conn): &(&FlowKey, &Conn)| {
            let reply = conn.status.flags & ConnFlags::REPLY != 0;
            match task {
                Task::Expire => conn.expires <= call.now && (call.orphans || !reply),
                Task::ExpireAndShow(see) => {
                    if table == CONNS && !reply && conn.expires > call.now {
                        see(Seen::Connection(key, conn));
                    }
                    conn.expires <= call.now && (call.orphans || !reply)
                }
                Task::EndOf(dests) => !reply && dests.contains(&conn.dest),
                Task::Drop(pick) => !reply && pick(key, conn),
            }
        };
        due.clear();
        due.extend(conns.entries().filter(found).map(|(key, _)| *key));
        self.end(TABLES[table], kind, &self.buffers.due)?;
        Ok(next)
    }

    fn walk_templates(&mut self, task: &mut Task<'_>, at: u32, call: &Call) -> Result<Option<u32>> {
        let Buffers {
            templates,
            due_templates: due,
            ..
        } = &mut self.buffers;
        let next = read(templates, &self.maps.templates, at);
        let next = next.map_err(failed(names::TEMPLATES, "read", at))?;
        let kind = match task {
            Task::EndOf(_) => Batch::GONE_TEMPLATES,
            Task::Expire | Task::ExpireAndShow(_) | Task::Drop(_) => Batch::TEMPLATES,
        };
        let found = |(key, template): &(&TemplateKey, &Template)| match task {
            Task::Expire => template.expires <= call.now,
            Task::ExpireAndShow(see) => {
                see(Seen::Template(key, template));
                template.expires <= call.now
            }
            Task::EndOf(dests) => dests.contains(&template.dest),
            Task::Drop(_) => false,
        };
        due.clear();
        due.extend(templates.entries().filter(found).map(|(key, _)| *key));
        self.end(names::TEMPLATES, kind, &self.buffers.due_templates)?;
        Ok(next)
    }

    fn end<K: Pod>(&self, map: &'static str, kind: u32, due: &[K]) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let ended = self.control.expire(kind, due);
        let ended = ended.map_err(failed(map, "expire", format!("{} entries", due.len())))?;
        if ended != 0 {
            tracing::debug!(map, kind, due = due.len(), ended, "walk");
        }
        Ok(())
    }
}

/// Where a call ends.
enum Limit {
    None,
    Time(Instant),
    Buckets(u64),
}

impl Limit {
    fn is_reached(&self, walked: u64) -> bool {
        match self {
            Self::None => false,
            Self::Time(end) => Instant::now() >= *end,
            Self::Buckets(most) => walked >= *most,
        }
    }

    /// Buckets that were walked too many, as entries come by the batch.
    const fn ahead(&self, walked: u64) -> u64 {
        match self {
            Self::None | Self::Time(_) => 0,
            Self::Buckets(most) => walked.saturating_sub(*most),
        }
    }
}

fn read<K, V>(
    batches: &mut Batches<K, V>,
    map: &HashMap<MapData, K, V>,
    at: u32,
) -> std::result::Result<Option<u32>, MapError>
where
    K: Pod + aya::Pod,
    V: Pod + aya::Pod,
{
    match batches.read(map.map(), at, AT_ONCE) {
        // A kernel without batches: all at once.
        Err(e) if batch::is_unknown(&e) => {
            batches.fill(batch::entries(map)?);
            Ok(None)
        }
        read => read.map_err(MapError::IoError),
    }
}
