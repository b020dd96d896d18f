//! How much kernel memory the tables take, known before they are made.
//!
//! The arithmetic is the kernel's for each type of map; a test compares it with what the kernel charges. What the machine can
//! give is [`super::available`]'s.

use std::{fmt, io};

use aya::util::nr_cpus;
use ipvs_common::{
    Addr, Conn, Dest, DestState, Entry, Flow, FlowKey, LblcEntry, LblcKey, LblcrEntry, ListSlot,
    MatchSlot, RingSlot, SchedState, Service, ServiceKey, Stats, Template, TemplateKey, Tie,
    maps::{self, Capacities},
};

use super::available::Available;
use crate::ledger::Value;

/// What maps of a fixed size take together, the ring of frames for the daemon above all, and the programs.
const FIXED: u64 = 4 << 20;
/// What the kernel keeps with each entry of a hash map, before key and value.
const HASH_ELEMENT: u64 = 48;
const BUCKET: u64 = 16;
/// A pointer for each entry of a per-CPU array.
const POINTER: u64 = 8;

/// How the kernel lays a map out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    Hash {
        key: usize,
    },
    /// Made entry by entry; only the buckets are there from the beginning.
    HashOnDemand,
    Array,
    PerCpuArray,
}

/// A table whose size is a setting.
struct Table {
    name: &'static str,
    /// Of `[director]`.
    setting: &'static str,
    layout: Layout,
    value: usize,
}

const fn hash<K, V>(name: &'static str, setting: &'static str) -> Table {
    Table {
        layout: Layout::Hash {
            key: size_of::<K>(),
        },
        ..array::<V>(name, setting)
    }
}

const fn array<V>(name: &'static str, setting: &'static str) -> Table {
    Table {
        name,
        setting,
        layout: Layout::Array,
        value: size_of::<V>(),
    }
}

const TABLES: [Table; 20] = [
    hash::<ServiceKey, Service>(maps::SERVICES, "services"),
    array::<SchedState>(maps::SCHED_STATES, "services"),
    array::<ListSlot>(maps::DEST_LISTS, "list_slots"),
    array::<[u32; 2]>(maps::HASH_TABLES, "table_slots"),
    array::<Dest>(maps::DESTS, "real_servers"),
    array::<DestState>(maps::DEST_STATES, "real_servers"),
    Table {
        layout: Layout::PerCpuArray,
        ..array::<Stats>(maps::DEST_STATS, "real_servers")
    },
    hash::<FlowKey, Conn>(maps::CONNS, "connections"),
    hash::<FlowKey, Conn>(maps::HALF_OPEN, "half_open"),
    array::<RingSlot>(maps::HALF_OPEN_RING, "half_open"),
    hash::<TemplateKey, Template>(maps::TEMPLATES, "templates"),
    hash::<Flow, Entry>(maps::CONNS6, "connections6"),
    hash::<Flow, Entry>(maps::HALF_OPEN6, "half_open6"),
    array::<RingSlot<Addr>>(maps::HALF_OPEN_RING6, "half_open6"),
    hash::<Tie, Template>(maps::TEMPLATES6, "templates6"),
    array::<MatchSlot>(maps::MATCH_SLOTS, "match_slots"),
    hash::<LblcKey, LblcEntry>(maps::LBLC, "lblc"),
    hash::<LblcKey, LblcrEntry>(maps::LBLCR, "lblcr"),
    Table {
        layout: Layout::HashOnDemand,
        ..array::<u32>(maps::MASQ_REALS, "real_servers")
    },
    Table {
        layout: Layout::HashOnDemand,
        ..array::<Value>(maps::LEDGER, "real_servers")
    },
];

impl Table {
    /// Bytes of so many entries.
    const fn bytes(&self, entries: u32, cpus: u64) -> u64 {
        let value = (self.value as u64).next_multiple_of(8);
        let n = entries as u64;
        match self.layout {
            Layout::Hash { key } => {
                let element = HASH_ELEMENT + (key as u64).next_multiple_of(8) + value;
                // One element more for each CPU, to replace values with.
                (n + cpus) * element + n.next_power_of_two() * BUCKET
            }
            Layout::HashOnDemand => n.next_power_of_two() * BUCKET,
            Layout::Array => n * value,
            Layout::PerCpuArray => n * (value * cpus + POINTER),
        }
    }
}

