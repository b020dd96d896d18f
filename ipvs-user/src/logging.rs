//! How the daemon logs: to standard error, as text or as JSON, and as much as `RUST_LOG` says, or as is usual for what runs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    /// An object for each, for programs.
    Json,
}

/// To be called once. `usual` is the level without `RUST_LOG`.
pub fn start(format: Format, usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false);
    match format {
        Format::Text => lines.init(),
        Format::Json => lines.with_target(true).json().flatten_event(true).init(),
    }
}
