//! Where configurations are applied: reads them, compares, carries out, remembers what was applied last, and goes back if
//! nobody confirms. One at a time; single commands may come in between, and what they do is seen by the comparison.

mod apply;
mod begin;
mod clock;
mod pending;
mod place;
mod reading;
mod record;
mod store;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use place::{AtDesk, Place};
pub use store::Store;

use super::{
    convert,
    wire::{self, ErrorCode},
};
use crate::{
    config::{Config, Interface, Reader},
    desired::Rule,
};
pub(crate) use apply::apply;
use pending::Pending;
pub(crate) use pending::go_on_waiting;
pub(super) use pending::{confirm, roll_back_now};
use store::Waiting;
use tracing::{debug, warn};

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The file that the daemon was started with.
    File,
    /// A text that is said to be from a file of this name.
    Toml {
        name: String,
        text: String,
    },
    Json(Box<wire::Config>),
}

/// How it is applied.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub rule: Rule,
    pub dry_run: bool,
    pub confirm: Option<Duration>,
}

/// What was applied, and when.
#[derive(Clone)]
pub(super) struct Applied {
    config: Arc<Config>,
    at: SystemTime,
    /// The daemon's own file said it: what holds is said by the file that the next start has, or by none.
    by_file: bool,
}

/// A configuration, and where it is from.
struct Wanted {
    config: Arc<Config>,
    from: &'static str,
}

pub struct Desk {
    file: Option<PathBuf>,
    reader: Reader,
    store: Store,
    last: Option<Applied>,
    pending: Option<Pending>,
    /// What the start made of it is not written down yet.
    unsaved: bool,
    /// What the daemon was started with; its interfaces are those of now.
    started: Config,
}

impl Desk {
    /// Of a daemon that was started with this file and its contents, and remembers there what was applied.
    #[must_use]
    pub fn new(started: Config, file: Option<PathBuf>, store: Store) -> Self {
        Self {
            file,
            reader: Reader::default(),
            store,
            last: None,
            pending: None,
            unsaved: false,
            started,
        }
    }

    /// Goes on with a reader that knows the file already.
    #[must_use]
    pub fn with_reader(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    /// Those of the configuration that holds.
    #[must_use]
    pub const fn interfaces(&self) -> &BTreeMap<String, Interface> {
        &self.started.interfaces
    }

    /// What is remembered from now on; beside everything else, because disks are slow.
    async fn save(&self, applied: Option<Applied>, waiting: Option<Waiting>) -> Result<(), String> {
        self.beside(move |store| store.save(applied.as_ref(), waiting.as_ref()))
            .await
    }

    async fn beside(
        &self,
        work: impl FnOnce(&Store) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|e| Err(e.to_string()))
    }

    /// Remembers what is about to be applied: a crash from here to [`Self::keep`] leaves both to choose from. Where that fails,
    /// what was applied is written down as a whole afterwards.
    async fn announce(&self, new: &Applied) {
        let (last, new) = (self.last.clone(), new.clone());
        let begun = self.beside(move |store| store.begins(last.as_ref(), &new));
        if let Err(e) = begun.await {
            debug!("{e}");
        }
    }

    /// What was announced is what was applied last.
    async fn keep(&self) {
        let Some(last) = self.last.clone() else {
            return;
        };
        self.mind(self.beside(move |store| store.kept(&last)).await);
    }

    /// What was announced was refused.
    async fn withdraw(&self) {
        let last = self.last.clone();
        self.mind(
            self.beside(move |store| store.withdrawn(last.as_ref()))
                .await,
        );
    }

    /// Remembers what was applied last, and that nothing waits.
    async fn settle(&self) {
        self.mind(self.save(self.last.clone(), None).await);
    }

    /// A failure is no reason to refuse what was applied: the daemon itself knows it anyway.
    fn mind(&self, saved: Result<(), String>) {
        if let Err(e) = saved {
            warn!("{e}; a restart will not know what was applied last");
            // It would be taken for what holds.
            self.store.discard();
        }
    }

    fn since(&self) -> Option<u64> {
        let at = self.last.as_ref()?.at.duration_since(UNIX_EPOCH);
        at.ok().map(|t| t.as_secs())
    }
}

impl Default for Desk {
    /// Without a file.
    fn default() -> Self {
        Self::new(Config::empty(), None, Store::none())
    }
}

/// Goes on to the end, whatever becomes of whoever asked: a client that goes away takes the future of its answer along.
async fn to_the_end<T: Send + 'static>(
    job: impl Future<Output = Result<T, wire::Error>> + Send + 'static,
) -> Result<T, wire::Error> {
    let done = tokio::spawn(job).await;
    done.unwrap_or_else(|e| Err(convert::error(ErrorCode::Other, e.to_string())))
}

fn no_file() -> wire::Error {
    convert::error(
        ErrorCode::Config,
        "the daemon was started without --config, so there is no file to read again; use `ipvsd apply FILE`",
    )
}
