//! BPF file systems: one that only this process sees, and the machine's own.
//!
//! The first is mounted nowhere: no path leads to it, and it is gone with the process. The second is where things outlive a
//! process. `ip netns exec` gives a process a `/sys` of its own, in which a mount would be gone with it; so the machine's is
//! looked for where the first process is, or else the outermost ancestor that lets us.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, fstatfs},
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

const PLACE: &str = "/sys/fs/bpf";
const MAGIC: FsType = FsType(0xcafe_4a11);

/// A directory within a BPF file system.
pub(super) struct Bpffs {
    root: OwnedFd,
}

impl Bpffs {
    /// One that is mounted nowhere.
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

    /// The machine's, which is mounted if nobody did that yet.
    pub(super) fn of_the_machine() -> io::Result<Self> {
        let ours = fs::metadata("/proc/self/ns/mnt").ok();
        for pid in ancestors() {
            let Ok(namespace) = File::open(format!("/proc/{pid}/ns/mnt")) else {
                continue;
            };
            let same = match (&ours, namespace.metadata()) {
                (Some(ours), Ok(theirs)) => same_file(ours, &theirs),
                _ => false,
            };
            if same {
                break;
            }
            match within(&namespace) {
                Ok(root) => return Ok(Self { root }),
                Err(e) => tracing::debug!(pid, "{PLACE} in its mount namespace: {e}"),
            }
        }
        Ok(Self {
            root: mounted()?.into(),
        })
    }

    /// Where something of this name is; a path for this process alone.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd())).join(name)
    }

    /// A directory within, which is made if it is not there.
    pub(super) fn directory(&self, name: &str) -> io::Result<Self> {
        let path = self.path(name);
        match fs::DirBuilder::new().create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            Ok(()) | Err(_) => {}
        }
        self.existing(name)
    }

    pub(super) fn existing(&self, name: &str) -> io::Result<Self> {
        Ok(Self {
            root: open(&self.path(name))?.into(),
        })
    }

    /// The names in it, in order.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path(""))?;
        let names = entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }
}

/// This process's ancestors, the outermost first.
fn ancestors() -> Vec<u32> {
    let mut ancestors = Vec::new();
    let mut pid = std::process::id();
    while let Some(parent) = parent_of(pid).filter(|p| *p != 0) {
        ancestors.push(parent);
        pid = parent;
    }
    ancestors.reverse();
    ancestors
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The one of another mount namespace. What a thread does to itself stays with it, and ends with it.
fn within(namespace: &File) -> io::Result<OwnedFd> {
    let enter = || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        Ok(mounted()?.into())
    };
    thread::scope(|scope| {
        let entered = scope.spawn(enter).join();
        entered.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// The one of this mount namespace.
fn mounted() -> io::Result<File> {
    let there = open(Path::new(PLACE))?;
    if fstatfs(&there)?.filesystem_type() == MAGIC {
        return Ok(there);
    }
    mount(
        Some("bpf"),
        PLACE,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=0700"),
    )?;
    open(Path::new(PLACE))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC);
    options.open(path)
}
