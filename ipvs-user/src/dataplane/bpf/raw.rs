//! Pinned maps whose types are known from a description alone, as bytes.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use bytemuck::{Pod, Zeroable};

use super::{batch, sys};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;

/// A map of another layout.
pub(super) struct RawMap {
    fd: OwnedFd,
    key: usize,
    value: usize,
    pub(super) entries: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ElementRequest {
    fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Keys and values, one after the other.
#[derive(Default)]
pub(super) struct RawEntries {
    keys: Vec<u8>,
    values: Vec<u8>,
    key: usize,
    value: usize,
}

impl RawEntries {
    fn of(map: &impl Entries) -> Self {
        let (key, value) = map.sizes();
        Self {
            key,
            value,
            ..Self::default()
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let keys = self.keys.chunks_exact(self.key.max(1));
        keys.zip(self.values.chunks_exact(self.value.max(1)))
    }
}

impl RawMap {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = sys::open_pin(path)?;
        let info = sys::map_info(fd.as_fd())?;
        Ok(Self {
            fd,
            key: info.key_size as usize,
            value: info.value_size as usize,
            entries: info.max_entries,
        })
    }

    /// One value of an array.
    pub(super) fn at(&self, index: u32) -> io::Result<Vec<u8>> {
        self.lookup(index, self.value)
    }

    /// The values of each CPU, one after the other and each padded to eight bytes.
    pub(super) fn at_each_cpu(&self, index: u32, cpus: usize) -> io::Result<Vec<u8>> {
        self.lookup(index, self.value.next_multiple_of(8) * cpus)
    }

    /// `size` is that of the whole answer.
    fn lookup(&self, index: u32, size: usize) -> io::Result<Vec<u8>> {
        self.element(&index.to_ne_bytes(), size)
    }

    fn element(&self, key: &[u8], size: usize) -> io::Result<Vec<u8>> {
        if key.len() != self.key {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut value = vec![0; size];
        let mut request = ElementRequest {
            fd: self.number(),
            key: key.as_ptr() as u64,
            value: value.as_mut_ptr() as u64,
            ..ElementRequest::zeroed()
        };
        // SAFETY: the kernel reads a key, which is as long as it told of the map, and writes as much as it told.
        unsafe { sys::call(BPF_MAP_LOOKUP_ELEM, bytemuck::bytes_of_mut(&mut request)) }?;
        Ok(value)
    }

    /// Every entry. Those that come or go meanwhile may be in it or not.
    pub(super) fn all(&self) -> io::Result<RawEntries> {
        read_all(self)
    }

    fn number(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }
}

/// How the entries of a map are asked for.
trait Entries {
    /// Bytes of a key and of a value.
    fn sizes(&self) -> (usize, usize);

    /// How many entries came, and where the next call goes on.
    fn batch(
        &self,
        at: Option<u32>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, Option<u32>)>;

    /// The key after this one, or the first one.
    fn next_key(&self, after: Option<&[u8]>) -> io::Result<Option<Vec<u8>>>;

    /// `None`: it is gone.
    fn value(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
}

impl Entries for RawMap {
    fn sizes(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    fn batch(
        &self,
        at: Option<u32>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, Option<u32>)> {
        // SAFETY: the kernel told the sizes of this map.
        unsafe { batch::lookup_bytes(self.fd.as_fd(), at, keys, values, self.sizes()) }
    }

    fn next_key(&self, after: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
        let mut next = vec![0; self.key];
        let mut request = ElementRequest {
            fd: self.number(),
            key: after.map_or(0, |key| key.as_ptr() as u64),
            value: next.as_mut_ptr() as u64,
            ..ElementRequest::zeroed()
        };
        // SAFETY: the kernel reads a key and writes one, each as long as it told of the map.
        let done = unsafe { sys::call(BPF_MAP_GET_NEXT_KEY, bytemuck::bytes_of_mut(&mut request)) };
        Ok(absent_is_none(done)?.map(|_| next))
    }

    fn value(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(self.element(key, self.value))
    }
}

fn absent_is_none<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        done => done.map(Some),
    }
}

/// In few calls, or entry by entry where the kernel has no batches for such a map.
fn read_all(map: &impl Entries) -> io::Result<RawEntries> {
    match in_batches(map) {
        Err(e) if batch::is_unknown(&e) => one_by_one(map),
        read => read,
    }
}

fn in_batches(map: &impl Entries) -> io::Result<RawEntries> {
    let mut found = RawEntries::of(map);
    let (key, value) = map.sizes();
    let mut at = None;
    loop {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let (count, next) = batch::with_room(batch::AT_ONCE, |room| {
            keys.resize(room * key, 0);
            values.resize(room * value, 0);
            map.batch(at, &mut keys, &mut values)
        })?;
        found.keys.extend_from_slice(&keys[..count * key]);
        found.values.extend_from_slice(&values[..count * value]);
        if next.is_none() {
            return Ok(found);
        }
        at = next;
    }
}

/// After a key that is gone the kernel begins anew; who meets an entry twice enters it once.
fn one_by_one(map: &impl Entries) -> io::Result<RawEntries> {
    let mut found = RawEntries::of(map);
    let mut key = map.next_key(None)?;
    while let Some(at) = key {
        if let Some(value) = map.value(&at)? {
            found.keys.extend_from_slice(&at);
            found.values.extend_from_slice(&value);
        }
        key = map.next_key(Some(&at))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of bytes in a kernel that answers batches in this way.
    struct Bytes(Vec<(u8, u8)>, Option<i32>);

    impl Entries for Bytes {
        fn sizes(&self) -> (usize, usize) {
            (1, 1)
        }

        fn batch(
            &self,
            at: Option<u32>,
            keys: &mut [u8],
            values: &mut [u8],
        ) -> io::Result<(usize, Option<u32>)> {
            if let Some(code) = self.1 {
                return Err(io::Error::from_raw_os_error(code));
            }
            let at = at.unwrap_or(0);
            (keys[0], values[0]) = self.0[at as usize];
            let next = at + 1;
            Ok((1, ((next as usize) < self.0.len()).then_some(next)))
        }

        fn next_key(&self, after: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
            let at = after.and_then(|key| self.0.iter().position(|(k, _)| *k == key[0]));
            let next = self.0.get(at.map_or(0, |at| at + 1));
            Ok(next.map(|(k, _)| vec![*k]))
        }

        fn value(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            let found = self.0.iter().find(|(k, _)| *k == key[0]);
            Ok(found.map(|(_, v)| vec![*v]))
        }
    }

    #[test]
    fn kernels_without_batches_are_asked_entry_by_entry() {
        const ENOTSUPP: i32 = 524;
        let entries = vec![(3, 30), (1, 10), (2, 20)];
        for code in [None, Some(libc::EINVAL), Some(ENOTSUPP)] {
            let all = read_all(&Bytes(entries.clone(), code)).unwrap();
            let all: Vec<_> = all.iter().map(|(k, v)| (k[0], v[0])).collect();
            assert_eq!(all, entries, "{code:?}");
        }
        let refused = read_all(&Bytes(entries, Some(libc::EPERM)));
        assert!(refused.is_err(), "another error is one");
    }
}
