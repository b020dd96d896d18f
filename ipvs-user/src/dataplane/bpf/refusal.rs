//! What a table refused, and removals where absence is no error.

use aya::maps::{HashMap, MapData, MapError};
use ipvs_common::{LblcKey, ServiceKey};

use super::{super::TableError, Result, batch};

/// Says which table refused what.
pub(super) fn failed<E>(
    map: &'static str,
    operation: &'static str,
    key: impl ToString,
) -> impl FnOnce(E) -> TableError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| TableError {
        map,
        operation,
        key: key.to_string(),
        source: source.into(),
    }
}

/// Removes entries of a scheduler's cache.
pub(super) fn remove_where<V: bytemuck::Pod + aya::Pod>(
    name: &'static str,
    map: &mut HashMap<MapData, LblcKey, V>,
    stale: impl Fn(&LblcKey, &V) -> bool,
) -> Result<()> {
    let entries = batch::entries(map).map_err(failed(name, "read", "all"))?;
    let stale = entries.iter().filter(|(k, e)| stale(k, e));
    let stale: Vec<_> = stale.map(|(key, _)| *key).collect();
    remove_all(name, map, &stale)
}

pub(super) fn remove_all<V: bytemuck::Pod + aya::Pod>(
    name: &'static str,
    map: &mut HashMap<MapData, LblcKey, V>,
    keys: &[LblcKey],
) -> Result<()> {
    for key in keys {
        absent_is_fine(map.remove(key)).map_err(failed(name, "delete", key.addr.ip()))?;
    }
    Ok(())
}

pub(super) fn absent_is_fine(
    removed: std::result::Result<(), MapError>,
) -> std::result::Result<(), MapError> {
    match removed {
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}

pub(super) fn service_text(key: &ServiceKey) -> String {
    match key.mark {
        0 => format!(
            "{} port {} protocol {}",
            key.addr.ip(),
            u16::from_be_bytes(key.port),
            key.proto
        ),
        mark => format!("firewall mark {mark}"),
    }
}
