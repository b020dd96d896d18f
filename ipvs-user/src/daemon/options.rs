//! What the daemon is started with: the command line and the configuration file as one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::interfaces::Wanted;
use crate::{
    api::{DEFAULT_SOCKET, desk::Store},
    config::{Config, Interface, Mode, Reader},
    dataplane::bpf::ModePolicy,
};

pub struct Options {
    /// Without doubles, in the order in which they are attached.
    pub interfaces: Vec<Wanted>,
    /// Those that the command line names, and its mode: they hold whatever the file says later.
    pub named: Vec<String>,
    pub mode: ModePolicy,
    pub socket: PathBuf,
    /// Services and settings.
    pub config: Config,
    /// Name of the director among those of this machine.
    pub instance: String,
    /// Leave nothing behind at the end: no program, no table, no setting.
    pub detach_on_exit: bool,
    /// Where they came from, to be read again.
    pub file: Option<PathBuf>,
    /// Knows the file's services already.
    pub reader: Reader,
    /// Where to remember what was applied last; `None`: beside the socket.
    pub state: Option<PathBuf>,
}

impl Options {
    /// Interfaces of the command line come first; those of the file need not be named again. `mode` is for those that the
    /// file says nothing about.
    pub fn new(
        interfaces: &[String],
        mode: ModePolicy,
        socket: PathBuf,
        config: Config,
    ) -> Result<Self> {
        let wanted = wanted(interfaces, mode, &config.interfaces);
        if wanted.is_empty() {
            bail!(
                "no interface to work on: give --iface, or [interface.NAME] in the configuration"
            );
        }
        Ok(Self {
            interfaces: wanted,
            named: interfaces.to_vec(),
            mode,
            instance: instance_of(&socket),
            socket,
            config,
            detach_on_exit: false,
            file: None,
            reader: Reader::default(),
            state: None,
        })
    }

    /// Where to remember what was applied last.
    pub(super) fn store(&self) -> Store {
        Store::at(self.state.as_deref(), &self.socket, &self.instance)
    }
}

/// The name that a director has without another one: no two sockets have the same.
#[must_use]
pub fn instance_of(socket: &Path) -> String {
    const LONGEST: usize = 100;
    if socket == Path::new(DEFAULT_SOCKET) {
        return "default".to_owned();
    }
    let path = socket.to_string_lossy();
    let path = path.trim_start_matches('/');
    let readable = path.replace('/', "-");
    if readable.len() <= LONGEST && !path.contains('-') {
        return readable;
    }
    let hash = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let end: Vec<char> = readable.chars().rev().take(LONGEST / 2).collect();
    let end: String = end.into_iter().rev().collect();
    format!("{end}-{hash:08x}")
}

/// Those of the command line, then the configured ones that it does not name.
pub(super) fn wanted(
    named: &[String],
    mode: ModePolicy,
    configured: &BTreeMap<String, Interface>,
) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for name in named.iter().chain(configured.keys()) {
        if !wanted.iter().any(|w| w.name == *name) {
            let how = configured.get(name).copied().unwrap_or_default();
            wanted.push(want(name, mode, how));
        }
    }
    wanted
}

fn want(name: &str, mode: ModePolicy, configured: Interface) -> Wanted {
    let policy = match configured.mode {
        None => mode,
        Some(Mode::Auto) => ModePolicy::Auto,
        Some(Mode::Native) => ModePolicy::Native,
        Some(Mode::Generic) => ModePolicy::Generic,
    };
    Wanted {
        name: name.to_owned(),
        policy,
        mark: configured.mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn options(interfaces: &[&str], file: &str) -> Result<Options> {
        let interfaces: Vec<_> = interfaces.iter().map(ToString::to_string).collect();
        let config = parse("test.toml", file).unwrap();
        Options::new(&interfaces, ModePolicy::Native, "socket".into(), config)
    }

    #[test]
    fn the_file_adds_interfaces_and_overrides_the_mode_of_its_own() {
        let file = "[interface.eth0]\nmark = 7\n[interface.eth1]\nmode = 'generic'";
        let wanted = options(&["eth2", "eth0", "eth2"], file).unwrap().interfaces;
        let each = wanted.iter().map(|w| (w.name.as_str(), w.policy, w.mark));
        let expected = [
            ("eth2", ModePolicy::Native, 0),
            ("eth0", ModePolicy::Native, 7),
            ("eth1", ModePolicy::Generic, 0),
        ];
        assert!(each.eq(expected));
    }

    #[test]
    fn every_socket_has_an_instance_of_its_own() {
        let of = |path: &str| instance_of(Path::new(path));
        assert_eq!(of("/run/ipvsd/ipvsd.sock"), "default");
        assert_eq!(of("/run/blue/socket"), "run-blue-socket");
        assert_ne!(of("/run/a-b/s"), of("/run/a/b-s"));
        let long = "x".repeat(300);
        assert_ne!(of(&format!("/a{long}")), of(&format!("/b{long}")));
        assert!(of(&long).len() < 100);
    }

    #[test]
    fn a_director_without_interfaces_is_a_mistake() {
        assert!(options(&[], "").is_err());
    }
}
