//! What daemons leave, and those that start in their place.

use std::{
    process::{Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    director::{Director, Start},
    place::Place,
};

/// A daemon that starts gets everywhere within this time.
const LIMIT: Duration = Duration::from_mins(1);

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

    /// Starts another daemon, which is killed as soon as it got so far.
    pub fn start_and_kill_when(&self, how: &Start, mut so_far: impl FnMut() -> bool) -> Result<()> {
        let director = Director::launch(Arc::clone(&self.place), how)?;
        let start = Instant::now();
        while !so_far() {
            ensure!(
                start.elapsed() < LIMIT,
                "it did not get so far:\n{}",
                director.log()
            );
            thread::yield_now();
        }
        director.kill().map(drop)
    }

    /// Carries out a command line, whose process is killed as soon as it got so far, unless it has ended by itself.
    pub fn run_and_kill_when(&self, line: &str, mut so_far: impl FnMut() -> bool) -> Result<()> {
        let mut command = self.place.command(line)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        while !so_far() && process.try_wait()?.is_none() {
            thread::yield_now();
        }
        let _ = process.kill();
        process.wait()?;
        Ok(())
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
