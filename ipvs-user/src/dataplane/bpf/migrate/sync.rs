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

/// A table by its name.
type Named<'a, K, V> = (&'static str, &'a mut HashMap<MapData, K, V>);

impl Snapshot {
    /// Writes what `wanted` has and the table has not. `swapped`: the table is in use, so what differs from what was written
    /// here belongs to others. Returns how many entries changed.
    pub(super) fn apply<K, V>(
        &mut self,
        (name, table): Named<'_, K, V>,
        wanted: &[(K, V)],
        swapped: bool,
        mut told: impl FnMut(Change<'_, V>),
    ) -> Result<usize, LoadError>
    where
        K: Pod + aya::Pod + Eq + std::hash::Hash,
        V: Pod + aya::Pod + PartialEq,
    {
        let failed = |source| LoadError::Map { name, source };
        let there: Map<K, V> = batch::entries(table).map_err(failed)?.into_iter().collect();
        let mut keep = std::collections::HashSet::with_capacity(wanted.len());
        let mut changed = 0;
        for (key, value) in wanted {
            keep.insert(*key);
            let (of_key, of_value) = (self.print(key), self.print(value));
            let known = self.written.get(&of_key).copied();
            match there.get(key) {
                // Entered before, and ended by the new program.
                None if swapped && known.is_some() => continue,
                None => match table.insert(key, value, BPF_NOEXIST) {
                    Ok(()) => told(Change::Entered(value)),
                    // A packet was faster.
                    Err(e) if swapped && is(&e, libc::EEXIST) => continue,
                    Err(e) if is(&e, libc::E2BIG) => {
                        return Err(LoadError::TooSmall { name });
                    }
                    Err(e) => return Err(failed(e)),
                },
                Some(now) if now == value => {}
                Some(now) if swapped && known != Some(self.print(now)) => continue,
                Some(_) if known == Some(of_value) => continue,
                Some(now) => {
                    table.insert(key, value, 0).map_err(failed)?;
                    told(Change::Replaced(now, value));
                }
            }
            if known != Some(of_value) {
                changed += 1;
            }
            self.written.insert(of_key, of_value);
        }
        for (key, now) in there.iter().filter(|(key, _)| !keep.contains(*key)) {
            let of_key = self.print(key);
            // Ended in the old table; unless the new program made it, or goes on with it.
            if self.written.get(&of_key) == Some(&self.print(now)) {
                absent_is_fine(table.remove(key)).map_err(failed)?;
                told(Change::Removed(now));
                self.written.remove(&of_key);
                changed += 1;
            }
        }
        Ok(changed)
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
