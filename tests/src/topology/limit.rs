//! A time limit, so that a hang is a failure.

use std::{
    env,
    panic::resume_unwind,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::Result;

/// Set to how many times slower than usual a machine is.
const SLOWER: &str = "IPVS_PATIENCE";

/// Runs a test's body on a thread of its own; panics if it fails or takes longer than `seconds`, or what that is on this machine.
///
/// # Panics
/// As said: it is for tests.
pub fn within(seconds: u64, body: impl FnOnce() -> Result<()> + Send + 'static) {
    let slower = env::var(SLOWER).ok().and_then(|text| text.parse().ok());
    let seconds = seconds * slower.unwrap_or(1);
    let (done, ended) = channel::<()>();
    // Only the end of the sender matters, which comes with a panic as well.
    let thread = thread::spawn(move || {
        let _done = done;
        body()
    });
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => panic!("{e:#}"),
            Err(panic) => resume_unwind(panic),
        },
        Err(RecvTimeoutError::Timeout) => panic!("not done after {seconds} s"),
    }
}
