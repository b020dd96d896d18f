//! Settings of interfaces that forwarding needs (`net.ipv4.conf.*`, `net.ipv6.conf.*`). What was there before can be put back, also by another
//! process.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

const NET: &str = "/proc/sys/net";

const FOUR: &str = "ipv4";
const SIX: &str = "ipv6";

/// One setting of an interface that is, or is to be, changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Setting {
    pub interface: String,
    pub key: String,
    pub before: String,
    pub now: String,
    /// Of IPv6.
    #[serde(default)]
    pub six: bool,
}

impl Setting {
    /// What an interface needs and has not. What cannot be read is a warning: the rest of the traffic may do without.
    #[must_use]
    pub fn needed(interface: &str) -> Vec<Self> {
        let mut needed = vec![
            // Without it the kernel answers no program's question for a route.
            Self::change(interface, "forwarding", "1"),
            // The way in and the way out may be the same interface; nobody is to be told of a shorter way.
            Self::change(interface, "send_redirects", "0"),
            // A translated reply that the kernel routes carries the virtual address, which is the director's own, as its
            // source.
            Self::change(interface, "accept_local", "1"),
        ];
        // The kernel takes the larger of the two values, and loose mode (2) is larger than strict (1).
        if strict(interface) || strict("all") {
            needed.push(Self::change(interface, "rp_filter", "2"));
        }
        if read(&path(FOUR, "all", "send_redirects")).is_ok_and(|v| v != "0") {
            info!(
                interface,
                "net.ipv4.conf.all.send_redirects=1 overrides the interface's own setting: the kernel may send redirects \
                 for packets it routes back out of {interface}"
            );
        }
        needed.into_iter().flatten().collect()
    }

    /// The same for IPv6, whose forwarding changes how the interface comes to its own routes: only once it is used.
    #[must_use]
    pub fn needed_by_six(interface: &str) -> Vec<Self> {
        // A router takes no advertisements of other routers unless it is told to go on with that.
        let advertised = read(&path(SIX, interface, "accept_ra")).is_ok_and(|v| v == "1");
        let needed = [
            advertised.then(|| Self::of(SIX, interface, "accept_ra", "2")),
            Some(Self::of(SIX, interface, "forwarding", "1")),
        ];
        needed.into_iter().flatten().flatten().collect()
    }

    /// Whether both are about the same.
    #[must_use]
    pub fn is_about(&self, other: &Self) -> bool {
        (&self.key, self.six) == (&other.key, other.six)
    }

    fn change(interface: &str, key: &str, now: &str) -> Option<Self> {
        Self::of(FOUR, interface, key, now)
    }

    fn of(family: &str, interface: &str, key: &str, now: &str) -> Option<Self> {
        let path = path(family, interface, key);
        match read(&path) {
            Ok(before) => (before != now).then(|| Self {
                interface: interface.to_owned(),
                key: key.to_owned(),
                before,
                now: now.to_owned(),
                six: family == SIX,
            }),
            Err(e) => {
                warn!(interface, "cannot read {}: {e}", path.display());
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        path(self.family(), &self.interface, &self.key)
    }

    const fn family(&self) -> &'static str {
        if self.six { SIX } else { FOUR }
    }

    pub fn put_in_force(&self) {
        let Self {
            interface,
            key,
            before,
            now,
            six: _,
        } = self;
        let family = self.family();
        match fs::write(self.path(), now) {
            Ok(()) => info!(
                interface,
                "net.{family}.conf.{interface}.{key} = {now} (was {before})"
            ),
            Err(e) => warn!(
                interface,
                "cannot set {} to {now}: {e}",
                self.path().display()
            ),
        }
    }

    /// Unless somebody else set it meanwhile, or the interface is gone.
    pub fn restore(&self) {
        let path = self.path();
        if !read(&path).is_ok_and(|v| v == self.now) {
            return;
        }
        let interface = &self.interface;
        match fs::write(&path, &self.before) {
            Ok(()) => info!(interface, "{} is {} again", path.display(), self.before),
            Err(e) => warn!(interface, "cannot restore {}: {e}", path.display()),
        }
    }
}

fn path(family: &str, interface: &str, key: &str) -> PathBuf {
    [NET, family, "conf", interface, key].iter().collect()
}

fn read(path: &PathBuf) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn strict(interface: &str) -> bool {
    read(&path(FOUR, interface, "rp_filter")).is_ok_and(|v| v == "1")
}
