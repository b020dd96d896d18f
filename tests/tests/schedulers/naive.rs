//! The schedulers' rules, each as one would tell it. Slow, and independent of the datapath.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipvs_common::Scheduler;

use super::{
    hashed,
    reals::{Real, Reals},
};

/// lblcr: seconds without a change after which a set shrinks.
pub(crate) const SHRINKS: u64 = 20;

/// What a scheduler may know of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) client: SocketAddrV4,
    pub(crate) to: Ipv4Addr,
    pub(crate) now: u64,
}

/// A set of lblcr's: members, newest first, and when it changed.
struct Set {
    members: Vec<usize>,
    changed: u64,
}

/// A scheduler with its memory.
pub(crate) struct Naive {
    scheduler: Scheduler,
    flags: u8,
    /// rr, wrr: the one chosen last, or nobody: the head of the list.
    last: Option<usize>,
    /// wrr: the weight that is asked for, the highest that is ever asked for, and the step down.
    asked: i64,
    highest: i64,
    step: i64,
    cache: BTreeMap<Ipv4Addr, usize>,
    sets: BTreeMap<Ipv4Addr, Set>,
}

impl Naive {
    pub(crate) const fn new(scheduler: Scheduler, flags: u8) -> Self {
        Self {
            scheduler,
            flags,
            last: None,
            asked: 0,
            highest: 0,
            step: 1,
            cache: BTreeMap::new(),
            sets: BTreeMap::new(),
        }
    }

    /// `None`: nobody.
    pub(crate) fn choose(&mut self, reals: &Reals, request: Request) -> Option<usize> {
        match self.scheduler {
            Scheduler::Rr => self.round_robin(reals),
            Scheduler::Wrr => self.weighted_round_robin(reals),
            Scheduler::Lc => least(reals, |r| (r.overhead(), 1)),
            Scheduler::Wlc => wlc(reals),
            Scheduler::Sed => least(reals, |r| (r.active() + 1, r.weight())),
            Scheduler::Nq => {
                let mut idle = reals.listed().filter(|(_, r)| r.usable());
                let idle = idle.find(|(_, r)| r.active() == 0).map(|(n, _)| n);
                idle.or_else(|| least(reals, |r| (r.active() + 1, r.weight())))
            }
            Scheduler::Fo => heaviest(reals, |_| true),
            Scheduler::Ovf => heaviest(reals, |r| r.active() <= r.weight()),
            Scheduler::Dh => hashed::dh(reals, request.to),
            Scheduler::Sh => hashed::sh(reals, request.client, self.flags),
            Scheduler::Mh => hashed::mh(reals, request.client, self.flags),
            Scheduler::Lblc => self.cached(reals, request),
            Scheduler::Lblcr => self.of_a_set(reals, request),
            Scheduler::Twos | Scheduler::None => None,
        }
    }

    /// The list, or a real server in it, changed.
    pub(crate) fn changed(&mut self, reals: &Reals) {
        if self.scheduler != Scheduler::Wrr {
            return;
        }
        let weights = || reals.listed().map(|(_, r)| i64::from(r.spec.weight));
        let divides = |d: &i64| weights().all(|w| w % d == 0);
        let most = weights().max().unwrap_or(0);
        self.step = (1..=most).rev().find(divides).unwrap_or(1);
        self.highest = most - (self.step - 1);
        self.last = None;
        if self.asked == 0 || self.asked > self.highest {
            self.asked = self.highest;
        } else if self.step > 1 {
            self.asked = self.asked / self.step * self.step + 1;
        }
    }

    /// A real server is about to leave the list.
    pub(crate) fn leaves(&mut self, reals: &Reals, real: usize) {
        if self.last == Some(real) {
            let at = reals.list.iter().position(|n| *n == real);
            let before = at.and_then(|at| at.checked_sub(1));
            self.last = before.map(|at| reals.list[at]);
        }
    }

    pub(crate) fn forgotten(&mut self, real: usize) {
        self.cache.retain(|_, cached| *cached != real);
        self.sets.retain(|_, set| !set.members.contains(&real));
    }

    /// Places of the list behind the one chosen last.
    fn behind(&self, reals: &Reals) -> usize {
        let at = |last: usize| reals.list.iter().position(|n| *n == last);
        self.last.and_then(at).map_or(0, |at| at + 1)
    }

    fn round_robin(&mut self, reals: &Reals) -> Option<usize> {
        let from = self.behind(reals);
        let around = reals.list[from..].iter().chain(&reals.list[..from]);
        let chosen = around.copied().find(|n| reals.all[*n].usable())?;
        self.last = Some(chosen);
        Some(chosen)
    }

