//! Brings one table to what another one has, by as few writes as it takes, and tells what each did.
//!
//! Knows keys and values only. What it remembers of each entry is two numbers, so that a table of millions stays bearable.

use std::{
    collections::HashMap as Map,
    hash::{BuildHasher as _, RandomState},
    io,
};

use aya::maps::{HashMap, MapData, MapError};
use bytemuck::Pod;

use crate::dataplane::bpf::{LoadError, absent_is_fine, batch};

const BPF_NOEXIST: u64 = 1;

/// What became of an entry.
pub(super) enum Change<'a, V> {
    Entered(&'a V),
    Replaced(&'a V, &'a V),
    Removed(&'a V),
}

impl<V> Change<'_, V> {
    /// Each value that comes (1) or goes (-1).
    pub(super) fn each(&self, mut of: impl FnMut(&V, i32)) {
        match self {
            Self::Entered(new) => of(new, 1),
            Self::Replaced(old, new) => {
                of(old, -1);
                of(new, 1);
            }
            Self::Removed(old) => of(old, -1),
        }
    }
}

/// What was written for each key: fingerprints of the old table's value, and of the value written.
#[derive(Default)]
pub(super) struct Snapshot {
    written: Map<u64, u64>,
    hasher: RandomState,
}

/// How far the swap of programs is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No program works over the new table, so everything must find room there.
    Before,
    /// Programs do: an entry that finds no room is left behind, because there is no way back.
    Swapped,
    /// The same, and they did before this process was there.
    Resumed,
}

/// What became of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Applied {
    pub(super) changed: usize,
    /// Entries that found no room.
    pub(super) lost: usize,
}

/// A table as it is written here.
pub(super) trait Table<K, V> {
    fn entries(&self) -> Result<Vec<(K, V)>, MapError>;
    /// Enters one that must not be there.
    fn enter(&mut self, key: &K, value: &V) -> Result<(), MapError>;
    fn replace(&mut self, key: &K, value: &V) -> Result<(), MapError>;
    fn remove(&mut self, key: &K) -> Result<(), MapError>;
}

impl<K: Pod + aya::Pod, V: Pod + aya::Pod> Table<K, V> for HashMap<MapData, K, V> {
    fn entries(&self) -> Result<Vec<(K, V)>, MapError> {
        batch::entries(self)
    }

    fn enter(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        self.insert(key, value, BPF_NOEXIST)
    }

    fn replace(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        self.insert(key, value, 0)
    }

    fn remove(&mut self, key: &K) -> Result<(), MapError> {
        absent_is_fine(Self::remove(self, key))
    }
}

impl Snapshot {
    /// Writes what `wanted` has and the table has not. What the table has and was not written here belongs to others: to the
    /// director, which carries out its configuration, and later to the new program. Only in [`Phase::Resumed`] an entry that
    /// nothing is known of gives way, if what is wanted is `newer`.
    pub(super) fn apply<K, V>(
        &mut self,
        (name, table): (&'static str, &mut impl Table<K, V>),
        wanted: &[(K, V)],
        phase: Phase,
        newer: impl Fn(&V, &V) -> bool,
        mut told: impl FnMut(Change<'_, V>),
    ) -> Result<Applied, LoadError>
    where
        K: Pod + Eq + std::hash::Hash,
        V: Pod + PartialEq,
    {
        let failed = |source| LoadError::Map { name, source };
        let there: Map<K, V> = table.entries().map_err(failed)?.into_iter().collect();
        let mut keep = std::collections::HashSet::with_capacity(wanted.len());
        let mut applied = Applied::default();
        for (key, value) in wanted {
            keep.insert(*key);
            let (of_key, of_value) = (self.print(key), self.print(value));
            let known = self.written.get(&of_key).copied();
            match there.get(key) {
                // Entered before, and ended by others.
                None if known.is_some() => continue,
                None => match table.enter(key, value) {
                    Ok(()) => told(Change::Entered(value)),
                    // A packet was faster.
                    Err(e) if is(&e, libc::EEXIST) => continue,
                    Err(e) if is(&e, libc::E2BIG) => {
                        if phase == Phase::Before {
                            return Err(LoadError::TooSmall { name });
                        }
                        applied.lost += 1;
                        continue;
                    }
                    Err(e) => return Err(failed(e)),
                },
                Some(now) if now == value => {}
                Some(now) => {
                    let ours = known == Some(self.print(now));
                    let outdated = known.is_none() && phase == Phase::Resumed && newer(value, now);
                    if !ours && !outdated {
                        continue;
                    }
                    table.replace(key, value).map_err(failed)?;
                    told(Change::Replaced(now, value));
                }
            }
            if known != Some(of_value) {
                applied.changed += 1;
            }
            self.written.insert(of_key, of_value);
        }
        for (key, now) in there.iter().filter(|(key, _)| !keep.contains(*key)) {
            let of_key = self.print(key);
            // Ended in the old table; unless the new program made it, or goes on with it.
            if self.written.get(&of_key) == Some(&self.print(now)) {
                table.remove(key).map_err(failed)?;
                told(Change::Removed(now));
                self.written.remove(&of_key);
                applied.changed += 1;
            }
        }
        Ok(applied)
    }

    fn print<T: Pod>(&self, of: &T) -> u64 {
        self.hasher.hash_one(bytemuck::bytes_of(of))
    }
}

fn is(error: &MapError, code: i32) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.raw_os_error() == Some(code);
        }
        cause = e.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aya::sys::SyscallError;

