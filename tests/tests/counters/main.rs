//! Counts after random interleavings of packets, edits and time: what the datapath counts is what naive bookkeeping comes to,
//! what the tables hold, and nothing once everything has ended.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod bookkeeping;
mod references;
mod states;
mod steps;
mod traffic;

use proptest::{collection::vec, prelude::*};

use steps::{Ledger, any_step};
use traffic::Traffic;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn counts_are_what_naive_bookkeeping_comes_to(
        steps in vec(any_step(), 20..160),
        six in any::<bool>(),
    ) {
        let mut ledger = Ledger::new(six);
        for step in &steps {
            ledger.step(step);
        }
        ledger.everything_ends();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn tables_are_consistent_whatever_comes(seed in any::<u64>(), six in any::<bool>()) {
        let mut traffic = Traffic::new(seed, six);
        for _ in 0..3000 {
            traffic.step();
        }
        traffic.everything_ends();
    }
}
