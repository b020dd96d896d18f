//! Shares that follow weights, where nothing changes.

use std::collections::BTreeMap;

use ipvs_common::Scheduler;
use proptest::{collection::vec, prelude::*};

use super::{REALS, hashed, pair::Pair, reals::Spec};

fn with_weights(scheduler: Scheduler, weights: &[u32]) -> Pair {
    let mut pair = Pair::new(scheduler, 0);
    for (real, weight) in weights.iter().enumerate() {
        let spec = Spec {
            weight: *weight,
            upper: 0,
            lower: 0,
        };
        pair.add(real, spec);
    }
    pair
}

fn counted(choices: impl IntoIterator<Item = Option<usize>>) -> BTreeMap<usize, u32> {
    let mut counts = BTreeMap::new();
    for real in choices.into_iter().flatten() {
        *counts.entry(real).or_default() += 1;
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn wrr_gives_each_its_weight_in_every_cycle(
        weights in vec(1..9_u32, 1..REALS),
        common in 1..5_u32,
    ) {
        let weights: Vec<_> = weights.iter().map(|w| w * common).collect();
        let step = (1..=50).rev().find(|d| weights.iter().all(|w| w % d == 0)).unwrap_or(1);
        let expected: BTreeMap<_, _> = (0..).zip(weights.iter().map(|w| w / step)).collect();
        let mut pair = with_weights(Scheduler::Wrr, &weights);
        for _ in 0..3 {
            let choices = (0..expected.values().sum()).map(|_| pair.connect(1, 0));
            prop_assert_eq!(counted(choices), expected.clone());
        }
    }

    /// A round gives each as many slots as it weighs; the last round ends in the middle.
    #[test]
    fn mh_gives_each_its_weight_up_to_one_round(weights in vec(1..64_u32, 1..REALS)) {
        let pair = with_weights(Scheduler::Mh, &weights);
        let table = pair.table();
        prop_assert_eq!(&table, &hashed::slots(&pair.reals));
        // Heaviest below 64, so that no bits are lost.
        let common = (1..64).rev().find(|d| weights.iter().all(|w| w % d == 0)).unwrap_or(1);
        let of = |real: usize| weights[real] / common;
        let round: u32 = weights.iter().map(|w| w / common).sum();
        let rounds = table.len() as u32 / round;
        for (real, slots) in counted(table) {
            let most = (rounds + 1) * of(real);
            prop_assert!((rounds * of(real)..=most).contains(&slots), "{slots} of {real}");
        }
    }

    #[test]
    fn sh_gives_each_its_weight_up_to_one_round(weights in vec(1..20_u32, 1..REALS)) {
        let table = with_weights(Scheduler::Sh, &weights).table();
        prop_assert_eq!(table.len(), 256);
        let rounds = 256 / weights.iter().sum::<u32>();
        let counts = counted(table);
        prop_assert_eq!(counts.values().sum::<u32>(), 256);
        for (real, buckets) in counts {
            let weight = weights[real];
            let most = (rounds + 1) * weight;
            prop_assert!((rounds * weight..=most).contains(&buckets), "{buckets} of {real}");
        }
    }
}