/// What tables of given sizes take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// Bytes by map.
    pub maps: Vec<(&'static str, u64)>,
    /// Bytes by setting, the largest first.
    settings: Vec<(&'static str, u64)>,
}

impl Need {
    #[must_use]
    pub fn of(capacities: Capacities, cpus: usize) -> Self {
        let mut need = Self {
            maps: Vec::new(),
            settings: Vec::new(),
        };
        for table in &TABLES {
            let Some(entries) = capacities.entries(table.name) else {
                continue;
            };
            let bytes = table.bytes(entries, cpus as u64);
            need.maps.push((table.name, bytes));
            let known = need.settings.iter_mut();
            match known.into_iter().find(|(name, _)| *name == table.setting) {
                Some((_, sum)) => *sum += bytes,
                None => need.settings.push((table.setting, bytes)),
            }
        }
        need.settings.sort_by_key(|(_, bytes)| u64::MAX - bytes);
        need
    }

    /// On this machine.
    pub fn here(capacities: Capacities) -> io::Result<Self> {
        let cpus = nr_cpus().map_err(|(_, e)| e)?;
        Ok(Self::of(capacities, cpus))
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        FIXED + self.maps.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Refuses what does not fit.
    pub fn check(&self, available: &Available) -> Result<(), Shortage> {
        if self.total() <= available.bytes {
            return Ok(());
        }
        let (setting, most) = self.settings.first().copied().unwrap_or_default();
        Err(Shortage {
            needed: self.total(),
            available: available.clone(),
            setting,
            most,
        })
    }
}

/// In all, and for each setting that counts.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", megabytes(self.total()))?;
        let counts = |bytes: &u64| bytes.saturating_mul(100) >= self.total();
        let each = self.settings.iter().filter(|(_, bytes)| counts(bytes));
        for (number, (name, bytes)) in each.enumerate() {
            let before = if number == 0 { ": " } else { ", " };
            write!(f, "{before}{name} {} MB", megabytes(*bytes))?;
        }
        Ok(())
    }
}

impl Need {
    /// New tables of these sizes must fit on this machine.
    pub(super) fn check_here(capacities: Capacities) -> Result<(), super::LoadError> {
        let cpus = nr_cpus().map_err(|(_, e)| super::LoadError::States(e))?;
        Ok(Self::of(capacities, cpus).check(&Available::now())?)
    }
}

/// The machine has not got the memory.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the tables need {} MB of kernel memory, and {available}: lower `{setting}` in [director], which takes {} MB of it",
    megabytes(*.needed), megabytes(*.most)
)]
pub struct Shortage {
    pub needed: u64,
    pub available: Available,
    /// The setting that takes most.
    pub setting: &'static str,
    most: u64,
}

pub(super) const fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Capacities = Capacities {
        conns: 1 << 20,
        ..Capacities::DEFAULT
    };

    fn of(need: &Need, map: &str) -> u64 {
        let found = need.maps.iter().find(|(name, _)| *name == map);
        found.unwrap().1
    }

    fn machine(bytes: u64) -> Available {
        Available::on_machine(bytes)
    }

    #[test]
    fn an_entry_of_a_hash_takes_its_place_and_a_bucket() {
        let need = Need::of(ONE, 2);
        // 48 + 16 + 64 for each entry, two entries for each connection; and 2^21 buckets.
        assert_eq!(
            of(&need, maps::CONNS),
            ((2 << 20) + 2) * 128 + (2 << 20) * 16
        );
        let need = Need::of(
            Capacities {
                conns: (1 << 20) + 1,
                ..ONE
            },
            2,
        );
        let buckets = (4 << 20) * 16;
        assert_eq!(of(&need, maps::CONNS), ((2 << 20) + 4) * 128 + buckets);
    }

    #[test]
    fn statistics_are_kept_for_each_cpu() {
        let bytes = |cpus| of(&Need::of(ONE, cpus), maps::DEST_STATS);
        assert_eq!(bytes(64) - bytes(63), 131_072 * 40);
    }

    #[test]
    fn every_table_with_a_size_is_counted() {
        let need = Need::of(Capacities::DEFAULT, 2);
        for name in super::super::loader::SHARED {
            let counted = need.maps.iter().any(|(n, _)| *n == name);
            assert_eq!(
                counted,
                Capacities::DEFAULT.entries(name).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn four_times_the_connections_take_four_times_the_memory() {
        let four = Capacities {
            conns: 4 << 20,
            ..ONE
        };
        let (one, four) = (Need::of(ONE, 2), Need::of(four, 2));
        let (one, four) = (of(&one, maps::CONNS), of(&four, maps::CONNS));
        assert!(four.abs_diff(4 * one) < 1000);
    }

    #[test]
    fn what_fits_is_taken_to_the_last_byte() {
        let need = Need::of(ONE, 2);
        assert_eq!(need.check(&machine(need.total())), Ok(()));
        assert!(need.check(&machine(need.total() - 1)).is_err());
    }

    #[test]
    fn a_refusal_tells_need_supply_and_what_to_lower() {
        let huge = Capacities {
            conns: 1 << 26,
            ..ONE
        };
        let refused = Need::of(huge, 2).check(&machine(8 << 30)).unwrap_err();
        assert_eq!(refused.setting, "connections");
        let text = refused.to_string();
        for part in ["19012 MB", "8192 MB", "`connections`", "18433 MB"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let many = Capacities {
            half_open: 1 << 24,
            ..ONE
        };
        let refused = Need::of(many, 2).check(&machine(1 << 30)).unwrap_err();
        assert_eq!(refused.setting, "half_open");
    }
}
