//! Starting and stopping sync daemons: what is asked for, what runs, and why not. Whoever asks holds a [`Control`]; the task at
//! its other end does it.

use std::{
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{mpsc, oneshot};

use super::group;

/// Tells, or is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    Master,
    Backup,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A daemon to start; what is left out is as ip_vs has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub role: Role,
    pub interface: String,
    /// A master's mark; a backup takes what has its own one, or with 0 everything.
    pub syncid: u8,
    /// Longest datagram, without the headers of IP and UDP.
    pub maxlen: Option<u16>,
    pub group: Option<IpAddr>,
    pub port: Option<u16>,
    pub ttl: Option<u8>,
}

impl Wanted {
    #[must_use]
    pub fn new(role: Role, interface: &str) -> Self {
        Self {
            role,
            interface: interface.to_owned(),
            syncid: 0,
            maxlen: None,
            group: None,
            port: None,
            ttl: None,
        }
    }

    /// What it comes to on an interface with this MTU.
    pub fn settle(&self, mtu: u32) -> Result<SyncDaemon, SyncError> {
        let group = self.group.unwrap_or(group::GROUP);
        if !group.is_multicast() {
            let message = format!("{group} is no multicast group");
            return Err(SyncError::Invalid(message));
        }
        Ok(SyncDaemon {
            role: self.role,
            interface: self.interface.clone(),
            syncid: self.syncid,
            maxlen: group::maxlen(self.role, self.maxlen, mtu, group),
            group,
            port: self.port.filter(|p| *p != 0).unwrap_or(group::PORT),
            ttl: self.ttl.filter(|t| *t != 0).unwrap_or(group::TTL),
        })
    }
}

/// A daemon that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncDaemon {
    pub role: Role,
    pub interface: String,
    pub syncid: u8,
    pub maxlen: u16,
    pub group: IpAddr,
    pub port: u16,
    pub ttl: u8,
}

impl SyncDaemon {
    /// Whether a backup listens to a master with this mark.
    #[must_use]
    pub const fn takes(&self, syncid: u8) -> bool {
        self.syncid == 0 || self.syncid == syncid
    }
}

/// Nothing was started, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("a {0} daemon runs already; stop it first")]
    AlreadyRunning(Role),
    #[error("no {0} daemon runs")]
    NotRunning(Role),
    #[error("no interface `{0}`")]
    NoDevice(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{what}: {source}")]
    Socket { what: String, source: io::Error },
    #[error("{0}")]
    Other(String),
}

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Request {
    Start(Wanted, Answer),
    Stop(Role, Answer),
}

type Answer = oneshot::Sender<Result<(), SyncError>>;
pub(super) type Running = Arc<Mutex<Vec<SyncDaemon>>>;

/// The task's end.
#[derive(Debug)]
pub struct Requests {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) running: Running,
}

/// Cheap to clone; all clones speak to the same task.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
    running: Running,
}

impl Control {
    #[must_use]
    pub fn new() -> (Self, Requests) {
        let (sender, receiver) = mpsc::channel(8);
        let running = Running::default();
        let this = Self {
            requests: sender,
            running: Arc::clone(&running),
        };
        let requests = Requests {
            requests: receiver,
            running,
        };
        (this, requests)
    }

    pub async fn start(&self, wanted: Wanted) -> Result<(), SyncError> {
        self.ask(|answer| Request::Start(wanted, answer)).await
    }

    pub async fn stop(&self, role: Role) -> Result<(), SyncError> {
        self.ask(|answer| Request::Stop(role, answer)).await
    }

    /// The master first.
    #[must_use]
    pub fn running(&self) -> Vec<SyncDaemon> {
        let running = self.running.lock();
        running.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), SyncError> {
        let gone = || SyncError::Other("sync daemons do not run in this process".to_owned());
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
