//! Takes the overload mark off a real server without touching the counts beside it.
//!
//! A map update would write the whole value back and lose what packets counted meanwhile. So the table is mapped into memory,
//! and the one field is stored there.

use std::{
    io,
    mem::offset_of,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::MapFd;
use ipvs_common::DestState;

use super::mapped::Mapped;

pub(super) struct OverloadMarks(Mapped<DestState>);

impl OverloadMarks {
    /// `fd` is the map of [`DestState`]s, made with `BPF_F_MMAPABLE`.
    pub(super) fn map(fd: &MapFd, entries: u32) -> io::Result<Self> {
        Ok(Self(Mapped::map(fd, entries)?))
    }

    /// False if there is no such index.
    pub(super) fn clear(&self, id: u32) -> bool {
        let Some(state) = self.0.entry(id as usize) else {
            return false;
        };
        let mark = state.wrapping_byte_add(offset_of!(DestState, overloaded));
        // SAFETY: within the mapping, aligned to four (the mapping is to a page, values are 64 bytes), and alive as long as
        // `self`. The kernel's programs access it as memory of their own, by single loads and stores.
        let mark = unsafe { AtomicU32::from_ptr(mark.cast()) };
        mark.store(0, Ordering::Relaxed);
        true
    }
}
