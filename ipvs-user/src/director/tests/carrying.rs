//! Counts of tables that a migration came from, added by daemons that die on the way.

use std::collections::BTreeMap;

use super::*;

/// Of the first real server, and of a reason.
fn left(count: u64) -> (BTreeMap<u32, Stats>, BTreeMap<String, u64>) {
    let reason = crate::reasons::names()[0].clone();
    ([(0, conns(count))].into(), [(reason, count)].into())
}

impl Bench {
    fn carries(&mut self, count: u64) {
        let (dests, reasons) = left(count);
        self.director.carry(&dests, &reasons).unwrap();
    }

    /// Another daemon over what this one left when it was killed.
    fn dies(mut self) -> Self {
        let source = Box::new(|_| Some(Addr::v4([192, 0, 2, 1])));
        let opened = Director::open(Box::new(self.dataplane.clone()), source).unwrap();
        assert!(opened.1.is_some(), "it begins");
        self.director = opened.0;
        self
    }

    /// Of the service, of everything, and of the reason.
    fn counted(&self) -> [u64; 3] {
        let total = self.director.totals().unwrap().conns;
        [
            self.service_stats(),
            total,
            self.director.reasons().unwrap()[0],
        ]
    }
}

#[test]
fn counts_of_tables_that_are_left_are_added_once_whenever_the_daemon_dies() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().dest_stats[0] = conns(3);
    b.tables().reasons[0] = 3;
    b.carries(10);
    assert_eq!(b.counted(), [13; 3]);
    let mut b = b.dies();
    assert_eq!(b.counted(), [13; 3]);
    // It finds the tables of before, and does it again.
    b.carries(10);
    assert_eq!(b.counted(), [13; 3]);
    let mut b = b.dies();
    b.carries(10);
    assert_eq!(b.counted(), [13; 3]);
    b.director.carried().unwrap();
    let mut b = b.dies();
    assert_eq!(b.counted(), [13; 3]);
    // Those of the next migration are others.
    b.carries(100);
    assert_eq!(b.counted(), [113; 3]);
}
