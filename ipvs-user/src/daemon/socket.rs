//! The API's socket, and its removal at the end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tokio::net::UnixListener;

use crate::api::server;

pub(super) struct SocketFile {
    pub(super) listener: UnixListener,
    pub(super) file: Removed,
}

/// A path that is removed when this is dropped.
pub(super) struct Removed(PathBuf);

impl SocketFile {
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let listener =
            server::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self {
            listener,
            file: Removed(path.to_owned()),
        })
    }
}

impl Removed {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {e}", self.0.display());
        }
    }
}
