//! Takes the overload mark off a real server without touching the counts beside it.
//!
//! A map update would write the whole value back and lose what packets counted meanwhile. So the table is mapped into memory,
//! and the one field is stored there.

use std::{
    io,
    mem::offset_of,
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::MapFd;
use ipvs_common::DestState;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

pub(super) struct OverloadMarks {
    states: NonNull<libc::c_void>,
    /// In bytes.
    size: NonZeroUsize,
    entries: u32,
}

// SAFETY: the memory belongs to no thread; all access goes through atomics.
unsafe impl Send for OverloadMarks {}
// SAFETY: as above.
unsafe impl Sync for OverloadMarks {}

impl OverloadMarks {
    /// `fd` is the map of [`DestState`]s, made with `BPF_F_MMAPABLE`.
    pub(super) fn map(fd: &MapFd, entries: u32) -> io::Result<Self> {
        let size = NonZeroUsize::new(entries as usize * size_of::<DestState>())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let states = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self {
            states,
            size,
            entries,
        })
    }

    /// False if there is no such index.
    pub(super) fn clear(&self, id: u32) -> bool {
        if id >= self.entries {
            return false;
        }
        let offset = id as usize * size_of::<DestState>() + offset_of!(DestState, overloaded);
        // SAFETY: within the mapping by the check above, aligned to four (the mapping is to a page, values are 64 bytes), and
        // alive as long as `self`. The kernel's programs access it as memory of their own, by single loads and stores.
        let mark = unsafe { AtomicU32::from_ptr(self.states.as_ptr().byte_add(offset).cast()) };
        mark.store(0, Ordering::Relaxed);
        true
    }
}

impl Drop for OverloadMarks {
    fn drop(&mut self) {
        // SAFETY: made by `map`, not unmapped before, and no reference into it outlives a call of `clear`.
        let unmapped = unsafe { munmap(self.states, self.size.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
