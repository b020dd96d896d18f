//! What ends without a packet: by its timer, with its real server, or because a defence makes room.
//!
//! Each is a walk over the tables. A director that nobody told otherwise walks them whole; the daemon has it go in parts.

use std::{collections::BTreeSet, time::Duration};

use ipvs_common::{Entry, Flow, SettingsFlags};

use super::{Director, defence::DropEntry};
use crate::{
    dataplane::{Place, Seen, Stop, TableError, Task},
    model::Effect,
};

/// The table's part that `drop_entry` looks at each second.
const PARTS: u32 = 32;

/// How a part of the work ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aged {
    /// There is more that somebody waits for: connections of deleted real servers are to end at once.
    Urgent,
    /// There is more.
    More,
    /// Everything was looked at; it may start over.
    Round,
}

/// Where the walks stand.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// Somebody calls [`Director::age`].
    in_parts: bool,
    expiry: Place,
    /// Connections of deleted real servers are to end (`expire_nodest_conn`).
    ending: Option<Ending>,
    dropping: Place,
    drop_entry: bool,
    defence: DropEntry,
}

/// A walk that ends connections of deleted real servers.
#[derive(Debug, Default)]
struct Ending {
    place: Place,
    /// Numbers of the real servers. It may come to its end after the wish was taken back, and then spares those deleted since.
    gone: BTreeSet<u32>,
    /// The next walk's: others were deleted since it began.
    once_more: Option<BTreeSet<u32>>,
    /// It had the last turn.
    last: bool,
}

impl Ending {
    fn of(gone: BTreeSet<u32>) -> Self {
        Self {
            gone,
            ..Self::default()
        }
    }
}

impl Walks {
    pub(super) const fn in_parts(&self) -> bool {
        self.in_parts
    }
}

impl Director {
    /// From here on only [`Self::age`] walks the tables, and it alone ends what is due.
    pub const fn age_in_parts(&mut self) {
        self.walks.in_parts = true;
    }

    /// Goes on for about so long with what ends by its timer or with its real server.
    pub fn age(&mut self, most: Duration) -> Result<Aged, TableError> {
        let stop = Stop::After(most);
        // The two take turns, so that one that begins again and again does not keep the other from its work.
        let turn = self.walks.ending.as_mut().map(|e| {
            e.last = !e.last;
            e.last
        });
        if turn == Some(true) {
            self.end_of_gone(stop)?;
            return Ok(Aged::Urgent);
        }
        let ended = self.expire_walk(stop)?;
        if turn.is_some() {
            return Ok(Aged::Urgent);
        }
        Ok(if ended { Aged::Round } else { Aged::More })
    }

    /// Goes on with the walk that ends what is due, and notes what a backup is to be told again.
    pub(super) fn expire_walk(&mut self, stop: Stop) -> Result<bool, TableError> {
        let place = &mut self.walks.expiry;
        if !self.sync.is_master() {
            return self.dataplane.walk(Task::Expire, place, stop);
        }
        let (hz, timeouts) = (self.dataplane.hz(), self.tables.settings().timeouts);
        if place.is_beginning() {
            let second = self.dataplane.now()? / u64::from(hz).max(1);
            self.sync.begin_round(second);
        }
        let sync = &mut self.sync;
        let mut see = |seen: Seen<'_>| sync.see(seen, &timeouts, hz);
        let task = Task::ExpireAndShow(&mut see);
        self.dataplane.walk(task, place, stop)
    }

    /// Whether [`Self::age`] has something to do at once.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.walks.ending.is_some()
    }

    /// Switches the defence `drop_entry` on or off.
    pub const fn set_drop_entry(&mut self, in_force: bool) {
        self.walks.drop_entry = in_force;
    }

    /// Whether connections are dropped to make room.
    #[must_use]
    pub const fn drop_entry_in_force(&self) -> bool {
        self.walks.drop_entry
    }

    /// One second's share of the defence.
    pub(super) fn drop_entries(&mut self, now: u64) -> Result<(), TableError> {
        if !self.drop_entry_in_force() {
            return Ok(());
        }
        let settings = *self.tables.settings();
        let defence = &mut self.walks.defence;
        let mut pick = |_: &Flow, conn: &Entry| defence.picks(conn, now, &settings);
        let task = Task::Drop(&mut pick);
        let stop = Stop::Part(PARTS);
        self.dataplane.walk(task, &mut self.walks.dropping, stop)?;
        Ok(())
    }

    /// After a change that deleted real servers their connections end, if that is wished.
    pub(super) fn after_effects(&mut self, effects: &[Effect]) -> Result<(), TableError> {
        let deletes = |e: &Effect| {
            matches!(
                e,
                Effect::ServiceRemoved { .. } | Effect::DestRemoved { .. }
            )
        };
        if effects.iter().any(deletes) {
            return self.begin_ending();
        }
        Ok(())
    }

    /// Ends the connections of all deleted real servers, if that is wished: at once, or in parts.
    pub(super) fn begin_ending(&mut self) -> Result<(), TableError> {
        let wished = self.tables.settings().flags & SettingsFlags::EXPIRE_NODEST != 0;
        let gone = self.gone();
        if !wished || gone.is_empty() {
            return Ok(());
        }
        // From the beginning, as those that were just deleted may stand anywhere; but a walk under way comes to its end first.
        if let Some(ending) = &mut self.walks.ending {
            ending.once_more = Some(gone);
            return Ok(());
        }
        self.walks.ending = Some(Ending::of(gone));
        if self.walks.in_parts {
            return Ok(());
        }
        self.end_of_gone(Stop::Never)
    }

    /// Numbers of the real servers that are deleted now.
    fn gone(&self) -> BTreeSet<u32> {
        self.model.trash().map(|(_, t)| t.dest.id).collect()
    }

    fn end_of_gone(&mut self, stop: Stop) -> Result<(), TableError> {
        let now = self.gone();
        let Some(ending) = &mut self.walks.ending else {
            return Ok(());
        };
        // Without those that came back meanwhile.
        ending.gone.retain(|id| now.contains(id));
        let ended = self
            .dataplane
            .walk(Task::EndOf(&ending.gone), &mut ending.place, stop)
            .inspect_err(|_| self.walks.ending = None)?;
        if ended {
            let again = self.walks.ending.take().and_then(|e| e.once_more);
            self.walks.ending = again.map(Ending::of);
        }
        Ok(())
    }
}
