//! `[interface.NAME]`: how the program is attached there, and the firewall mark of what comes in.

use std::collections::BTreeMap;

use super::{
    problems::Problems,
    section::{Section, as_section, suggestion},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// `None`: as the daemon is told for all.
    pub mode: Option<Mode>,
    /// Firewall mark of every packet that enters here; 0: none.
    pub mark: u32,
}

/// How to attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In the driver, or else in the stack.
    Auto,
    Native,
    Generic,
}

const MODES: [(&str, Mode); 3] = [
    ("auto", Mode::Auto),
    ("native", Mode::Native),
    ("generic", Mode::Generic),
];

/// The kernel's longest name.
const MAX_NAME: usize = 15;

pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, Interface> {
    let Some(section) = root.section("interface", "[interface.NAME]", problems) else {
        return BTreeMap::new();
    };
    let mut interfaces = BTreeMap::new();
    for (name, value) in section.entries() {
        let bad = |c: char| c == '/' || c.is_whitespace();
        if name.value.is_empty() || name.value.len() > MAX_NAME || name.value.contains(bad) {
            let message = format!("`{}` cannot be the name of an interface", name.value);
            problems.report(name.span, message, "`ip link` lists the names there are");
        }
        if let Some(section) = as_section(value, name.value, "[interface.NAME]", problems) {
            interfaces.insert(name.value.to_owned(), interface(&section, problems));
        }
    }
    interfaces
}

fn interface(section: &Section<'_>, problems: &mut Problems<'_>) -> Interface {
    section.only_known(&["mode", "mark"], problems);
    let mark = section.integer("mark", 1..=u32::MAX, problems);
    Interface {
        mode: mode(section, problems),
        mark: mark.map_or(0, |f| f.value),
    }
}

fn mode(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Mode> {
    let found = section.string("mode", problems)?;
    let mode = MODES.iter().find(|(name, _)| *name == found.value);
    if mode.is_none() {
        let message = format!("no mode `{}`", found.value);
        let names = MODES.map(|(name, _)| name);
        problems.report(found.span, message, suggestion(found.value, &names));
    }
    mode.map(|(_, mode)| *mode)
}
