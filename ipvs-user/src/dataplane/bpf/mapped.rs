//! An array map in the daemon's own memory: written without a system call for each entry.
//!
//! Knows where an entry is; what it means, and who else writes it, is the caller's business.

use std::{io, marker::PhantomData, num::NonZeroUsize, ptr::NonNull};

use aya::maps::MapFd;
use bytemuck::Pod;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

pub(super) struct Mapped<T> {
    memory: NonNull<libc::c_void>,
    /// In bytes.
    size: NonZeroUsize,
    entries: usize,
    of: PhantomData<T>,
}

// SAFETY: the memory belongs to no thread.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above; entries are read and written as the methods say.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// `fd` is an array map of `T`, made with `BPF_F_MMAPABLE`.
    pub(super) fn map(fd: &MapFd, entries: u32) -> io::Result<Self> {
        // An array's entries stand eight bytes apart at least.
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let entries = entries as usize;
        let size =
            NonZeroUsize::new(entries * size_of::<T>()).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let memory = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self {
            memory,
            size,
            entries,
            of: PhantomData,
        })
    }

    /// Where an entry is; valid as long as `self`. `None`: no such entry.
    pub(super) fn entry(&self, index: usize) -> Option<*mut T> {
        let first: *mut T = self.memory.as_ptr().cast();
        (index < self.entries).then(|| first.wrapping_add(index))
    }

    /// Writes entries that no packet reads at this time. False: they are not all there.
    pub(super) fn write(&self, base: usize, values: &[T]) -> bool {
        let Some(end) = base.checked_add(values.len()) else {
            return false;
        };
        let Some(first) = self.entry(base).filter(|_| end <= self.entries) else {
            return values.is_empty();
        };
        // SAFETY: within the mapping by the check above; the kernel's programs read it as memory of their own.
        unsafe { first.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        true
    }
    /// Reads entries that nobody writes at this time. False: they are not all there.
    pub(super) fn read(&self, base: usize, values: &mut [T]) -> bool {
        let Some(end) = base.checked_add(values.len()) else {
            return false;
        };
        let Some(first) = self.entry(base).filter(|_| end <= self.entries) else {
            return values.is_empty();
        };
        // SAFETY: within the mapping by the check above; the daemon alone writes it.
        unsafe { first.copy_to_nonoverlapping(values.as_mut_ptr(), values.len()) };
        true
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: made by `map`, not unmapped before, and no reference into it outlives a call.
        let unmapped = unsafe { munmap(self.memory, self.size.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
