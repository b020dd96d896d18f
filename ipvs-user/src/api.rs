//! The daemon's API: versioned JSON over HTTP on a Unix socket.
//!
//! [`wire`] is the language both sides speak, [`server`] the daemon's side, [`client`] everybody else's.

pub mod client;
mod convert;
pub mod desk;
pub mod server;
pub mod wire;

use std::path::PathBuf;

/// Environment variable that moves the socket, for the daemon and its clients alike.
pub const SOCKET_VARIABLE: &str = "IPVSD_SOCKET";

pub const DEFAULT_SOCKET: &str = "/run/ipvsd/ipvsd.sock";

/// Where the daemon listens.
#[must_use]
pub fn socket_path() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE)
        .filter(|p| !p.is_empty())
        .map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}

#[cfg(test)]
pub(crate) mod tests;
