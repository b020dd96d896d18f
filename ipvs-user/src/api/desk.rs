//! Where configurations are applied: reads them, compares, carries out, remembers what was applied last, and goes back if
//! nobody confirms. One at a time; single commands may come in between, and what they do is seen by the comparison.

mod apply;
mod pending;
mod reading;
mod store;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use store::Store;

use super::{
    convert,
    wire::{self, ErrorCode},
};
use crate::{
    config::{Config, Interface, Reader},
    desired::Rule,
    director::{Director, TogetherError},
};
pub(crate) use apply::apply;
use pending::Pending;
pub(super) use pending::{confirm, roll_back_now};

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
}

/// A configuration, and the text to remember it by.
struct Wanted {
    config: Arc<Config>,
    text: store::Text,
    from: &'static str,
}

pub struct Desk {
    file: Option<PathBuf>,
    reader: Reader,
    store: Store,
    last: Option<Applied>,
    pending: Option<Pending>,
    /// Numbers those that wait to be confirmed.
    count: u64,
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
            count: 0,
            started,
        }
    }

    /// Goes on with a reader that knows the file already.
    #[must_use]
    pub fn with_reader(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    /// Brings a director to the configuration that the daemon starts with. One that goes on where the daemon before ended
    /// (`adopted`) keeps what was changed there by hand, by the rule that holds for every reading of the file; without a file
    /// all of it stays.
    pub fn begin(&mut self, director: &mut Director, adopted: bool) -> Result<(), TogetherError> {
        let last = adopted.then(|| self.store.load(&self.started)).flatten();
        let wanted = Arc::new(self.started.clone());
        if self.file.is_some() || !adopted {
            let last_config = last.as_ref().map(|l| l.config.as_ref());
            let difference = crate::desired::compare(last_config, director, &wanted, Rule::Keep);
            director.carry_out(&difference.changes)?;
        }
        self.last = match &self.file {
            None => last,
            Some(_) => Some(Applied {
                config: wanted,
                at: SystemTime::now(),
            }),
        };
        Ok(())
    }

    /// Those of the configuration that holds.
    #[must_use]
    pub const fn interfaces(&self) -> &BTreeMap<String, Interface> {
        &self.started.interfaces
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

fn no_file() -> wire::Error {
    convert::error(
        ErrorCode::Config,
        "the daemon was started without --config, so there is no file to read again; use `ipvsd apply FILE`",
    )
}
