//! The ageing of caches in virtual time: a look each minute, as ip_vs has them.

use ipvs_common::Addr;

use super::*;

const HZ: u64 = 100;
const SERVICE: u32 = 3;

/// One service's cache, and its timer.
struct Aged {
    timers: CacheTimers,
    entries: BTreeMap<LblcKey, u64>,
    clock: u64,
}

impl Aged {
    fn new(limits: CacheLimits) -> Self {
        let mut timers = CacheTimers {
            limits,
            ..CacheTimers::default()
        };
        timers.start(SERVICE, Scheduler::Lblc, 0, HZ);
        Self {
            timers,
            entries: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Uses addresses at this time.
    fn used(mut self, addresses: std::ops::Range<u32>, seconds: u64) -> Self {
        let key = |n: u32| LblcKey {
            addr: Addr::v4((0x0a00_0000 + n).to_be_bytes()),
            service: SERVICE,
        };
        self.entries
            .extend(addresses.map(|n| (key(n), seconds * HZ)));
        self
    }

    fn run_to(&mut self, seconds: u64) -> usize {
        while self.clock < seconds * HZ {
            self.clock += HZ;
            if self.timers.due(Cache::Lblc, self.clock) {
                let entries: Vec<_> = self.entries.iter().map(|(k, u)| (*k, *u)).collect();
                for key in self.timers.fire(Cache::Lblc, &entries, self.clock, HZ) {
                    assert!(self.entries.remove(&key).is_some(), "{key:?} went twice");
                }
            }
        }
        self.entries.len()
    }
}

fn lasting(lblc_expiration: u64) -> CacheLimits {
    CacheLimits {
        lblc_expiration,
        ..CacheLimits::default()
    }
}

fn at_most(max: usize) -> CacheLimits {
    CacheLimits {
        max,
        ..CacheLimits::default()
    }
}

#[test]
fn what_was_not_used_for_the_expiration_goes_every_half_hour() {
    let mut cache = Aged::new(lasting(600)).used(0..5, 1).used(5..8, 1500);
    assert_eq!(cache.run_to(1799), 8);
    assert_eq!(cache.run_to(1800), 3);
    assert_eq!(cache.run_to(3599), 3);
    assert_eq!(cache.run_to(3600), 0);
}

#[test]
fn an_entry_lasts_a_day_by_default() {
    let day = 24 * 3600;
    let mut cache = Aged::new(CacheLimits::default())
        .used(0..1, 0)
        .used(1..2, 1);
    assert_eq!(cache.run_to(day - 1), 2);
    assert_eq!(cache.run_to(day), 1);
    assert_eq!(cache.run_to(day + 1800), 0);
}

#[test]
fn of_too_many_a_third_more_than_the_surplus_goes() {
    let mut cache = Aged::new(at_most(3000)).used(0..3300, 0);
    assert_eq!(cache.run_to(359), 3300, "used within six minutes");
    let left = cache.run_to(360);
    // Buckets go whole, so it may be some more.
    assert!((2880..=2900).contains(&left), "{left}");
    assert_eq!(cache.run_to(1799), left, "no longer too many");
}

#[test]
fn no_more_than_half_of_what_is_allowed_goes_at_once() {
    let mut cache = Aged::new(at_most(1000)).used(0..20_000, 0);
    let left = cache.run_to(360);
    assert!((19_450..=19_500).contains(&left), "{left}");
    let left = cache.run_to(420);
    assert!((18_900..=19_000).contains(&left), "{left}");
}

#[test]
fn looks_at_too_many_entries_put_the_full_look_off() {
    let mut cache = Aged::new(CacheLimits {
        max: 10,
        ..lasting(600)
    });
    cache = cache.used(0..20, 1700);
    // All looks until half an hour find too many, none of them old enough, and none counts.
    assert_eq!(cache.run_to(1800), 20);
    cache.entries.clear();
    cache = cache.used(0..1, 0);
    assert_eq!(cache.run_to(3599), 1);
    assert_eq!(cache.run_to(3600), 0);
}

#[test]
fn another_scheduler_ends_the_timer_and_the_same_kind_starts_it_anew() {
    let mut cache = Aged::new(lasting(600)).used(0..5, 0);
    cache.run_to(1700);
    let now = cache.clock;
    cache.timers.start(SERVICE, Scheduler::Lblc, now, HZ);
    assert_eq!(cache.run_to(3499), 5);
    assert_eq!(cache.run_to(3500), 0);
    cache.timers.start(SERVICE, Scheduler::Rr, 0, HZ);
    assert!(!cache.timers.due(Cache::Lblc, u64::MAX));
}

#[test]
fn services_and_caches_age_apart() {
    let mut timers = CacheTimers::default();
    timers.start(1, Scheduler::Lblc, 0, HZ);
    timers.start(2, Scheduler::Lblcr, 0, HZ);
    timers.limits.max = 0;
    let entries = [1, 2].map(|service| {
        let key = LblcKey {
            addr: Addr::v4([10, 0, 0, 1]),
            service,
        };
        (key, 0)
    });
    timers.limits.lblc_expiration = 0;
    timers.limits.max = 10;
    let day = 24 * 3600 * HZ;
    assert_eq!(
        timers.fire(Cache::Lblc, &entries, day - HZ, HZ),
        [entries[0].0]
    );
    assert_eq!(timers.fire(Cache::Lblcr, &entries, day - HZ, HZ), []);
    assert_eq!(timers.fire(Cache::Lblcr, &entries, day, HZ), [entries[1].0]);
}
