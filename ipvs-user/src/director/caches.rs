//! Ageing of the caches of lblc and lblcr: what was not used for long, and, of too many, what was not used for a while.
//!
//! Each service has a timer of its own. Knows keys and times of last use; what an entry leads to is not its business.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_common::{LblcKey, Scheduler};

use super::Director;
use crate::{
    dataplane::{Cache, TableError},
    model::Effect,
};

/// Seconds between two looks at a service's cache.
const INTERVAL: u64 = 60;
/// One look out of so many is at every entry.
const FULL: u32 = 30;
/// Seconds without use after which an entry of too many may go.
const SHORT: u64 = 6 * 60;
/// Seconds without use after which an entry goes.
const EXPIRATION: u64 = 24 * 3600;
/// Entries of one service that are no reason to look.
const MAX: usize = 16 * 1024;
/// Entries of too many are looked at by these, each in its turn.
const BUCKETS: u32 = 1024;

/// How long entries last, and how many are too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// `lblc_expiration`, in seconds.
    pub lblc_expiration: u64,
    /// `lblcr_expiration`, in seconds.
    pub lblcr_expiration: u64,
    /// Entries of a service.
    pub max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            lblc_expiration: EXPIRATION,
            lblcr_expiration: EXPIRATION,
            max: MAX,
        }
    }
}

/// The timer of one service's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Timer {
    cache: Cache,
    /// When it fires next, in ticks.
    due: u64,
    /// Looks since the last full one, that one included; those at too many entries do not count.
    count: u32,
    /// The bucket that was looked at last.
    bucket: u32,
}

/// Timers by service.
#[derive(Debug, Default)]
pub(super) struct CacheTimers {
    limits: CacheLimits,
    timers: BTreeMap<u32, Timer>,
}

impl CacheTimers {
    /// The service got its scheduler now.
    fn start(&mut self, service: u32, scheduler: Scheduler, now: u64, hz: u64) {
        self.timers.remove(&service);
        if let Some(cache) = cache_of(scheduler) {
            let timer = Timer {
                cache,
                due: now + INTERVAL * hz,
                count: 1,
                bucket: 0,
            };
            self.timers.insert(service, timer);
        }
    }

    fn due(&self, cache: Cache, now: u64) -> bool {
        let mut timers = self.timers.values();
        timers.any(|t| t.cache == cache && t.due <= now)
    }

    /// Fires the timers that are due; returns the entries that go.
    fn fire(
        &mut self,
        cache: Cache,
        entries: &[(LblcKey, u64)],
        now: u64,
        hz: u64,
    ) -> Vec<LblcKey> {
        let limits = self.limits;
        let expiration = match cache {
            Cache::Lblc => limits.lblc_expiration,
            Cache::Lblcr => limits.lblcr_expiration,
        };
        let mut by_service: BTreeMap<u32, BTreeMap<LblcKey, u64>> = BTreeMap::new();
        for (key, last_use) in entries {
            let of_service = by_service.entry(key.service).or_default();
            of_service.insert(*key, *last_use);
        }
        let due = self.timers.iter_mut();
        let due = due.filter(|(_, t)| t.cache == cache && t.due <= now);
        let mut stale = Vec::new();
        for (service, timer) in due {
            let mut entries = by_service.remove(service).unwrap_or_default();
            while timer.due <= now {
                let at = timer.due;
                timer.due += INTERVAL * hz;
                let gone = timer.look(&entries, limits.max, at, expiration * hz, SHORT * hz);
                entries.retain(|key, _| !gone.contains(key));
                stale.extend(gone);
            }
        }
        stale
    }
}

impl Timer {
    /// One look at the service's entries, all times in ticks.
    fn look(
        &mut self,
        entries: &BTreeMap<LblcKey, u64>,
        max: usize,
        now: u64,
        expiration: u64,
        short: u64,
    ) -> BTreeSet<LblcKey> {
        let unused = |age: u64| {
            let old = entries.iter().filter(move |(_, used)| now >= *used + age);
            old.map(|(key, _)| *key)
        };
        if self.count.is_multiple_of(FULL) {
            self.count = 1;
            return unused(expiration).collect();
        }
        let Some(surplus) = entries.len().checked_sub(max).filter(|n| *n > 0) else {
            self.count += 1;
            return BTreeSet::new();
        };
        let goal = (surplus * 4 / 3).min(max / 2);
        let mut buckets: BTreeMap<u32, Vec<LblcKey>> = BTreeMap::new();
        for key in unused(short) {
            // In the order of their turns.
            let turn = bucket(&key).wrapping_sub(self.bucket + 1) % BUCKETS;
            buckets.entry(turn).or_default().push(key);
        }
        let first = self.bucket;
        let mut gone = BTreeSet::new();
        for (turn, keys) in buckets {
            gone.extend(keys);
            self.bucket = (first + 1 + turn) % BUCKETS;
            if gone.len() >= goal {
                break;
            }
        }
        gone
    }
}

/// Spreads addresses as well as any other number would.
const fn bucket(key: &LblcKey) -> u32 {
    let addr = u32::from_be_bytes(key.addr.low4());
    addr.wrapping_mul(0x61c8_8647) >> (32 - BUCKETS.ilog2())
}

const fn cache_of(scheduler: Scheduler) -> Option<Cache> {
    match scheduler {
        Scheduler::Lblc => Some(Cache::Lblc),
        Scheduler::Lblcr => Some(Cache::Lblcr),
        Scheduler::Rr
        | Scheduler::Wlc
        | Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Dh
        | Scheduler::Sh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Fo
        | Scheduler::Ovf
        | Scheduler::Mh
        | Scheduler::Twos
        | Scheduler::None => None,
    }
}

impl Director {
    /// Changes how long entries of the schedulers' caches last, from the next look at them on.
    pub const fn set_cache_limits(&mut self, limits: CacheLimits) {
        self.caches.limits = limits;
    }

    #[must_use]
    pub const fn cache_limits(&self) -> CacheLimits {
        self.caches.limits
    }

    /// Timers start with the scheduler, and end with it.
    pub(super) fn set_cache_timers(&mut self, effects: &[Effect], now: u64) {
        let hz = u64::from(self.dataplane.hz());
        for effect in effects {
            match *effect {
                Effect::ServiceAdded { service }
                | Effect::ServiceEdited {
                    service,
                    rescheduled: true,
                } => {
                    // None if it is gone again.
                    let scheduler = self.model.service_by_id(service).map(|s| s.spec.scheduler);
                    let scheduler = scheduler.unwrap_or(Scheduler::None);
                    self.caches.start(service, scheduler, now, hz);
                }
                Effect::ServiceRemoved { service, .. } => {
                    self.caches.timers.remove(&service);
                }
                Effect::ServiceEdited {
                    rescheduled: false, ..
                }
                | Effect::DestAdded { .. }
                | Effect::DestEdited { .. }
                | Effect::DestRemoved { .. }
                | Effect::WrrChanged { .. }
                | Effect::OverloadLifted { .. }
                | Effect::Zeroed { .. }
                | Effect::TotalZeroed
                | Effect::MatchesReplaced => {}
            }
        }
    }

    pub(super) fn age_caches(&mut self, now: u64) -> Result<(), TableError> {
        let hz = u64::from(self.dataplane.hz());
        for cache in [Cache::Lblc, Cache::Lblcr] {
            if self.caches.due(cache, now) {
                let entries = self.dataplane.cached(cache)?;
                let stale = self.caches.fire(cache, &entries, now, hz);
                self.dataplane.remove_cached(cache, &stale)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
