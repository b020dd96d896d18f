//! What is told of traffic: counters since the beginning or since they were zeroed, and rates.
//!
//! The datapath counts by index of real server, and its counters only grow. What is told is what it counted and an offset,
//! which wraps: less what was there when the counters were zeroed, more what real servers counted whose index is free again.

use std::collections::BTreeMap;

use ipvs_common::Stats;

use super::{
    Director,
    estimator::{Apart, Estimator, Rates},
};
use crate::{
    dataplane::TableError,
    ledger::Restored,
    model::{Effect, Model, Origin, Trashed},
};

/// Of one service, one real server, or of everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    offset: Stats,
    estimator: Estimator,
}

impl Account {
    /// Starts over where the datapath counted so much.
    fn zeroed_at(counted: Stats) -> Self {
        Self {
            offset: negative(counted),
            estimator: Estimator::default(),
        }
    }

    /// What to tell where the datapath counted so much.
    pub(super) const fn stats(&self, counted: Stats) -> Stats {
        counted.plus(self.offset)
    }

    pub(super) const fn rates(&self) -> Rates {
        self.estimator.rates()
    }

    pub(super) const fn offset(&self) -> Stats {
        self.offset
    }

    const fn carry(&mut self, counted: Stats) {
        self.offset = self.offset.plus(counted);
    }

    fn sample(&mut self, counted: Stats, apart: Apart) {
        self.estimator.sample(self.stats(counted), apart);
    }
}

/// Accounts by index; one that was never touched is at zero.
#[derive(Debug, Default)]
struct Accounts(Vec<Account>);

impl Accounts {
    fn get(&self, index: u32) -> Account {
        self.0.get(index as usize).copied().unwrap_or_default()
    }

    fn at(&mut self, index: u32) -> &mut Account {
        let index = index as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, Account::default());
        }
        &mut self.0[index]
    }
}

#[derive(Debug, Default)]
pub(super) struct Traffic {
    dests: Accounts,
    services: Accounts,
    total: Account,
    /// When the last samples were taken, in ticks.
    sampled: Option<u64>,
}

impl Traffic {
    pub(super) fn of_dest(&self, dest: u32) -> Account {
        self.dests.get(dest)
    }

    pub(super) fn of_service(&self, service: u32) -> Account {
        self.services.get(service)
    }

    pub(super) const fn total(&self) -> Account {
        self.total
    }

    /// Accounts as they are to be.
    pub(super) fn settle(&mut self, moved: Moved) {
        for (dest, account) in moved.dests {
            *self.dests.at(dest) = account;
        }
        for (service, account) in moved.services {
            *self.services.at(service) = account;
        }
        self.total = moved.total.unwrap_or(self.total);
    }

    /// Takes up where another process left off: offsets by index, and what is counted now, which makes no rate.
    pub(super) fn resume(restored: &Restored, model: &Model, counted: &[Stats], now: u64) -> Self {
        let mut this = Self {
            sampled: Some(now),
            ..Self::default()
        };
        for (dest, offset) in &restored.dest_offsets {
            this.dests.at(*dest).offset = *offset;
        }
        for (service, offset) in &restored.service_offsets {
            this.services.at(*service).offset = *offset;
        }
        this.total.offset = restored.total;
        // Estimators that never sampled take the first one for traffic of the last two seconds; a slot of no length is none.
        this.sample(model, counted, Apart::nothing());
        this
    }

    /// Looks ahead: what accounts come to with changes, before those are made.
    pub(super) const fn draft(&self) -> Draft<'_> {
        Draft {
            traffic: self,
            moved: Moved {
                dests: BTreeMap::new(),
                services: BTreeMap::new(),
                total: None,
            },
        }
    }
    /// Samples everything there is but deleted real servers, whose rates stand still.
    pub(super) fn sample(&mut self, model: &Model, counted: &[Stats], apart: Apart) {
        let counted = |dest: u32| counted.get(dest as usize).copied().unwrap_or_default();
        let mut total = Stats::default();
        let mut of_gone: BTreeMap<u32, Stats> = BTreeMap::new();
        for (_, gone) in model.trash() {
            let stats = counted(gone.dest.id);
            total = total.plus(stats);
            if !gone.orphan {
                let of_service = of_gone.entry(gone.service).or_default();
                *of_service = of_service.plus(stats);
            }
        }
        for service in model.services() {
            let mut live = Stats::default();
            for dest in &service.dests {
                let stats = counted(dest.id);
                self.dests.at(dest.id).sample(stats, apart);
                live = live.plus(stats);
            }
            total = total.plus(live);
            let gone = of_gone.get(&service.id).copied().unwrap_or_default();
            let account = self.services.at(service.id);
            account.sample(live.plus(gone), apart);
        }
        self.total.sample(total, apart);
    }
}

/// Accounts that change, by index.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) dests: BTreeMap<u32, Account>,
    pub(super) services: BTreeMap<u32, Account>,
    pub(super) total: Option<Account>,
}

/// Changes of accounts that are not made yet.
pub(super) struct Draft<'a> {
    traffic: &'a Traffic,
    moved: Moved,
}

