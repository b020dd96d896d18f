//! Reads an array that has a value for each CPU in few system calls, and makes one value of each entry's.
//!
//! Knows sizes only; what a value means is the caller's business.

use std::io;

use aya::maps::{IterableMap as _, MapData, MapError, PerCpuArray};
use bytemuck::Pod;

use super::batch;

/// Bytes that are asked for at once.
const AT_ONCE: usize = 1 << 18;

/// The entries from 0 on, so many. `cpus` is how many the machine may ever have.
pub(super) fn folded<V>(
    map: &PerCpuArray<MapData, V>,
    cpus: usize,
    count: u32,
    fold: impl Fn(V, V) -> V,
) -> Result<Vec<V>, MapError>
where
    V: Pod + aya::Pod,
{
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel pads others") };
    match sweep(map.map(), cpus, count as usize, &fold) {
        // A kernel without batches for this type of map.
        Err(e) if batch::is_unknown(&e) => (0..count)
            .map(|index| Ok(one(&map.get(&index, 0)?, &fold)))
            .collect(),
        swept => swept.map_err(MapError::IoError),
    }
}

fn sweep<V: Pod>(
    map: &MapData,
    cpus: usize,
    count: usize,
    fold: &impl Fn(V, V) -> V,
) -> io::Result<Vec<V>> {
    let room = (AT_ONCE / (size_of::<V>() * cpus)).clamp(1, count.max(1));
    let mut keys = vec![0_u32; room];
    let mut values = vec![V::zeroed(); room * cpus];
    let mut found = Vec::with_capacity(count);
    let mut at = None;
    while found.len() < count {
        let room = room.min(count - found.len());
        let values = &mut values[..room * cpus];
        let (got, next) = batch::lookup(map.fd(), at, &mut keys[..room], values, cpus)?;
        let entries = values.chunks_exact(cpus).take(got);
        found.extend(entries.map(|each| one(each, fold)));
        if next.is_none() {
            break;
        }
        at = next;
    }
    Ok(found)
}

fn one<V: Pod>(each: &[V], fold: &impl Fn(V, V) -> V) -> V {
    each.iter().fold(V::zeroed(), |all, v| fold(all, *v))
}
