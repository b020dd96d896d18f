//! Reads a hash map, whole or in parts, in few system calls (`BPF_MAP_LOOKUP_BATCH`), which aya does not offer: ten times
//! faster than entry by entry.
//!
//! Knows bytes and sizes only; what a key means is the caller's business.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::maps::{HashMap, IterableMap as _, MapData, MapError, MapFd};
use bytemuck::{Pod, Zeroable};

use super::sys;

/// Entries asked for at once. Above a few hundred the time per entry no longer falls; a bucket must fit, though.
pub(super) const AT_ONCE: usize = 4096;
/// More than that in one bucket of a hash table means that something else is wrong.
const AT_ONCE_MAX: usize = 1 << 20;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;

/// The arguments of the batch commands in the kernel's `union bpf_attr`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every entry of the map. Entries that come or go meanwhile may be in it or not.
pub(super) fn entries<K, V>(map: &HashMap<MapData, K, V>) -> Result<Vec<(K, V)>, MapError>
where
    K: Pod + aya::Pod,
    V: Pod + aya::Pod,
{
    match sweep(map.map()) {
        Err(e) if is_unknown(&e) => map.iter().collect(),
        swept => swept.map_err(MapError::IoError),
    }
}

/// Whether a kernel says by this that it has no batches, or none for this type of map.
pub(super) fn is_unknown(e: &io::Error) -> bool {
    /// Known to the kernel alone.
    const ENOTSUPP: i32 = 524;
    matches!(e.raw_os_error(), Some(libc::EINVAL | ENOTSUPP))
}

fn sweep<K: Pod, V: Pod>(map: &MapData) -> io::Result<Vec<(K, V)>> {
    let mut batches = Batches::default();
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let next = batches.read(map, at, AT_ONCE)?;
        found.extend(batches.entries().map(|(k, v)| (*k, *v)));
        match next {
            Some(next) => at = next,
            None => return Ok(found),
        }
    }
}

/// Room for the entries that come at once, used over and over.
pub(super) struct Batches<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    /// How many of them came.
    got: usize,
}

impl<K, V> Default for Batches<K, V> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
            got: 0,
        }
    }
}

impl<K: Pod, V: Pod> Batches<K, V> {
    /// Reads at most `at_once` entries from bucket `at` on, unless that one alone holds more. Returns the bucket to go on
    /// with, if any is left.
    pub(super) fn read(
        &mut self,
        map: &MapData,
        at: u32,
        at_once: usize,
    ) -> io::Result<Option<u32>> {
        self.got = 0;
        let (got, next) = with_room(at_once, |room| {
            if self.keys.len() < room {
                self.keys.resize(room, K::zeroed());
                self.values.resize(room, V::zeroed());
            }
            let (keys, values) = (&mut self.keys[..room], &mut self.values[..room]);
            lookup(map.fd(), (at != 0).then_some(at), keys, values, 1)
        })?;
        self.got = got;
        Ok(next)
    }

    /// What came with the last read.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.keys.iter().zip(&self.values).take(self.got)
    }

    /// Takes what was read in another way.
    pub(super) fn fill(&mut self, entries: Vec<(K, V)>) {
        self.got = entries.len();
        (self.keys, self.values) = entries.into_iter().unzip();
    }
}

/// One call: how many entries came, and where the next call goes on, if there are more. An entry has so many values, one for
/// each CPU.
pub(super) fn lookup<K: Pod, V: Pod>(
    map: &MapFd,
    at: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
    each: usize,
) -> io::Result<(usize, Option<u32>)> {
    let sizes = (size_of::<K>(), size_of::<V>() * each);
    let (keys, values) = (
        bytemuck::cast_slice_mut(keys),
        bytemuck::cast_slice_mut(values),
    );
    // SAFETY: aya checked the sizes when it typed the map.
    unsafe { lookup_bytes(map.as_fd(), at, keys, values, sizes) }
}

/// The same as bytes.
///
/// # Safety
/// `sizes` have to be those of the map's keys, and of all values of one: the kernel writes as much.
pub(super) unsafe fn lookup_bytes(
    map: BorrowedFd<'_>,
    at: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    sizes: (usize, usize),
) -> io::Result<(usize, Option<u32>)> {
    let mut next = 0_u32;
    let mut request = Request {
        in_batch: at.as_ref().map_or(0, address),
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: (keys.len() / sizes.0).min(values.len() / sizes.1) as u32,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..Request::zeroed()
    };
    // SAFETY: the kernel writes at most `count` keys and values, for which there is room by the sizes that the caller vouches for. For hash maps and
    // arrays the position is a u32.
    let done = unsafe { sys::call(BPF_MAP_LOOKUP_BATCH, bytemuck::bytes_of_mut(&mut request)) };
    let count = request.count as usize;
    match done {
        Ok(_) => Ok((count, Some(next))),
        // The end; `count` entries came before it.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
        Err(e) => Err(e),
    }
}

/// Asks with room for so many entries, and for more as long as the next bucket alone holds more.
pub(super) fn with_room<T>(
    at_once: usize,
    mut ask: impl FnMut(usize) -> io::Result<T>,
) -> io::Result<T> {
    let mut room = at_once;
    loop {
        match ask(room) {
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && room < AT_ONCE_MAX => room *= 2,
            done => return done,
        }
    }
}

/// Enters keys with their values, over what is there.
pub(super) fn put<K, V>(
    map: &HashMap<MapData, K, V>,
    keys: &[K],
    values: &[V],
) -> Result<(), MapError>
where
    K: Pod + aya::Pod,
    V: Pod + aya::Pod,
{
    let mut request = Request {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: map.map().fd().as_fd().as_raw_fd().cast_unsigned(),
        ..Request::zeroed()
    };
    // SAFETY: the kernel reads `count` keys and values of the map's sizes, which are those of `K` and `V` (aya checked), and
    // writes to the request alone.
    let done = unsafe { sys::call(BPF_MAP_UPDATE_BATCH, bytemuck::bytes_of_mut(&mut request)) };
    done.map(drop).map_err(MapError::IoError)
}

fn address<T>(of: &T) -> u64 {
    std::ptr::from_ref(of) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_buckets_are_asked_for_again_with_more_room() {
        let mut rooms = Vec::new();
        let got = with_room(4, |room| {
            rooms.push(room);
            if room < 16 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            Ok(room)
        });
        assert_eq!((got.unwrap(), rooms), (16, vec![4, 8, 16]));
    }

    #[test]
    fn bucket_that_never_fits_is_an_error() {
        let full = |_| Err::<(), _>(io::Error::from_raw_os_error(libc::ENOSPC));
        let error = with_room(AT_ONCE, full).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}
