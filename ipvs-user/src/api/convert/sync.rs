//! The sync daemon, on the wire and in its place.

use super::{
    error,
    wire::{self, ErrorCode},
};
use crate::sync::{Config, Error, Role};

pub(in crate::api) const fn sync_role(role: wire::SyncRole) -> Role {
    match role {
        wire::SyncRole::Master => Role::Master,
        wire::SyncRole::Backup => Role::Backup,
    }
}

pub(in crate::api) fn sync_config(s: &wire::SyncDaemon) -> Config {
    Config {
        role: sync_role(s.role),
        interface: s.interface.clone(),
        syncid: s.syncid,
        maxlen: s.maxlen,
        group: s.group,
        port: s.port,
        ttl: s.ttl,
    }
}

pub(in crate::api) fn sync_daemon(c: &Config) -> wire::SyncDaemon {
    wire::SyncDaemon {
        role: match c.role {
            Role::Master => wire::SyncRole::Master,
            Role::Backup => wire::SyncRole::Backup,
        },
        interface: c.interface.clone(),
        syncid: c.syncid,
        maxlen: c.maxlen,
        group: c.group,
        port: c.port,
        ttl: c.ttl,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` takes"
)]
pub(in crate::api) fn sync_error(e: Error) -> wire::Error {
    let code = match e {
        Error::Runs(_) => ErrorCode::SyncRuns,
        Error::NotRunning(_) => ErrorCode::NoSync,
        Error::NoDevice(_) => ErrorCode::NoDevice,
        Error::NoGroup(_) | Error::NoPorts { .. } | Error::Mixed(_) => ErrorCode::Invalid,
        Error::Failed(_) => ErrorCode::Tables,
        Error::NotCarried => ErrorCode::NotCarried,
    };
    error(code, e.to_string())
}
