//! `ipvsd run` from beginning to end: who holds the instance, and what is left of it.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::task::block_in_place;
use tracing::{error, info};

use super::{
    Daemon, Options, detach, notify, privileges, restart,
    socket::{Serving, Sockets},
};
use crate::dataplane::bpf::Instance;

/// Open requests get this long to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs until it is told to stop. Packets flow on, unless it was told to leave nothing behind.
pub fn run(options: Options) -> Result<()> {
    privileges::check()?;
    let sockets = Sockets::bind(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(privileges::reduce_or_warn)
        .build()?;
    runtime.block_on(run_with(options, sockets))
}

/// The instance is claimed once and held to the end: what is there when the start fails is this process's own.
async fn run_with(options: Options, sockets: Sockets) -> Result<()> {
    let socket = options.socket.clone();
    let instance = block_in_place(|| restart::claim(&options.instance))?;
    let fresh = instance.current()?.is_none();
    let (mut daemon, serving) = match Box::pin(begin(options, sockets, &instance)).await {
        // What is not begun is undone; what was there goes on.
        Err(e) if fresh => {
            if let Err(undone) = detach::take_away(&instance).await {
                error!("{undone:#}");
            }
            return Err(e);
        }
        begun => begun?,
    };
    let mut tasks = daemon.tasks.take().unwrap_or_default();
    daemon.announce(&socket);
    let ended = daemon.work(&mut tasks).await;
    notify::stopping();
    // A change that waits for its interfaces is refused, so that it ends; others go on without those who asked for them.
    daemon.switch.close();
    let _ = tokio::time::timeout(FAREWELL, serving.end()).await;
    let desk = daemon.handle.desk.clone();
    let none_other = tokio::time::timeout(FAREWELL, desk.lock()).await;
    daemon.finish().await;
    drop(none_other);
    ended
}

/// All that may fail before the daemon is at work.
async fn begin(
    options: Options,
    sockets: Sockets,
    instance: &Arc<Instance>,
) -> Result<(Daemon, Serving)> {
    let daemon = Daemon::start(options, Arc::clone(instance)).await?;
    privileges::reduce()?;
    let serving = sockets.serve(&daemon.handle)?;
    Ok((daemon, serving))
}

impl Daemon {
    async fn finish(mut self) {
        if !self.detach_on_exit {
            return info!(
                "stopping: packets flow on; the next start goes on from here, and `ipvsd detach` takes everything away"
            );
        }
        info!("stopping: detaching, and restoring settings");
        let notes = self.interfaces.detach_all();
        if let Err(e) = detach::take_down(&self.instance, &notes).await {
            error!("{e:#}");
        }
    }
}
