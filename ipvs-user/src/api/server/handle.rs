//! What the routes work on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    convert,
    wire::{self, ErrorCode},
};
use crate::{
    api::desk::Place,
    config::Interface,
    director::Director,
    events::Events,
    sync::{Daemons, Nobody},
};

#[derive(Clone)]
pub struct Handle {
    pub director: Arc<Mutex<Director>>,
    /// Where the datapath is attached, kept up to date by the daemon.
    pub interfaces: Arc<Mutex<Vec<wire::Interface>>>,
    /// Told when commands were carried out.
    pub changed: Arc<Notify>,
    pub events: Events,
    /// Locked before the director.
    pub desk: Place,
    /// Who attaches to interfaces; without anybody there are none.
    pub attaching: Option<mpsc::Sender<Attach>>,
    /// Who synchronises connections with another director.
    pub sync: Arc<Mutex<Box<dyn Daemons>>>,
    /// Told to take everything away, and to end.
    pub detach: Arc<Notify>,
}

/// The interfaces of the configuration are to be these.
pub struct Attach {
    pub interfaces: BTreeMap<String, Interface>,
    pub absent: Absent,
    /// Told when they are, or why they are as they were.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// What becomes of an interface that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// Nothing changes: whoever asks may have mistaken its name.
    Refuses,
    /// It was there once, and is attached to when it comes back: one that is gone for good shall not bar the way back of all else.
    IsAwaited,
}

impl Handle {
    #[must_use]
    pub fn new(director: Director) -> Self {
        Self {
            director: Arc::new(Mutex::new(director)),
            interfaces: Arc::default(),
            changed: Arc::default(),
            events: Events::default(),
            desk: Place::default(),
            attaching: None,
            sync: Arc::new(Mutex::new(Box::new(Nobody))),
            detach: Arc::default(),
        }
    }

    /// Reading and writing maps blocks, so it happens on a thread for that.
    pub(in crate::api) async fn with<T: Send + 'static>(
        self,
        job: impl FnOnce(&mut Director) -> Result<T, wire::Error> + Send + 'static,
    ) -> Result<T, wire::Error> {
        let work = move || {
            // The director changes its state as the last step of a command: one that panicked changed nothing.
            let mut director = self.director.lock().unwrap_or_else(PoisonError::into_inner);
            job(&mut director)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|e| Err(convert::error(ErrorCode::Tables, e.to_string())))
    }

    /// Has the daemon attach to these interfaces of the configuration, and to no others that it names.
    pub(in crate::api) async fn attach(
        &self,
        interfaces: BTreeMap<String, Interface>,
        absent: Absent,
    ) -> Result<(), wire::Error> {
        let Some(daemon) = &self.attaching else {
            return Ok(());
        };
        let (done, answer) = oneshot::channel();
        let asked = Attach {
            interfaces,
            absent,
            done,
        };
        let sent = daemon.send(asked).await;
        let outcome = match sent {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| Err("the daemon ends".to_owned())),
            Err(_) => Err("the daemon ends".to_owned()),
        };
        outcome.map_err(|e| convert::error(ErrorCode::Interface, e))
    }
}