    /// One step at a time. Gives up where all were asked for the least since it began; then it stands where it got to.
    fn weighted_round_robin(&mut self, reals: &Reals) -> Option<usize> {
        if self.highest == 0 {
            return None;
        }
        let start = self.last;
        let (mut place, mut around) = (self.behind(reals), 0);
        let mut at_the_least = self.asked <= self.step && start.is_none();
        let mut stop = None;
        loop {
            while let Some(n) = reals.list.get(place) {
                let real = &reals.all[*n];
                if !real.overloaded && real.weight() as i64 >= self.asked {
                    self.last = Some(*n);
                    return Some(*n);
                }
                if stop == Some(*n) {
                    self.last = stop;
                    return None;
                }
                place += 1;
            }
            place = 0;
            self.asked -= self.step;
            if self.asked <= 0 {
                self.asked = self.highest;
                if at_the_least || start.is_none() {
                    self.last = None;
                    return None;
                }
                around += 1;
            }
            at_the_least = self.asked <= self.step;
            if at_the_least && around > 0 {
                stop = start;
            }
        }
    }

    /// lblc.
    fn cached(&mut self, reals: &Reals, request: Request) -> Option<usize> {
        let cached = self.cache.get(&request.to).copied();
        let cached = cached.filter(|n| reals.is_listed(*n) && reals.all[*n].spec.weight > 0);
        if let Some(stays) = cached.filter(|n| !is_over(reals, *n)) {
            return Some(stays);
        }
        let chosen = wlc(reals)?;
        self.cache.insert(request.to, chosen);
        Some(chosen)
    }

    /// lblcr.
    fn of_a_set(&mut self, reals: &Reals, request: Request) -> Option<usize> {
        let Some(set) = self.sets.get_mut(&request.to) else {
            let chosen = wlc(reals)?;
            let set = Set {
                members: vec![chosen],
                changed: request.now,
            };
            self.sets.insert(request.to, set);
            return Some(chosen);
        };
        let members = set.members.iter().map(|n| (*n, &reals.all[*n]));
        let fit = members.clone().filter(|(n, _)| reals.is_listed(*n));
        let least = least_of(fit, |r| (r.overhead(), r.weight()));
        if set.members.len() > 1 && request.now > set.changed + SHRINKS {
            let mut most: Option<(usize, &Real)> = None;
            for (n, real) in members.filter(|(_, r)| r.spec.weight > 0) {
                let more = |m: &Real| m.overhead() * real.weight() < real.overhead() * m.weight();
                if most.is_none_or(|(_, m)| more(m)) {
                    most = Some((n, real));
                }
            }
            if let Some((goes, _)) = most {
                set.members.retain(|n| *n != goes);
                set.changed = request.now;
            }
        }
        if let Some(stays) = least.filter(|n| !is_over(reals, *n)) {
            return Some(stays);
        }
        let chosen = wlc(reals)?;
        if !set.members.contains(&chosen) {
            set.members.insert(0, chosen);
            set.changed = request.now;
        }
        Some(chosen)
    }
}

fn is_over(reals: &Reals, real: usize) -> bool {
    let real = &reals.all[real];
    real.active() > real.weight() && reals.listed().any(|(_, r)| r.active() * 2 < r.weight())
}

fn wlc(reals: &Reals) -> Option<usize> {
    least(reals, |r| (r.overhead(), r.weight()))
}

/// The usable one with the least cost for its share, of equals the first.
fn least(reals: &Reals, cost: impl Fn(&Real) -> (u64, u64)) -> Option<usize> {
    least_of(reals.listed(), cost)
}

fn least_of<'a>(
    reals: impl Iterator<Item = (usize, &'a Real)>,
    cost: impl Fn(&Real) -> (u64, u64),
) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for (n, real) in reals.filter(|(_, r)| r.usable()) {
        let (cost, share) = cost(real);
        if best.is_none_or(|(_, c, s)| c * share > cost * s) {
            best = Some((n, cost, share));
        }
    }
    best.map(|(n, ..)| n)
}

/// Of equals the first.
fn heaviest(reals: &Reals, fits: impl Fn(&Real) -> bool) -> Option<usize> {
    let fitting = reals.listed().filter(|(_, r)| r.usable() && fits(r));
    let most = fitting.clone().map(|(_, r)| r.spec.weight).max()?;
    let mut first = fitting.filter(|(_, r)| r.spec.weight == most);
    first.next().map(|(n, _)| n)
}
