//! What this process may do: enough for a director, and after the start no more than that.
//!
//! Rights belong to threads. The first thread starts the daemon with all that it was given; the others, which serve, have from
//! their beginning what is needed all the time ([`reduce`]), and the first one follows when the start is over.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability, errors::CapsError};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tracing::{debug, warn};

/// Needed as long as the daemon runs: interfaces come back, and configurations change.
const KEPT: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];

/// With what they are for, and whether `CAP_SYS_ADMIN` stands for them.
const NEEDED: [(Capability, &str, bool); 4] = [
    (Capability::CAP_NET_ADMIN, "interfaces, neighbours", false),
    (
        Capability::CAP_NET_RAW,
        "a socket to send fragments by, opened once",
        false,
    ),
    (Capability::CAP_BPF, "programs and maps", true),
    (Capability::CAP_PERFMON, "programs that use pointers", true),
];

/// Fails with a list of what is missing.
pub(super) fn check() -> Result<()> {
    super::kernel::check()?;
    let effective = caps::read(None, CapSet::Effective).context("asking for capabilities")?;
    let missing = missing(&effective);
    if !missing.is_empty() {
        bail!(
            "ipvsd needs root, or these capabilities: missing {}",
            missing.join(", ")
        );
    }
    // Kernels before 5.11 count maps against this limit.
    if let Err(e) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        debug!("cannot raise the limit of locked memory: {e}");
    }
    Ok(())
}

fn missing(effective: &HashSet<Capability>) -> Vec<String> {
    let has = |cap| effective.contains(&cap);
    let lacks = |(cap, _, by_admin): &&(Capability, &str, bool)| {
        !(has(*cap) || *by_admin && has(Capability::CAP_SYS_ADMIN))
    };
    let missing = NEEDED.iter().filter(lacks);
    missing
        .map(|(cap, what, _)| format!("{cap} ({what})"))
        .collect()
}

/// Gives up for this thread, and for those that it starts, all that is not needed all the time.
pub(super) fn reduce() -> Result<()> {
    reduce_to_kept().context("giving up capabilities that are no longer needed")
}

/// The same where nobody is to be told of a failure.
pub(super) fn reduce_or_warn() {
    if let Err(e) = reduce() {
        warn!("{e:#}");
    }
}

/// Old kernels have no `CAP_BPF`; there `CAP_SYS_ADMIN` has to stay in its place.
fn reduce_to_kept() -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let mut kept: HashSet<_> = KEPT.into_iter().filter(|c| permitted.contains(c)).collect();
    if kept.len() < KEPT.len() && permitted.contains(&Capability::CAP_SYS_ADMIN) {
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    // What no program started from here could get back; only possible with the right to do so, and no loss without it.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for gone in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *gone)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lacks_nothing() {
        assert!(missing(&caps::all()).is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let named = missing(&HashSet::from([Capability::CAP_NET_ADMIN]));
        assert_eq!(named.len(), 3);
        assert!(named[0].starts_with("CAP_NET_RAW"), "{named:?}");
    }

    #[test]
    fn whoever_may_do_everything_may_load_programs() {
        use Capability::{CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN};
        let given = HashSet::from([CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN]);
        assert!(missing(&given).is_empty());
    }

    #[test]
    fn a_reduced_thread_has_what_is_needed_and_cannot_get_more() {
        let reduced = std::thread::spawn(|| {
            reduce().unwrap();
            let sets = [CapSet::Effective, CapSet::Permitted].map(|s| caps::read(None, s).unwrap());
            (
                sets,
                caps::raise(None, CapSet::Permitted, Capability::CAP_SYS_ADMIN),
            )
        });
        let (sets, regained) = reduced.join().unwrap();
        for set in sets {
            assert!(set.iter().all(|c| KEPT.contains(c)), "{set:?}");
        }
        assert!(regained.is_err());
    }
}
