//! `[api]`: who may speak to the daemon.

use std::path::PathBuf;

use super::{problems::Problems, section::Section};

/// Bits of a mode that mean something for a socket.
const MODES: u32 = 0o777;

/// The two sockets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Api {
    /// To the socket that takes commands.
    pub access: Access,
    /// A second one, which only answers questions.
    pub read_only: Option<PathBuf>,
    pub read_only_access: Access,
}

/// Who may connect; what is not said is for the owner alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    pub mode: Option<u32>,
    pub group: Option<String>,
}

impl Access {
    /// A mode as it is written on a command line or in the file: octal.
    pub fn parse_mode(text: &str) -> Result<u32, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode & !MODES == 0 => Ok(mode),
            Ok(_) | Err(_) => Err(format!("`{text}` is no mode of a socket; write 0660")),
        }
    }

    /// What is said here, and else what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            group: self.group.or(other.group),
        }
    }
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Api {
    let Some(section) = root.section("api", "[api]", problems) else {
        return Api::default();
    };
    section.only_known(
        &[
            "socket_mode",
            "socket_group",
            "read_only_socket",
            "read_only_mode",
            "read_only_group",
        ],
        problems,
    );
    let text = |key: &str, problems: &mut Problems<'_>| {
        let found = section.string(key, problems)?;
        Some(found.value.to_owned())
    };
    let mode = |key: &str, problems: &mut Problems<'_>| {
        let found = section.string(key, problems)?;
        let read = Access::parse_mode(found.value);
        let report = |e| problems.report(found.span, e, format!("write {key} = \"0660\""));
        read.map_err(report).ok()
    };
    Api {
        access: Access {
            mode: mode("socket_mode", problems),
            group: text("socket_group", problems),
        },
        read_only: text("read_only_socket", problems).map(PathBuf::from),
        read_only_access: Access {
            mode: mode("read_only_mode", problems),
            group: text("read_only_group", problems),
        },
    }
}
