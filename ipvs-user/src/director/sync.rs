//! Backup directors: what there is to tell one of, and (in `taking`) what another director tells.
//!
//! A master tells of a connection when it gets established and whenever its state changes, of a template when it is made and with
//! the connections under it. The walk that ends what is due tells of all of them again in turns, so that a backup that missed
//! something, or came late, has everything after one period, and no timer runs out there before it does here.

mod count;
mod taking;
mod turn;

use std::collections::{BTreeMap, HashSet, VecDeque};

use ipvs_common::{
    self as tables, ConnFlags, Flow, ForwardingMethod, Note, ServiceKey, SettingsFlags, State,
    Template, Tie,
};

use super::Director;
use crate::{
    dataplane::{Seen, TableError},
    model::{Command, DestKey, Model, ModelError},
    sync::{Entry, entry},
    sysctl::Knob,
};
use count::Counts;
pub use count::SyncCount;
use taking::Unbound;
use turn::Turns;

/// What waits to be told again. A walk that finds more leaves it for the next period.
const DUE: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Sync {
    /// A backup is told.
    master: bool,
    turns: Turns,
    due: VecDeque<Found>,
    reals: Option<BTreeMap<u32, (DestKey, ForwardingMethod)>>,
    unbound: Unbound,
    counts: Counts,
}

fn is_mixed(service: &ServiceKey, dest: &DestKey) -> bool {
    service.addr.is_v4() != dest.addr.is_v4()
}

/// Something that a walk found, to be told of.
enum Found {
    Connection(Flow, tables::Entry),
    Template(Tie, Template),
}

impl Sync {
    pub(super) const fn is_master(&self) -> bool {
        self.master
    }

    /// Services or real servers are others.
    pub(super) fn model_changed(&mut self) {
        self.reals = None;
        self.unbound.look_again();
    }

    pub(super) fn real(&mut self, id: u32, model: &Model) -> Option<(DestKey, ForwardingMethod)> {
        let reals = self.reals.get_or_insert_with(|| {
            let all = model.all_dests();
            all.map(|d| (d.id, (d.key, d.spec.method))).collect()
        });
        reals.get(&id).copied()
    }

    pub(super) const fn begin_round(&mut self, second: u64) {
        self.turns.begin_round(second);
    }

    /// A walk came by.
    pub(super) fn see(&mut self, seen: Seen<'_>, timeouts: &[u32; State::SLOTS], hz: u32) {
        let (hash, timeout) = match seen {
            Seen::Connection(key, conn) => {
                if self.turns.persist_only && conn.status.flags & ConnFlags::CHILD != 0
                    || !entry::is_told(key.proto, conn.status.state)
                {
                    return;
                }
                let state = usize::from(conn.status.state) % State::SLOTS;
                (turn::hash(key), u64::from(timeouts[state]))
            }
            Seen::Template(key, template) => (turn::hash(key), template.timeout),
        };
        if !self.turns.is_due(hash, timeout / u64::from(hz.max(1))) {
            return;
        }
        if self.due.len() >= DUE {
            self.counts.add(SyncCount::RefreshMissed, 1);
            return;
        }
        self.due.push_back(match seen {
            Seen::Connection(key, conn) => Found::Connection(*key, *conn),
            Seen::Template(key, template) => Found::Template(*key, *template),
        });
    }
}

impl Director {
    /// ip_vs's messages have one address family for a connection: while a sync daemon runs no real server may be of another one
    /// than its service, and while there is such a real server no daemon is started.
    pub(super) fn can_be_told(&self, command: &Command) -> Result<(), ModelError> {
        let (Command::AddDest { service, dest, .. } | Command::EditDest { service, dest, .. }) =
            command
        else {
            return Ok(());
        };
        let runs = SettingsFlags::SYNC_MASTER | SettingsFlags::SYNC_BACKUP;
        if is_mixed(service, dest) && self.tables.settings().flags & runs != 0 {
            let what = "a real server of the other address family, while a sync daemon runs";
            return Err(ModelError::Invalid(format!("{}: {what}", dest.socket())));
        }
        Ok(())
    }

    /// A real server of another address family than its service's.
    #[must_use]
    pub fn mixed_dest(&self) -> Option<DestKey> {
        let mut services = self.model.services();
        services.find_map(|s| {
            let mut keys = s.dests.iter().map(|d| d.key);
            keys.find(|dest| is_mixed(&s.key, dest))
        })
    }

    /// From here on [`Self::changes_to_tell`] and [`Self::due_to_tell`] have something to say, or no longer.
    pub fn tell_backup(&mut self, tell: bool) -> Result<(), TableError> {
        if tell {
            let hz = u64::from(self.hz()).max(1);
            let second = self.dataplane.now()? / hz;
            self.sync.turns.begin(second);
            // What an earlier master left.
            while !self.dataplane.sync_notes(DUE).is_empty() {}
        }
        self.adjust_settings(|s| {
            s.flags &= !SettingsFlags::SYNC_MASTER;
            s.flags |= if tell { SettingsFlags::SYNC_MASTER } else { 0 };
        })?;
        self.sync.master = tell;
        self.sync.due.clear();
        Ok(())
    }

