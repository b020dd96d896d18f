//! What one daemon leaves to the next: how it is found at the start, and how it is taken away.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ipvs_common::maps::Capacities;
use tracing::{info, warn};

use super::{
    beginning::Swap,
    lock,
    notes::{Keeper, Notes},
};
use crate::{
    dataplane::bpf::{BpfDataplane, Instance, Migrated, Migration, OBJECT},
    director::{Adopted, Director},
    net::netns_number,
};

/// What is among the pins of an instance.
pub(super) struct Opened {
    pub(super) keeper: Keeper,
    pub(super) dataplane: BpfDataplane,
    pub(super) migration: Option<Box<Migration>>,
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

/// What goes with the swap of programs: the end of a migration, and that the tables are the ones to come back to.
pub(super) struct Around {
    instance: Arc<Instance>,
    generation: String,
    migration: Option<Box<Migration>>,
    director: Arc<Mutex<Director>>,
    /// By this start, and not by one that was cut short.
    swap_begun: bool,
}

impl Around {
    pub(super) fn new(
        instance: &Arc<Instance>,
        migration: Option<Box<Migration>>,
        director: &Arc<Mutex<Director>>,
    ) -> Result<Self> {
        let capacities = {
            let mut director = lock(director);
            if migration.is_none() {
                // Of an earlier one whose end was cut short: the next one's counts are to be carried again.
                director.carried()?;
            }
            director.capacities()
        };
        Ok(Self {
            instance: Arc::clone(instance),
            generation: BpfDataplane::generation(capacities),
            migration,
            director: Arc::clone(director),
            swap_begun: false,
        })
    }

    pub(super) fn at(&mut self, moment: Swap) -> Result<()> {
        match moment {
            Swap::Next => {
                if let Some(migration) = &mut self.migration {
                    report_migrated(migration.sync(false)?);
                }
                // Not earlier: without it a start that ends here was none.
                self.instance.set_current(&self.generation)?;
            }
            Swap::Now => {
                if let Some(migration) = &mut self.migration {
                    // What came while interfaces were attached to.
                    report_migrated(migration.sync(false)?);
                    self.swap_begun = self.instance.begin_swap()?;
                }
            }
            Swap::Not => {
                if self.swap_begun {
                    self.instance.withdraw_swap()?;
                }
            }
            Swap::Done => {
                if let Some(mut migration) = self.migration.take() {
                    let migrated = migration.sync(true)?;
                    report_migrated(migrated);
                    report_unfit(migrated);
                    end_migration(*migration, &mut lock(&self.director), &self.instance)?;
                }
            }
        }
        Ok(())
    }
}

fn report_migrated(migrated: Migrated) {
    info!(
        connections = migrated.connections,
        templates = migrated.templates,
        "tables of another layout or size: entries that came over"
    );
    if migrated.lost != 0 {
        warn!(
            entries = migrated.lost,
            "the new tables are full: entries that the old programs made while they were swapped were left behind"
        );
    }
}

/// Once, as each reading meets them again.
fn report_unfit(migrated: Migrated) {
    if migrated.unfit != 0 {
        warn!(
            entries = migrated.unfit,
            "entries that the tables of this version cannot hold (of IPv6, say, in those of a version without) were left behind"
        );
    }
}

/// Packets go through the new tables alone: what the old ones counted is added, and they go.
fn end_migration(migration: Migration, director: &mut Director, instance: &Instance) -> Result<()> {
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
