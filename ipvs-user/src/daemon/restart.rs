//! What one daemon leaves to the next: how it is found at the start, and how it is taken away.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use ipvs_common::maps::Capacities;
use tracing::{info, warn};

use super::{
    beginning::Swap,
    notes::{Keeper, Notes},
};
use crate::{
    dataplane::bpf::{BpfDataplane, Instance, Migration, OBJECT},
    director::{Adopted, Director},
    net::netns_number,
};

/// What is among the pins of an instance.
pub(super) struct Opened {
    pub(super) keeper: Keeper,
    pub(super) dataplane: BpfDataplane,
    pub(super) migration: Option<Migration>,
}

/// Takes the pins of an instance for this process.
pub(super) fn claim(name: &str) -> Result<Arc<Instance>> {
    let instance = Arc::new(Instance::lock(name)?);
    let keeper = Keeper::open(&instance)?;
    if !is_foreign(&instance, keeper.notes())? {
        return Ok(instance);
    }
    warn!(
        instance = name,
        "leftovers of a network namespace that is gone: removing them"
    );
    instance.remove()?;
    Ok(Arc::new(Instance::lock(name)?))
}

/// Opens what is there, or begins.
pub(super) fn open(
    instance: &Arc<Instance>,
    socket: &Path,
    capacities: Capacities,
) -> Result<Opened> {
    let mut keeper = Keeper::open(instance)?;
    keeper.update(|notes| {
        socket.clone_into(&mut notes.socket);
        notes.netns = netns_number();
        env!("CARGO_PKG_VERSION").clone_into(&mut notes.daemon);
    });
    let tables = BpfDataplane::open(OBJECT, capacities, instance)
        .with_context(|| format!("instance {}", instance.name()))?;
    Ok(Opened {
        keeper,
        dataplane: tables.dataplane,
        migration: tables.migration,
    })
}

/// The share of a migration in the moments of a swap.
pub(super) fn around_swap(migration: Option<&mut Migration>, moment: Swap) -> Result<()> {
    let Some(migration) = migration else {
        return Ok(());
    };
    let migrated = migration.sync(moment == Swap::Done)?;
    info!(
        connections = migrated.connections,
        templates = migrated.templates,
        "tables of another layout or size: entries that came over"
    );
    Ok(())
}

/// Packets go through the new tables alone: what the old ones counted is added, and they go.
pub(super) fn end_migration(
    migration: Migration,
    director: &mut Director,
    instance: &Instance,
) -> Result<()> {
    /// No packet takes as long to pass a program.
    const UNDER_WAY: Duration = Duration::from_millis(50);
    std::thread::sleep(UNDER_WAY);
    let counted = migration.counted()?;
    director.carry(&counted.dests, &counted.reasons)?;
    drop(migration);
    instance.forget_previous()?;
    director.carried()?;
    Ok(())
}

/// Says what was there.
pub(super) fn report(name: &str, adopted: Option<Adopted>, director: &Director) {
    let Some(adopted) = adopted else {
        return info!(instance = name, "begins with empty tables");
    };
    let connections = director.connections().map_or(0, |c| c.len());
    let (services, dests) = (adopted.services, adopted.dests);
    info!(
        instance = name,
        "goes on where the daemon before it ended: {services} services, {dests} real servers, {connections} connections \
         and templates"
    );
    if adopted.finished {
        warn!("a change of the configuration had been cut short; it was finished");
    }
}

/// Of another network namespace; an error if that may still be at work.
fn is_foreign(instance: &Instance, notes: &Notes) -> Result<bool> {
    if notes.netns == 0 || notes.netns == netns_number() {
        return Ok(false);
    }
    if instance.alive()? {
        let name = instance.name();
        bail!(
            "instance {name} forwards packets in another network namespace: give this one another name (--instance), or \
             take that one away with `ipvsd detach --instance {name}`"
        );
    }
    Ok(true)
}
