//! The time since the machine was booted: no one sets it, it goes on while the machine sleeps, and the tables that a change is
//! about do not outlive a boot either.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

pub(super) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Tells boots apart.
pub(super) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}
