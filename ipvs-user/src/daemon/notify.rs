//! What the daemon tells systemd of itself (`sd_notify`), if systemd started it; else this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Everything is in place.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The file is read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(e) => debug!("no monotonic clock for systemd: {e}"),
    }
}

pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is asked for: twice in the time after which the daemon counts as stuck.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        debug!("systemd was not told: {e}");
    }
}
