//! Settings of interfaces that forwarding needs (`net.ipv4.conf.*`). What was there before comes back at the end.

use std::{fs, io, path::PathBuf};

use tracing::{info, warn};

const CONF: &str = "/proc/sys/net/ipv4/conf";

/// One setting that was changed.
struct Changed {
    path: PathBuf,
    before: String,
    now: &'static str,
}

/// The changed settings of one interface. Dropping it restores them.
pub struct Sysctls {
    interface: String,
    changed: Vec<Changed>,
}

impl Sysctls {
    /// Makes an interface ready. What cannot be set is a warning: the rest of the traffic may do without.
    #[must_use]
    pub fn prepare(interface: &str) -> Self {
        let mut this = Self {
            interface: interface.to_owned(),
            changed: Vec::new(),
        };
        // Without it the kernel answers no program's question for a route.
        this.set("forwarding", "1");
        // The way in and the way out may be the same interface; nobody is to be told of a shorter way.
        this.set("send_redirects", "0");
        // A translated reply that the kernel routes carries the virtual address, which is the director's own, as its source.
        this.set("accept_local", "1");
        // The kernel takes the larger of the two values, and loose mode (2) is larger than strict (1).
        if strict(interface) || strict("all") {
            this.set("rp_filter", "2");
        }
        if read(&path("all", "send_redirects")).is_ok_and(|v| v != "0") {
            info!(
                interface,
                "net.ipv4.conf.all.send_redirects=1 overrides the interface's own setting: the kernel may send redirects \
                 for packets it routes back out of {interface}"
            );
        }
        this
    }

    fn set(&mut self, key: &str, now: &'static str) {
        let path = path(&self.interface, key);
        let interface = &self.interface;
        let before = match read(&path) {
            Ok(before) if before == now => return,
            Ok(before) => before,
            Err(e) => return warn!(interface, "cannot read {}: {e}", path.display()),
        };
        match fs::write(&path, now) {
            Ok(()) => {
                info!(
                    interface,
                    "net.ipv4.conf.{interface}.{key} = {now} (was {before})"
                );
                self.changed.push(Changed { path, before, now });
            }
            Err(e) => warn!(interface, "cannot set {} to {now}: {e}", path.display()),
        }
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for change in self.changed.drain(..).rev() {
            // Somebody else set it meanwhile, or the interface is gone.
            if read(&change.path).is_ok_and(|v| v == change.now) {
                let restored = fs::write(&change.path, &change.before);
                let path = change.path.display();
                match restored {
                    Ok(()) => info!(
                        interface = self.interface,
                        "{path} is {} again", change.before
                    ),
                    Err(e) => warn!(interface = self.interface, "cannot restore {path}: {e}"),
                }
            }
        }
    }
}

fn path(interface: &str, key: &str) -> PathBuf {
    [CONF, interface, key].iter().collect()
}

fn read(path: &PathBuf) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn strict(interface: &str) -> bool {
    read(&path(interface, "rp_filter")).is_ok_and(|v| v == "1")
}
