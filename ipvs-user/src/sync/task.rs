//! The one task of all sync daemons of this director: sockets and the clock on one side, the director on the other.
//!
//! A master sends every 20 ms what changed meanwhile; a backup enters what comes. An interface that goes away and comes back
//! gets new sockets.

mod backup;
mod master;

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::block_in_place,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    Config, Error, Role,
    control::{Request, Requests, Running},
    length,
    socket::{self, Sockets},
};
use crate::{director::Director, net::Network, sysctl::Knob};
use backup::Backup;
use master::Master;

/// How often a master looks what there is to tell.
const TURN: Duration = Duration::from_millis(20);
/// How often interfaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) type Shared = Arc<Mutex<Director>>;

struct Task<N> {
    director: Shared,
    network: N,
    running: Running,
    master: Option<Master>,
    backup: Option<Backup>,
}

enum Wake {
    Asked(Request),
    /// Nobody can ask any more.
    Alone,
    Turn,
    Came,
    Look,
}

/// Runs as long as somebody can ask it for something.
pub async fn run<N: Network>(mut requests: Requests, director: Shared, network: N) {
    let mut task = Task {
        director,
        network,
        running: Arc::clone(&requests.running),
        master: None,
        backup: None,
    };
    let (mut turn, mut look) = (Instant::now(), Instant::now());
    loop {
        match task.next(&mut requests, turn, look).await {
            Wake::Asked(Request::Start(wanted, answer)) => {
                let started = task.start(wanted).await;
                // Who asked may have gone.
                let _ = answer.send(started);
            }
            Wake::Asked(Request::Stop(role, answer)) => {
                let _ = answer.send(task.stop(role));
            }
            Wake::Alone => return,
            Wake::Turn => {
                if let Some(master) = &mut task.master {
                    master.turn(&task.director).await;
                }
                turn = Instant::now() + TURN;
            }
            Wake::Came => {
                if let Some(backup) = &mut task.backup {
                    backup.take_in(&task.director);
                }
            }
            Wake::Look => {
                task.look();
                look = Instant::now() + LOOK;
            }
        }
    }
}

impl<N: Network> Task<N> {
    async fn next(&self, requests: &mut Requests, turn: Instant, look: Instant) -> Wake {
        let came = async {
            match self.backup.as_ref().and_then(|b| b.sockets.as_ref()) {
                Some(sockets) => sockets.readable().await,
                None => pending().await,
            }
        };
        let runs = self.master.is_some() || self.backup.is_some();
        tokio::select! {
            request = requests.requests.recv() => request.map_or(Wake::Alone, Wake::Asked),
            () = sleep_until(turn), if self.master.is_some() => Wake::Turn,
            () = came => Wake::Came,
            () = sleep_until(look), if runs => Wake::Look,
        }
    }

    async fn start(&mut self, wanted: Config) -> Result<(), Error> {
        let role = wanted.role;
        let runs = match role {
            Role::Master => self.master.is_some(),
            Role::Backup => self.backup.is_some(),
        };
        if runs {
            return Err(Error::Runs(role));
        }
        super::check(&wanted)?;
        if let Some(real) = block_in_place(|| lock(&self.director).mixed_dest()) {
            return Err(Error::Mixed(real.socket()));
        }
        let links = self.network.links().await;
        let links = links.map_err(|e| Error::Failed(e.to_string()))?;
        let link = links.into_iter().find(|l| l.name == wanted.interface);
        let link = link.ok_or_else(|| Error::NoDevice(wanted.interface.clone()))?;
        let Config { maxlen, group, .. } = wanted;
        let daemon = Config {
            maxlen: Some(length::longest(role, maxlen, link.mtu, group)),
            ..wanted
        };
        let sockets = open(&daemon, &self.director)?;
        info!(%role, interface = daemon.interface, syncid = daemon.syncid, group = %daemon.group, "sync daemon begins");
        match role {
            Role::Master => {
                let told = block_in_place(|| lock(&self.director).tell_backup(true));
                told.map_err(|e| Error::Failed(e.to_string()))?;
                self.master = Some(Master::new(daemon, sockets));
            }
            Role::Backup => {
                let listens = block_in_place(|| lock(&self.director).listen_to_master(true));
                listens.map_err(|e| Error::Failed(e.to_string()))?;
                self.backup = Some(Backup::new(daemon, sockets));
            }
        }
        self.list();
        Ok(())
    }

    fn stop(&mut self, role: Role) -> Result<(), Error> {
        let stopped = match role {
            Role::Master => self.master.take().is_some(),
            Role::Backup => self.backup.take().is_some(),
        };
        if !stopped {
            return Err(Error::NotRunning(role));
        }
        info!(%role, "sync daemon ends");
        self.list();
        let ended = block_in_place(|| match role {
            Role::Master => lock(&self.director).tell_backup(false),
            Role::Backup => {
                let mut director = lock(&self.director);
                director.forget_unbound();
                director.listen_to_master(false)
            }
        });
        ended.map_err(|e| Error::Failed(e.to_string()))
    }

    fn list(&self) {
        let master = self.master.iter().map(|m| m.daemon.clone());
        let all = master.chain(self.backup.iter().map(|b| b.daemon.clone()));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
    }

    /// Sockets on interfaces that are others than they were are opened anew.
    fn look(&mut self) {
        if let Some(master) = &mut self.master {
            follow(&master.daemon, &mut master.sockets, &self.director);
        }
        if let Some(backup) = &mut self.backup {
            follow(&backup.daemon, &mut backup.sockets, &self.director);
        }
    }
}

fn open(daemon: &Config, director: &Shared) -> Result<Sockets, Error> {
    let (ports, size) = {
        let director = lock(director);
        let ports = director.knob(Knob::SyncPorts);
        (ports, director.knob(Knob::SyncSockSize))
    };
    match daemon.role {
        Role::Master => Sockets::sending(daemon, ports, size),
        Role::Backup => Sockets::receiving(daemon, ports, size),
    }
}

fn follow(daemon: &Config, sockets: &mut Option<Sockets>, director: &Shared) {
    let now = socket::ifindex(&daemon.interface);
    if now == sockets.as_ref().map(|s| s.ifindex) {
        return;
    }
    let Config {
        interface, role, ..
    } = daemon;
    *sockets = None;
    if now.is_none() {
        warn!(%role, interface, "sync daemon: the interface is gone; waiting for it to come back");
        return;
    }
    match open(daemon, director) {
        Ok(opened) => {
            info!(%role, interface, "sync daemon: the interface is back");
            *sockets = Some(opened);
        }
        Err(e) => warn!(%role, interface, "sync daemon: {e}"),
    }
}

/// The director changes as the last step of a command, so a panic elsewhere left nothing half done.
fn lock(director: &Shared) -> std::sync::MutexGuard<'_, Director> {
    director.lock().unwrap_or_else(PoisonError::into_inner)
}
