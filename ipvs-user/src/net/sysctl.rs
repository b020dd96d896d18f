//! Settings of interfaces that forwarding needs (`net.ipv4.conf.*`, `net.ipv6.conf.*`). What was there before can be put back, also by another
//! process.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::offload;

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
    /// No setting under `/proc`: a feature of the card.
    #[serde(default)]
    pub of_card: bool,
}

/// What a card does with tags of VLANs on the way in: it takes them off, so that a program does not see them.
const TAKES_TAGS_OFF: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

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

    /// What an interface needs that frames with tags come in by: its card must leave them where they are.
    #[must_use]
    pub fn needed_for_tags(interface: &str) -> Vec<Self> {
        let mut needed = Vec::new();
        for feature in TAKES_TAGS_OFF {
            match offload::is_on(interface, feature) {
                Ok(Some(true)) => needed.push(Self {
                    interface: interface.to_owned(),
                    key: feature.to_owned(),
                    before: ON.to_owned(),
                    now: OFF.to_owned(),
                    six: false,
                    of_card: true,
                }),
                Ok(_) => {}
                Err(e) => warn!(interface, "cannot ask for the feature {feature}: {e}"),
            }
        }
        needed
    }

    /// Whether both are about the same.
    #[must_use]
    pub fn is_about(&self, other: &Self) -> bool {
        (&self.key, self.six, self.of_card) == (&other.key, other.six, other.of_card)
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
                of_card: false,
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
            ..
        } = self;
        if self.of_card {
            return self.put_on_card(now);
        }
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
        if self.of_card {
            if is_on_card(&self.interface, &self.key) == Some(self.now == ON) {
                self.put_on_card(&self.before);
            }
            return;
        }
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

impl Setting {
    fn put_on_card(&self, value: &str) {
        let Self { interface, key, .. } = self;
        let on = value == ON;
        let set = offload::set(interface, key, on);
        if set.is_ok() && is_on_card(interface, key) == Some(on) {
            info!(interface, "ethtool --features {interface} {key} {value}");
        } else {
            let why = set
                .err()
                .map_or("the driver insists".to_owned(), |e| e.to_string());
            if on {
                warn!(interface, "cannot turn {key} on again: {why}");
                return;
            }
            warn!(
                interface,
                "cannot turn {key} off ({why}): tags of VLANs are taken off before the program sees the frame, which then \
                 counts as one without. Name the VLAN devices as interfaces, and {interface} not"
            );
        }
    }
}

const ON: &str = "on";
const OFF: &str = "off";

fn is_on_card(interface: &str, feature: &str) -> Option<bool> {
    offload::is_on(interface, feature).ok().flatten()
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
