//! What the daemon is started with: the command line and the configuration file as one.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, bail};

use super::interfaces::Wanted;
use crate::{
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
            socket,
            config,
            file: None,
            reader: Reader::default(),
            state: None,
        })
    }
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
    fn a_director_without_interfaces_is_a_mistake() {
        assert!(options(&[], "").is_err());
    }
}
