//! What daemons leave, and those that start in their place.

use std::{process::Output, sync::Arc, thread, time::Duration};

use anyhow::Result;

use super::{
    director::{Director, Start},
    place::Place,
};

/// What a daemon left that is no more.
#[derive(Debug)]
pub struct Left {
    pub(super) place: Arc<Place>,
}

impl Left {
    /// Starts another daemon in the place of the one that is no more.
    pub fn start(self, how: &Start) -> Result<Director> {
        Director::start_in(self.place, how)
    }

    /// Starts another daemon, which is killed after this time, ready or not.
    pub fn start_and_kill(&self, how: &Start, after: Duration) -> Result<()> {
        let director = Director::launch(Arc::clone(&self.place), how)?;
        thread::sleep(after);
        director.kill().map(drop)
    }

    /// Has another daemon refuse to start there: what it said.
    pub fn refusal(&self, how: &Start) -> Result<String> {
        Director::refusal_in(Arc::clone(&self.place), how)
    }

    /// Carries out a command line as an administrator would, without a daemon.
    pub fn run(&self, line: &str) -> Result<String> {
        self.place.run(line)
    }

    pub fn output(&self, line: &str) -> Result<Output> {
        self.place.output(line)
    }
}