impl Draft<'_> {
    pub(super) fn moved(self) -> Moved {
        self.moved
    }

    fn dest(&mut self, dest: u32) -> &mut Account {
        let before = self.traffic.of_dest(dest);
        self.moved.dests.entry(dest).or_insert(before)
    }

    fn service(&mut self, service: u32) -> &mut Account {
        let before = self.traffic.of_service(service);
        self.moved.services.entry(service).or_insert(before)
    }

    fn total(&mut self) -> &mut Account {
        self.moved.total.get_or_insert(self.traffic.total)
    }

    /// Adds what was counted of a real server elsewhere, and of its service, if that is there.
    pub(super) fn carry(&mut self, dest: u32, service: Option<u32>, counted: Stats) {
        self.dest(dest).carry(counted);
        if let Some(service) = service {
            self.service(service).carry(counted);
        }
        self.total().carry(counted);
    }

    /// Keeps the traffic of an index that goes to another real server.
    pub(super) fn fold(&mut self, gone: &Trashed, counted: Stats) {
        self.total().carry(counted);
        if !gone.orphan {
            self.service(gone.service).carry(counted);
        }
        *self.dest(gone.dest.id) = Account::default();
    }

    /// Follows a change. A real server that comes back to its service goes on counting; one that comes back to a new service
    /// starts over, as in ip_vs.
    pub(super) fn follow(&mut self, effects: &[Effect], model: &Model, counted: &Counted) {
        for effect in effects {
            match effect {
                Effect::ServiceAdded { service } | Effect::ServiceRemoved { service, .. } => {
                    *self.service(*service) = Account::default();
                }
                Effect::DestAdded {
                    dest,
                    origin: Origin::Fresh,
                    ..
                } => *self.dest(*dest) = Account::default(),
                Effect::DestAdded {
                    service,
                    dest,
                    origin: Origin::Trash { orphan: true },
                } => {
                    let before = counted.of(*dest);
                    *self.dest(*dest) = Account::zeroed_at(before);
                    self.service(*service).carry(negative(before));
                }
                Effect::Zeroed {
                    service,
                    dests,
                    gone,
                } => {
                    for dest in dests {
                        *self.dest(*dest) = Account::zeroed_at(counted.of(*dest));
                    }
                    let all = counted.sum(dests.iter().chain(gone).copied());
                    *self.service(*service) = Account::zeroed_at(all);
                }
                Effect::TotalZeroed => {
                    let all = counted.sum(model.all_dests().map(|d| d.id));
                    *self.total() = Account::zeroed_at(all);
                }
                Effect::ServiceEdited { .. }
                | Effect::DestAdded { .. }
                | Effect::DestEdited { .. }
                | Effect::DestRemoved { .. }
                | Effect::WrrChanged { .. }
                | Effect::OverloadLifted { .. }
                | Effect::MatchesReplaced => {}
            }
        }
    }
}

/// What the datapath counted of some real servers before a change; nothing of others.
pub(super) struct Counted(BTreeMap<u32, Stats>);

impl Counted {
    fn of(&self, dest: u32) -> Stats {
        self.0.get(&dest).copied().unwrap_or_default()
    }

    fn sum(&self, dests: impl Iterator<Item = u32>) -> Stats {
        dests.fold(Stats::default(), |sum, dest| sum.plus(self.of(dest)))
    }
}

impl Director {
    /// What [`Traffic::follow`] needs to know of such a change.
    pub(super) fn counted_before(&self, effects: &[Effect]) -> Result<Counted, TableError> {
        let mut counted = BTreeMap::new();
        if effects.contains(&Effect::TotalZeroed) {
            let all = self.dataplane.all_dest_stats(self.model.dest_indices())?;
            counted = (0..).zip(all).collect();
        } else {
            for dest in effects.iter().flat_map(dests_of_interest) {
                counted.insert(*dest, self.dataplane.dest_stats(*dest)?);
            }
        }
        for effect in effects {
            // What is counted there is its former owner's.
            if let Effect::DestAdded {
                dest,
                origin: Origin::Fresh,
                ..
            } = effect
            {
                counted.remove(dest);
            }
        }
        Ok(Counted(counted))
    }

    /// Every two seconds: what was counted since becomes part of the rates.
    pub(super) fn sample(&mut self, now: u64) -> Result<(), TableError> {
        let ticks = self.traffic.sampled.map(|last| now.saturating_sub(last));
        let Some(apart) = Apart::of(ticks, self.dataplane.hz()) else {
            return Ok(());
        };
        let counted = self.dataplane.all_dest_stats(self.model.dest_indices())?;
        self.traffic.sample(&self.model, &counted, apart);
        self.traffic.sampled = Some(now);
        Ok(())
    }
}

fn dests_of_interest(effect: &Effect) -> Vec<&u32> {
    match effect {
        Effect::DestAdded {
            dest,
            origin: Origin::Trash { orphan: true },
            ..
        } => vec![dest],
        Effect::Zeroed { dests, gone, .. } => dests.iter().chain(gone).collect(),
        Effect::ServiceAdded { .. }
        | Effect::ServiceEdited { .. }
        | Effect::ServiceRemoved { .. }
        | Effect::DestAdded { .. }
        | Effect::DestEdited { .. }
        | Effect::DestRemoved { .. }
        | Effect::WrrChanged { .. }
        | Effect::OverloadLifted { .. }
        | Effect::TotalZeroed
        | Effect::MatchesReplaced => Vec::new(),
    }
}

/// What added to `s` gives zero: sums of statistics wrap.
const fn negative(s: Stats) -> Stats {
    Stats {
        conns: s.conns.wrapping_neg(),
        in_packets: s.in_packets.wrapping_neg(),
        out_packets: s.out_packets.wrapping_neg(),
        in_bytes: s.in_bytes.wrapping_neg(),
        out_bytes: s.out_bytes.wrapping_neg(),
    }
}
