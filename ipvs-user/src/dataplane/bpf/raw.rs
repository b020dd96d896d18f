//! Pinned maps whose types are known from a description alone, as bytes.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use bytemuck::{Pod, Zeroable};

use super::sys;

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Entries asked for at once; a bucket must fit.
const AT_ONCE: usize = 4096;
const AT_ONCE_MAX: usize = 1 << 20;

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

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BatchRequest {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    fd: u32,
    elem_flags: u64,
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
        let mut value = vec![0; size];
        let mut request = ElementRequest {
            fd: self.number(),
            key: std::ptr::from_ref(&index) as u64,
            value: value.as_mut_ptr() as u64,
            ..ElementRequest::zeroed()
        };
        // SAFETY: the kernel reads a key of four bytes, as arrays have, and writes as much as it told of the map.
        unsafe { sys::call(BPF_MAP_LOOKUP_ELEM, bytemuck::bytes_of_mut(&mut request)) }?;
        Ok(value)
    }

    /// Every entry. Those that come or go meanwhile may be in it or not.
    pub(super) fn all(&self) -> io::Result<RawEntries> {
        let mut found = RawEntries {
            key: self.key,
            value: self.value,
            ..RawEntries::default()
        };
        let mut room = AT_ONCE;
        let mut at = None;
        loop {
            let mut keys = vec![0; room * self.key];
            let mut values = vec![0; room * self.value];
            match self.batch(at, &mut keys, &mut values, room) {
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && room < AT_ONCE_MAX => room *= 2,
                Err(e) => return Err(e),
                Ok((count, next)) => {
                    found.keys.extend_from_slice(&keys[..count * self.key]);
                    found
                        .values
                        .extend_from_slice(&values[..count * self.value]);
                    if next.is_none() {
                        return Ok(found);
                    }
                    at = next;
                }
            }
        }
    }

    /// How many entries came, and where the next call goes on.
    fn batch(
        &self,
        at: Option<u32>,
        keys: &mut [u8],
        values: &mut [u8],
        room: usize,
    ) -> io::Result<(usize, Option<u32>)> {
        let mut next = 0_u32;
        let mut request = BatchRequest {
            in_batch: at.as_ref().map_or(0, |at| std::ptr::from_ref(at) as u64),
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            fd: self.number(),
            ..BatchRequest::zeroed()
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room by the sizes that it told.
        let done = unsafe { sys::call(BPF_MAP_LOOKUP_BATCH, bytemuck::bytes_of_mut(&mut request)) };
        match done {
            Ok(_) => Ok((request.count as usize, Some(next))),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok((request.count as usize, None)),
            Err(e) => Err(e),
        }
    }

    fn number(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }
}
