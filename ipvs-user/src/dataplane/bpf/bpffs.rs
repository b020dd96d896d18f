//! A BPF file system that only this process sees, through which the programs of several interfaces share their maps.
//!
//! It is mounted nowhere: no path of the machine leads to it, it works in any mount namespace, and it is gone with the process.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

pub(super) struct Bpffs {
    root: OwnedFd,
}

impl Bpffs {
    pub(super) fn mount() -> io::Result<Self> {
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )?;
        Ok(Self { root })
    }

    /// Where a map of this name is pinned; a path for this process alone.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.root.as_raw_fd()))
    }
}
