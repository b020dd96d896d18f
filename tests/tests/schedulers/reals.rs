//! The real servers of one service as a list of plain values: weights, thresholds, and connections one by one.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Seconds without connections after which a deleted real server is forgotten.
const IDLE: u64 = 120;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spec {
    pub(crate) weight: u32,
    pub(crate) upper: u32,
    pub(crate) lower: u32,
}

/// A connection, as far as anybody counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conn {
    pub(crate) id: usize,
    pub(crate) active: bool,
    /// In seconds.
    pub(crate) ends: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Real {
    pub(crate) addr: SocketAddrV4,
    pub(crate) spec: Spec,
    /// The last one that was not 0.
    pub(crate) last_weight: u32,
    pub(crate) overloaded: bool,
    pub(crate) conns: Vec<Conn>,
    /// Since when it has been deleted and without connections.
    idle: Option<u64>,
}

impl Real {
    pub(crate) fn active(&self) -> u64 {
        self.conns.iter().filter(|c| c.active).count() as u64
    }

    pub(crate) fn inactive(&self) -> u64 {
        self.conns.len() as u64 - self.active()
    }

    pub(crate) fn overhead(&self) -> u64 {
        self.active() * 256 + self.inactive()
    }

    pub(crate) const fn weight(&self) -> u64 {
        self.spec.weight as u64
    }

    pub(crate) const fn usable(&self) -> bool {
        self.spec.weight > 0 && !self.overloaded
    }

    fn bound(&mut self) {
        let Spec { upper, .. } = self.spec;
        if upper != 0 && self.conns.len() >= upper as usize {
            self.overloaded = true;
        }
    }

    fn unbound(&mut self) {
        let Spec { upper, lower, .. } = self.spec;
        let total = self.conns.len() as u32;
        if if lower != 0 {
            total < lower
        } else {
            upper == 0 || total * 4 < upper * 3
        } {
            self.overloaded = false;
        }
    }

    fn set(&mut self, spec: Spec) {
        if spec.upper == 0 || spec.upper > self.spec.upper {
            self.overloaded = false;
        }
        self.spec = spec;
        if spec.weight != 0 {
            self.last_weight = spec.weight;
        }
    }
}

/// All real servers ever, by number, and the numbers of those in the service's list, newest first.
#[derive(Default)]
pub(crate) struct Reals {
    pub(crate) all: Vec<Real>,
    pub(crate) list: Vec<usize>,
}

impl Reals {
    pub(crate) fn new(count: usize) -> Self {
        let real = |n: usize| {
            let ip = Ipv4Addr::new(10, 0, 1 + n as u8 % 3, 10 + n as u8 / 3);
            Real {
                addr: SocketAddrV4::new(ip, 7000 + n as u16),
                spec: Spec {
                    weight: 0,
                    upper: 0,
                    lower: 0,
                },
                last_weight: 0,
                overloaded: false,
                conns: Vec::new(),
                idle: None,
            }
        };
        Self {
            all: (0..count).map(real).collect(),
            list: Vec::new(),
        }
    }

    /// In the order of the list.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (usize, &Real)> + Clone {
        self.list.iter().map(|n| (*n, &self.all[*n]))
    }

    pub(crate) fn is_listed(&self, real: usize) -> bool {
        self.list.contains(&real)
    }

    pub(crate) fn add(&mut self, real: usize, spec: Spec) {
        self.list.insert(0, real);
        self.all[real].idle = None;
        self.all[real].set(spec);
        self.all[real].last_weight = spec.weight;
    }

    pub(crate) fn edit(&mut self, real: usize, spec: Spec) {
        self.all[real].set(spec);
    }

    pub(crate) fn delete(&mut self, real: usize) {
        self.list.retain(|n| *n != real);
    }

    pub(crate) fn bind(&mut self, real: usize, conn: Conn) {
        self.all[real].conns.push(conn);
        self.all[real].bound();
    }

    /// Time is up for some connections. Returns the real servers that were forgotten.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<usize> {
        let mut forgotten = Vec::new();
        for (n, real) in self.all.iter_mut().enumerate() {
            while let Some(at) = real.conns.iter().position(|c| c.ends <= now) {
                real.conns.remove(at);
                real.unbound();
            }
            if self.list.contains(&n) || !real.conns.is_empty() {
                real.idle = None;
                continue;
            }
            if now - *real.idle.get_or_insert(now) >= IDLE {
                forgotten.push(n);
            }
        }
        forgotten
    }
}