    use super::*;

    /// A table of so many entries.
    struct Small(BTreeMap<u32, u64>, usize);

    fn refused(code: i32) -> MapError {
        SyscallError {
            call: "bpf_map_update_elem",
            io_error: io::Error::from_raw_os_error(code),
        }
        .into()
    }

    impl Table<u32, u64> for Small {
        fn entries(&self) -> Result<Vec<(u32, u64)>, MapError> {
            Ok(self.0.iter().map(|(k, v)| (*k, *v)).collect())
        }

        fn enter(&mut self, key: &u32, value: &u64) -> Result<(), MapError> {
            if self.0.contains_key(key) {
                return Err(refused(libc::EEXIST));
            }
            if self.0.len() >= self.1 {
                return Err(refused(libc::E2BIG));
            }
            self.0.insert(*key, *value);
            Ok(())
        }

        fn replace(&mut self, key: &u32, value: &u64) -> Result<(), MapError> {
            self.0.insert(*key, *value);
            Ok(())
        }

        fn remove(&mut self, key: &u32) -> Result<(), MapError> {
            self.0.remove(key);
            Ok(())
        }
    }

    fn table(entries: &[(u32, u64)]) -> Small {
        Small(entries.iter().copied().collect(), 4)
    }

    fn apply(
        snapshot: &mut Snapshot,
        table: &mut Small,
        wanted: &[(u32, u64)],
        phase: Phase,
    ) -> Result<Applied, LoadError> {
        snapshot.apply(("T", table), wanted, phase, |a, b| a > b, |_| ())
    }

    #[test]
    fn what_the_old_table_changed_comes_over_again_before_the_swap_and_after() {
        for phase in [Phase::Before, Phase::Swapped] {
            let (mut snapshot, mut new) = (Snapshot::default(), table(&[]));
            apply(&mut snapshot, &mut new, &[(1, 1), (2, 1)], Phase::Before).unwrap();
            let applied = apply(&mut snapshot, &mut new, &[(1, 2), (3, 1)], phase).unwrap();
            assert_eq!(applied.changed, 3);
            assert_eq!(new.0, table(&[(1, 2), (3, 1)]).0);
        }
    }

    #[test]
    fn what_others_touched_stays_theirs() {
        for phase in [Phase::Before, Phase::Swapped, Phase::Resumed] {
            let (mut snapshot, mut new) = (Snapshot::default(), table(&[]));
            let first = [(1, 1), (2, 1), (3, 1)];
            apply(&mut snapshot, &mut new, &first, Phase::Before).unwrap();
            new.0 = table(&[(1, 8), (3, 9)]).0;
            apply(&mut snapshot, &mut new, &[(1, 2), (2, 2)], phase).unwrap();
            // Changed and ended there, and ended in the old one but still used in the new one.
            assert_eq!(new.0, table(&[(1, 8), (3, 9)]).0, "{phase:?}");
        }
    }

    #[test]
    fn after_a_crash_in_the_swap_the_later_entry_wins_and_none_is_missed() {
        let mut new = table(&[(1, 5), (2, 5), (3, 5)]);
        let wanted = [(1, 9), (2, 4), (4, 1)];
        apply(&mut Snapshot::default(), &mut new, &wanted, Phase::Resumed).unwrap();
        assert_eq!(new.0, table(&[(1, 9), (2, 5), (3, 5), (4, 1)]).0);
    }

    #[test]
    fn a_full_table_is_refused_before_the_swap_and_counted_after() {
        let wanted: Vec<_> = (0..6).map(|n| (n, 1)).collect();
        let full = apply(
            &mut Snapshot::default(),
            &mut table(&[]),
            &wanted,
            Phase::Before,
        );
        assert!(matches!(full, Err(LoadError::TooSmall { name: "T" })));
        for phase in [Phase::Swapped, Phase::Resumed] {
            let (mut snapshot, mut new) = (Snapshot::default(), table(&[]));
            let applied = apply(&mut snapshot, &mut new, &wanted, phase).unwrap();
            assert_eq!((applied.changed, applied.lost), (4, 2));
        }
    }

    #[test]
    fn an_entry_that_is_met_twice_is_entered_once() {
        let (mut snapshot, mut new) = (Snapshot::default(), table(&[]));
        apply(&mut snapshot, &mut new, &[(1, 1), (1, 2)], Phase::Before).unwrap();
        assert_eq!(new.0, table(&[(1, 1)]).0);
    }
}
