//! The sync daemons of this process: their task, and the notes by which the next process starts them again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::block_in_place;
use tracing::warn;

use super::{Daemon, Tasks};
use crate::{
    director::Director,
    net::Netlink,
    sync::{Config, Control, Daemons, Role, task},
};

/// Spawns their task; the answer speaks to it.
pub(super) fn begin(
    tasks: &mut Tasks,
    director: &Arc<Mutex<Director>>,
    network: &Netlink,
) -> Arc<Mutex<Box<dyn Daemons>>> {
    let (control, requests) = Control::new();
    let run = task::run(requests, Arc::clone(director), network.clone());
    tasks.spawn(async {
        run.await;
        Ok(())
    });
    Arc::new(Mutex::new(Box::new(control)))
}

impl Daemon {
    /// Starts those that the process before this one had.
    pub(super) fn resume_sync(&mut self) {
        let noted = self.interfaces.keeper().notes().sync.clone();
        for config in noted {
            let started = self.with_sync(|sync| sync.start(&config));
            if let Err(e) = started {
                let role = config.role;
                warn!(%role, "sync daemon of the process before this one: {e}");
            }
        }
        // The settings still say what that process said.
        let backup = |c: &Config| c.role == Role::Backup;
        let listens = self.with_sync(|sync| sync.running().iter().any(backup));
        if !listens && let Err(e) = self.with_director(|d| d.listen_to_master(false)) {
            warn!("sync daemon: {e}");
        }
    }

    /// Notes which run.
    pub(super) fn note_sync(&mut self) {
        let running: Vec<Config> = self.with_sync(|sync| sync.running());
        self.interfaces
            .keeper()
            .update(|notes| notes.sync = running);
    }

    fn with_sync<T>(&self, job: impl FnOnce(&mut dyn Daemons) -> T) -> T {
        block_in_place(|| {
            let mut sync = self
                .handle
                .sync
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            job(sync.as_mut())
        })
    }
}
