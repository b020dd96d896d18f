//! What was applied last, in a file, so that the next daemon knows it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tracing::warn;

use super::{Applied, convert, wire};
use crate::config::{self, Config};

/// A configuration as it came.
pub(super) enum Text {
    Toml(String),
    Json(Box<wire::Config>),
}

/// The place; both kinds share a name, and one of the two is there.
#[derive(Clone, Debug)]
pub struct Store(Option<PathBuf>);

impl Store {
    /// In this directory, or else beside the socket, whose name tells several directors apart.
    #[must_use]
    pub fn at(directory: Option<&Path>, socket: &Path) -> Self {
        let mut beside = socket.as_os_str().to_owned();
        beside.push(".applied");
        Self(Some(
            directory.map_or_else(|| beside.into(), |d| d.join("applied")),
        ))
    }

    /// Nothing is remembered.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    fn paths(&self) -> Option<[PathBuf; 2]> {
        let stem = self.0.as_ref()?.as_os_str();
        Some([".toml", ".json"].map(|ending| {
            let mut path = stem.to_owned();
            path.push(ending);
            path.into()
        }))
    }

    /// A failure is no reason to refuse what was applied: the daemon itself knows it anyway.
    pub(super) fn save(&self, text: &Text) {
        let Some([toml, json]) = self.paths() else {
            return;
        };
        let (path, other, written) = match text {
            Text::Toml(text) => (&toml, &json, replace(&toml, text.as_bytes())),
            Text::Json(given) => {
                let bytes = serde_json::to_vec(given).map_err(io::Error::from);
                (&json, &toml, bytes.and_then(|b| replace(&json, &b)))
            }
        };
        match written {
            Ok(()) => drop(fs::remove_file(other)),
            Err(e) => warn!(
                "cannot write {}: {e}; a restart will not know what was applied last",
                path.display()
            ),
        }
    }

    /// `None`: nothing is known.
    pub(super) fn load(&self, rest: &Config) -> Option<Applied> {
        let [toml, json] = self.paths()?;
        let read = if toml.exists() {
            config::load(&toml).ok()
        } else {
            let given: wire::Config = serde_json::from_slice(&fs::read(&json).ok()?).ok()?;
            convert::config(&given, rest).ok()
        };
        let path = if toml.exists() { &toml } else { &json };
        let at = fs::metadata(path).and_then(|m| m.modified());
        Some(Applied {
            config: Arc::new(read?),
            at: at.unwrap_or_else(|_| SystemTime::now()),
        })
    }
}

/// Whoever reads it meets the old one or the new one, and nothing in between.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, contents)?;
    fs::rename(&temporary, path)
}