    /// From here on another director tells, or no longer; under `backup_only` it is the one that balances.
    pub fn listen_to_master(&mut self, listen: bool) -> Result<(), TableError> {
        self.adjust_settings(|s| {
            s.flags &= !SettingsFlags::SYNC_BACKUP;
            s.flags |= if listen {
                SettingsFlags::SYNC_BACKUP
            } else {
                0
            };
        })
    }

    /// What changed since the last call, of at most so many notes; `None`: there was no note.
    pub fn changes_to_tell(&mut self, most: usize) -> Result<Option<Vec<Entry>>, TableError> {
        self.take_up_knobs();
        let notes = self.dataplane.sync_notes(most);
        if notes.is_empty() {
            return Ok(None);
        }
        let now = self.dataplane.now()?;
        let mut told = HashSet::new();
        let mut entries = Vec::new();
        for note in notes {
            if told.insert(note) {
                self.tell(note, &mut told, now, &mut entries)?;
            }
        }
        self.sync.counts.add(SyncCount::Told, entries.len() as u64);
        Ok(Some(entries))
    }

    /// What is to be told again, at most so many entries.
    pub fn due_to_tell(&mut self, most: usize) -> Result<Vec<Entry>, TableError> {
        let now = self.dataplane.now()?;
        let most = most.min(self.sync.due.len());
        let due: Vec<_> = self.sync.due.drain(..most).collect();
        let entries: Vec<_> = due
            .iter()
            .filter_map(|found| match found {
                Found::Connection(key, conn) => self.connection_entry(key, conn, now),
                Found::Template(key, template) => self.template_entry(key, template, now),
            })
            .collect();
        let again = SyncCount::ToldAgain;
        self.sync.counts.add(again, entries.len() as u64);
        Ok(entries)
    }

    /// Events around backup directors, and how often they came.
    pub fn sync_counts(&self) -> impl Iterator<Item = (SyncCount, u64)> + '_ {
        self.sync.counts.each()
    }

    pub const fn count_sync(&mut self, count: SyncCount, n: u64) {
        self.sync.counts.add(count, n);
    }

    fn take_up_knobs(&mut self) {
        let period = self.knob(Knob::SyncRefreshPeriod);
        let retries = self.knob(Knob::SyncRetries);
        let persist_only = self.knob(Knob::SyncPersistMode) != 0;
        self.sync.turns.set(period, retries, persist_only);
    }

    /// A connection, and the template over it; or a template.
    fn tell(
        &mut self,
        note: Note,
        told: &mut HashSet<Note>,
        now: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<(), TableError> {
        let template = if note.is_template == 0 {
            let Some(conn) = self.dataplane.find_established(&note.flow)? else {
                return Ok(());
            };
            let child = conn.status.flags & ConnFlags::CHILD != 0;
            if !(child && self.sync.turns.persist_only) {
                entries.extend(self.connection_entry(&note.flow, &conn, now));
            }
            child.then(|| entry::over(&note.flow, &conn))
        } else {
            Some(note.template)
        };
        let Some(key) = template else {
            return Ok(());
        };
        if note.is_template == 0 && !told.insert(Note::template(key)) {
            return Ok(());
        }
        if let Some(template) = self.dataplane.find_template(&key)? {
            entries.extend(self.template_entry(&key, &template, now));
        }
        Ok(())
    }

    fn connection_entry(&self, key: &Flow, conn: &tables::Entry, now: u64) -> Option<Entry> {
        let state = usize::from(conn.status.state) % State::SLOTS;
        let timeout = u64::from(self.tables.settings().timeouts[state]);
        let seconds = self.seconds(conn.expires, timeout, now)?;
        entry::of_connection(key, conn, seconds)
    }

    fn template_entry(&mut self, key: &Tie, template: &Template, now: u64) -> Option<Entry> {
        let (real, method) = self.sync.real(template.dest, &self.model)?;
        let seconds = match self.seconds(template.expires, template.timeout, now) {
            // Its timer is about to be set to a minute.
            None if template.children != 0 => 60,
            seconds => seconds?,
        };
        entry::of_template(key, template, &real, method, seconds)
    }

    /// Seconds that a backup is to keep an entry of this deadline: until it is told again, or to the end. `None`: it is over.
    fn seconds(&self, expires: u64, timeout: u64, now: u64) -> Option<u32> {
        let hz = u64::from(self.hz()).max(1);
        let left = expires.checked_sub(now).filter(|left| *left != 0)?;
        let timeout = timeout.div_ceil(hz);
        let period = self.sync.turns.period_of(timeout);
        let seconds = (left.div_ceil(hz) + period).min(timeout.max(1));
        Some(seconds as u32)
    }
}
