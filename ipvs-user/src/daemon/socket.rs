//! The API's sockets, and their removal at the end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use tokio::task::JoinSet;

use super::Options;
use crate::{
    api::server::{self, Handle, Listen},
    config::Access,
    events::Events,
};

/// Bound, not served yet.
pub(super) struct Sockets {
    all: SocketFile,
    read_only: Option<SocketFile>,
}

struct SocketFile {
    listen: Listen,
    file: Removed,
}

/// A path that is removed when this is dropped.
struct Removed(PathBuf);

/// Served until it is told to stop.
pub(super) struct Serving {
    tasks: JoinSet<std::io::Result<()>>,
    stop: tokio::sync::watch::Sender<bool>,
    events: Events,
    files: Vec<Removed>,
}

impl Sockets {
    pub(super) fn bind(options: &Options) -> Result<Self> {
        let api = &options.config.api;
        let read_only = api.read_only.as_ref();
        ensure!(
            read_only != Some(&options.socket),
            "the read-only socket is the other one, {}: name another path",
            options.socket.display()
        );
        Ok(Self {
            all: SocketFile::bind(&options.socket, &api.access)?,
            read_only: read_only
                .map(|path| SocketFile::bind(path, &api.read_only_access))
                .transpose()?,
        })
    }

    pub(super) fn serve(self, handle: &Handle) -> Result<Serving> {
        let mut serving = Serving {
            tasks: JoinSet::new(),
            stop: tokio::sync::watch::Sender::new(false),
            events: handle.events.clone(),
            files: Vec::new(),
        };
        serving.add(self.all, server::router(handle.clone()))?;
        if let Some(read_only) = self.read_only {
            serving.add(read_only, server::read_only(handle.clone()))?;
        }
        Ok(serving)
    }
}

impl Serving {
    fn add(&mut self, socket: SocketFile, router: Router) -> Result<()> {
        let mut stopped = self.stop.subscribe();
        let stop = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let listener = socket.listen.start()?;
        self.tasks.spawn(server::serve(listener, router, stop));
        self.files.push(socket.file);
        Ok(())
    }

    /// Ends once the open requests are answered; streams of events end now.
    pub(super) async fn end(mut self) {
        self.events.close();
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl SocketFile {
    fn bind(path: &Path, access: &Access) -> Result<Self> {
        let listen = server::bind(path, access)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self {
            listen,
            file: Removed(path.to_owned()),
        })
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {e}", self.0.display());
        }
    }
}
