//! Carries the effects of a change into the tables, in an order in which every packet finds them consistent: real servers
//! before the list that names them, the list before the service that points at it, and the other way round on the way out.
//!
//! All or nothing: each write notes how to take it back. Knows the model, the plan and the dataplane's trait, and nothing of
//! what is behind that.

mod change;
mod journal;
mod matches;
mod repair;

pub use change::Change;

use std::collections::BTreeMap;

use ipvs_common::{Addr, Dest, Service, ServiceKey, Settings, maps::Capacities};

use crate::{
    dataplane::{Dataplane, TableError},
    ledger::{Changes, Key, Value, Written},
    plan::{self, Block, ListSpace, SourceOf},
};
use journal::Journal;

/// A change did not get into the tables; they hold what they held before.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Table(#[from] TableError),
    /// Both errors in one: the tables are between two states.
    #[error("{cause}; and taking back what was written failed, too: {undo}")]
    HalfDone {
        cause: Box<ReconcileError>,
        undo: TableError,
    },
    #[error(
        "no {needed} slots in a row are free for a list of real servers: lists that were replaced within the last second \
         still hold theirs; try again in a second, or raise `list_slots`"
    )]
    ListSpace { needed: u32 },
    #[error(
        "no {needed} slots in a row are free for the hash table of a scheduler: tables that were replaced within the last \
         second still hold theirs; try again in a second, or raise `table_slots`"
    )]
    TableSpace { needed: u32 },
    #[error(
        "no {needed} slots in a row are free for the port ranges of match rules: rules that were replaced within the last \
         second still hold theirs; try again in a second, or raise `match_slots`"
    )]
    MatchSpace { needed: u32 },
}

/// What is in the tables, as far as the daemon wrote it.
#[derive(Debug)]
pub struct Tables {
    services: BTreeMap<ServiceKey, Service>,
    dests: BTreeMap<u32, Dest>,
    settings: Settings,
    space: ListSpace,
    table_space: ListSpace,
    matches: matches::Matches,
    ledger: Written,
}

impl Tables {
    /// Tables that are empty but for the settings, which are written here.
    pub fn new(dataplane: &mut dyn Dataplane, settings: Settings) -> Result<Self, TableError> {
        let Capacities {
            list_slots,
            table_slots,
            match_slots,
            ..
        } = dataplane.capacities();
        // More than a second, also if the clock is just about to tick.
        let hold = u64::from(dataplane.hz()) + 1;
        dataplane.put_settings(&settings)?;
        let begun = Value::of(&0_u64);
        // The last thing: from here on there is something to come back to.
        dataplane.put_ledger(&[(Key::BEGUN, begun)])?;
        Ok(Self {
            services: BTreeMap::new(),
            dests: BTreeMap::new(),
            settings,
            space: ListSpace::new(list_slots, hold),
            table_space: ListSpace::new(table_slots, hold),
            matches: matches::Matches::new(match_slots, hold),
            ledger: Written::new(BTreeMap::from([(Key::BEGUN, begun)])),
        })
    }

    #[must_use]
    pub const fn ledger(&self) -> &Written {
        &self.ledger
    }

    pub const fn ledger_mut(&mut self) -> &mut Written {
        &mut self.ledger
    }

    /// Notes what changes no table: all of it, or nothing.
    pub fn note(
        &mut self,
        dataplane: &mut dyn Dataplane,
        records: &Changes,
    ) -> Result<(), TableError> {
        let mut journal = Journal::new(self, dataplane);
        let noted = journal
            .announce(records)
            .and_then(|()| journal.note(records))
            .and_then(|()| journal.conclude());
        match noted {
            Ok(()) => {
                journal.commit(0);
                Ok(())
            }
            Err(e) => match journal.roll_back(e.into(), 0) {
                ReconcileError::Table(e) | ReconcileError::HalfDone { undo: e, .. } => Err(e),
                ReconcileError::ListSpace { .. }
                | ReconcileError::TableSpace { .. }
                | ReconcileError::MatchSpace { .. } => Ok(()),
            },
        }
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    #[must_use]
    pub fn free_list_slots(&self) -> u32 {
        self.space.free_slots()
    }

    /// Lets lists and match rules rest no longer than they must.
    pub fn tick(&mut self, dataplane: &mut dyn Dataplane, now: u64) -> Result<(), TableError> {
        self.space.end_quarantine(now);
        self.table_space.end_quarantine(now);
        self.matches.tick(dataplane, now)
    }

    /// Writes settings. What of their flags follows from the model stays as it is.
    pub fn put_settings(
        &mut self,
        dataplane: &mut dyn Dataplane,
        settings: Settings,
    ) -> Result<(), TableError> {
        let model_flags = self.settings.flags & plan::MODEL_FLAGS;
        let settings = Settings {
            flags: settings.flags & !plan::MODEL_FLAGS | model_flags,
            match_set: self.settings.match_set,
            ..settings
        };
        dataplane.put_settings(&settings)?;
        self.settings = settings;
        Ok(())
    }

    /// Carries out a change, or takes back what of it was written.
    pub fn carry_out(
        &mut self,
        dataplane: &mut dyn Dataplane,
        change: &Change<'_>,
        source: SourceOf<'_>,
    ) -> Result<(), ReconcileError> {
        let now = dataplane.now()?;
        let mut journal = Journal::new(self, dataplane);
        match change.write(&mut journal, source, now) {
            Ok(()) => {
                journal.commit(now);
                Ok(())
            }
            Err(cause) => Err(journal.roll_back(cause, now)),
        }
    }

    /// Asks again for the source address towards every real server and writes those that changed. Those that are no tunnels
    /// now may have connections that are.
    pub fn refresh_sources(
        &mut self,
        dataplane: &mut dyn Dataplane,
        source: SourceOf<'_>,
    ) -> Result<(), TableError> {
        for (id, dest) in &mut self.dests {
            let asked = Dest {
                tunnel_src: source(dest.addr).unwrap_or(Addr::UNSPECIFIED),
                ..*dest
            };
            let fresh = plan::over(asked, Some(dest));
            if fresh != *dest {
                dataplane.put_dest(*id, &fresh)?;
                *dest = fresh;
            }
        }
        Ok(())
    }

    /// An index whose real server is gone for good.
    pub fn forget_dest(&mut self, id: u32) {
        self.dests.remove(&id);
    }

    fn table_of(&self, key: &ServiceKey) -> Block {
        self.services.get(key).map_or(Block::default(), |s| Block {
            base: s.table_base,
            len: s.table_len,
        })
    }

    fn list_of(&self, key: &ServiceKey) -> Block {
        self.services.get(key).map_or(Block::default(), |s| Block {
            base: s.list_base,
            len: s.list_len,
        })
    }
}

#[cfg(test)]
mod tests;
