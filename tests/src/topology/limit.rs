//! A time limit, so that a hang is a failure.

use std::{
    env,
    panic::resume_unwind,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Set to how many times slower than usual a machine is.
const SLOWER: &str = "IPVS_PATIENCE";

/// Runs a test's body on a thread of its own; panics if it fails or takes longer than `seconds`, or what that is on this machine.
///
/// # Panics
/// As said: it is for tests.
pub fn within(seconds: u64, body: impl FnOnce() -> Result<()> + Send + 'static) {
    let limit = here(Duration::from_secs(seconds));
    let (done, ended) = channel::<()>();
    // Only the end of the sender matters, which comes with a panic as well.
    let thread = thread::spawn(move || {
        let _done = done;
        body()
    });
    match ended.recv_timeout(limit) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => panic!("{e:#}"),
            Err(panic) => resume_unwind(panic),
        },
        Err(RecvTimeoutError::Timeout) => panic!("not done after {limit:?}"),
    }
}

/// Whether it comes to hold within this time, or what that is on this machine.
pub fn eventually(limit: Duration, holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    eventually_every(Duration::from_millis(20), limit, holds)
}

/// The same with another pause between looks.
pub fn eventually_every(
    pause: Duration,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < here(limit) {
        if holds()? {
            return Ok(true);
        }
        thread::sleep(pause);
    }
    Ok(false)
}

/// Between one thing and the next that a test does to the traffic over and over, so that some gets through on a slow machine, too.
#[must_use]
pub fn flushing_pause() -> Duration {
    here(Duration::from_millis(20))
}

/// A time on a machine that is as slow as this one.
pub(crate) fn here(time: Duration) -> Duration {
    let slower = env::var(SLOWER).ok().and_then(|text| text.parse().ok());
    time * slower.unwrap_or(1)
}
