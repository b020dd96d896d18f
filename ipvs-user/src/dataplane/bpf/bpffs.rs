//! A BPF file system through which the programs of several interfaces share their maps.
//!
//! Usually one that only this process sees: it is mounted nowhere, works in any mount namespace, and is gone with the process.
//! Making it is for those who may mount; others take a directory of their own in the machine's, which they remove.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Where the machine's is mounted.
const MACHINES: &str = "/sys/fs/bpf";

pub(super) enum Bpffs {
    Private(OwnedFd),
    Directory(PathBuf),
}

impl Bpffs {
    pub(super) fn mount() -> io::Result<Self> {
        match Self::private() {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Self::directory(),
            other => other,
        }
    }

    fn private() -> io::Result<Self> {
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )?;
        Ok(Self::Private(root))
    }

    fn directory() -> io::Result<Self> {
        let path = PathBuf::from(format!("{MACHINES}/ipvsd-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self::Directory(path)),
            Err(e) => {
                let message = format!(
                    "cannot make {}: {e}; without CAP_SYS_ADMIN a BPF file system must be mounted at {MACHINES}",
                    path.display()
                );
                Err(io::Error::new(e.kind(), message))
            }
        }
    }

    /// Where a map of this name is pinned.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Private(root) => {
                PathBuf::from(format!("/proc/self/fd/{}/{name}", root.as_raw_fd()))
            }
            Self::Directory(path) => path.join(name),
        }
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Self::Directory(path) = self
            && let Err(e) = fs::remove_dir_all(&*path)
        {
            tracing::warn!("cannot remove {}: {e}", path.display());
        }
    }
}
