//! Whether this process may do what a director does.

use std::fs;

use anyhow::{Result, bail};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// Capabilities by their number, with what they are for.
const NEEDED: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN (interfaces, neighbours)"),
    (13, "CAP_NET_RAW (sending fragments)"),
    (
        21,
        "CAP_SYS_ADMIN (loading BPF, and the file system that shares its maps)",
    ),
];

/// Fails with a list of what is missing.
pub(super) fn check() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let missing = missing(&status);
    if !missing.is_empty() {
        bail!("ipvsd needs root: missing {}", missing.join(", "));
    }
    // Kernels before 5.11 count maps against this limit.
    if let Err(e) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("cannot raise the limit of locked memory: {e}");
    }
    Ok(())
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    // Without a word from the kernel, let it refuse what it likes.
    let effective = effective.unwrap_or(u64::MAX);
    let lacks = |(bit, _): &&(u32, &str)| effective & (1 << bit) == 0;
    NEEDED.iter().filter(lacks).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lacks_nothing() {
        assert!(missing("Name:\tipvsd\nCapEff:\t000001ffffffffff\n").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let named = missing("CapEff:\t0000000000001000\n");
        assert_eq!(named.len(), 2);
        assert!(named[0].starts_with("CAP_NET_RAW"));
    }
}
