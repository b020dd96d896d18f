//! Sockets, and who may connect to them.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::Path,
};

use nix::unistd::Group;
use tokio::net::UnixListener;

use crate::config::Access;

/// For the owner alone.
const PRIVATE: u32 = 0o600;

/// A socket that is served later: made without a runtime, and before rights are given up.
#[derive(Debug)]
pub struct Listen(std::os::unix::net::UnixListener);

impl Listen {
    /// To be called within the runtime that serves it.
    pub fn start(self) -> io::Result<UnixListener> {
        self.0.set_nonblocking(true)?;
        UnixListener::from_std(self.0)
    }
}

/// Listens at `path`. A socket that a dead daemon left is replaced, one that is served is an error.
pub fn bind(path: &Path, access: &Access) -> io::Result<Listen> {
    let group = access.group.as_deref().map(group_id).transpose()?;
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let message = format!("another ipvsd serves {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    // Nobody may connect before the permissions are right, so the socket gets its name last.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&temporary)?;
    let named = restrict(&temporary, access.mode.unwrap_or(PRIVATE), group)
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = named {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    Ok(Listen(listener))
}

/// The owner first: changing it may take away from the mode.
fn restrict(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE))?;
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn group_id(name: &str) -> io::Result<u32> {
    let missing = || {
        let message = format!("there is no group `{name}`; `getent group` lists those there are");
        io::Error::new(io::ErrorKind::NotFound, message)
    };
    let found = Group::from_name(name)?;
    found.map(|g| g.gid.as_raw()).ok_or_else(missing)
}
