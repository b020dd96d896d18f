//! What a connection costs in memory: the tables of connections as the kernel accounts for them, full or empty.

use std::fmt;

use ipvs_common::maps::{self, Capacities};
use ipvs_user::dataplane::bpf::BpfDataplane;

/// A table of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Table {
    name: &'static str,
    entries: u32,
    bytes: u64,
}

/// The tables of connections, of one director.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Memory {
    tables: Vec<Table>,
    conns: u32,
    half_open: u32,
}

impl Memory {
    pub(super) fn of(dataplane: &BpfDataplane, capacities: &Capacities) -> Self {
        let wanted = [maps::CONNS, maps::HALF_OPEN, maps::HALF_OPEN_RING];
        let tables = dataplane.memory().into_iter().filter_map(|(name, bytes)| {
            let entries = capacities.entries(name)?;
            wanted.contains(&name).then_some(Table {
                name,
                entries,
                bytes,
            })
        });
        Self {
            tables: tables.collect(),
            conns: capacities.conns,
            half_open: capacities.half_open,
        }
    }

    /// Bytes of one entry, its share of the table's buckets included.
    fn entry(&self, name: &str) -> u64 {
        let table = self.tables.iter().find(|table| table.name == name);
        table.map_or(0, |t| t.bytes / u64::from(t.entries.max(1)))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory of the tables of connections")?;
        for Table {
            name,
            entries,
            bytes,
        } in &self.tables
        {
            let each = self.entry(name);
            let mib = bytes >> 20;
            writeln!(
                f,
                "  {name:15}{mib:5} MiB, {entries} entries of {each} bytes"
            )?;
        }
        let (conn, half_open, ring) = (
            self.entry(maps::CONNS),
            self.entry(maps::HALF_OPEN),
            self.entry(maps::HALF_OPEN_RING),
        );
        writeln!(
            f,
            "a connection takes {conn} bytes once established ({} masqueraded), {} bytes half-open ({} masqueraded)",
            2 * conn,
            half_open + ring,
            2 * half_open + ring
        )?;
        let all: u64 = self.tables.iter().map(|table| table.bytes).sum();
        writeln!(
            f,
            "all three: {} bytes for each of {} connections and {} half-open ones",
            all / u64::from(self.conns.max(1)),
            self.conns,
            self.half_open
        )
    }
}
