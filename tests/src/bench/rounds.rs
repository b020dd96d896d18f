//! Times all cases in turn, several times, so that a slow moment of the machine falls on all of them alike.

use anyhow::Result;

use super::{
    Options,
    case::{Case, Filled},
    cases::{EMPTY, HARNESS, HARNESS6},
    harness::Harness,
};

/// Timings by case, each with the name of that which has to be taken off it.
pub(super) struct Rounds {
    timings: Vec<(&'static str, &'static str, Vec<f64>)>,
}

/// What the timings of a case come to, in ns per packet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Figure {
    pub(super) median: f64,
    /// From the 10th to the 90th percentile, as a part of the median.
    pub(super) spread: f64,
}

impl Rounds {
    pub(super) fn run(
        options: &Options,
        flows: u32,
        harness: &mut Harness,
        cases: &mut [Case],
        filled: &mut Filled,
    ) -> Result<Self> {
        let mut timings = vec![(EMPTY, EMPTY, Vec::new())];
        timings.extend(
            cases
                .iter()
                .map(|case| (case.name, around(case), Vec::new())),
        );
        for round in 0..options.rounds {
            // To and fro, so that no case always follows the same one.
            let mut places: Vec<usize> = (0..timings.len()).collect();
            if round % 2 == 1 {
                places.reverse();
            }
            for place in places {
                let ns = match place.checked_sub(1) {
                    None => harness.run_alone(EMPTY, options.packets)?.ns,
                    Some(case) => {
                        let case = &mut cases[case];
                        case.fill(harness, filled, &options.capacities)?;
                        let packets = case.packets(options.packets, flows, options.passes);
                        case.time(harness, flows, packets)?
                    }
                };
                timings[place].2.push(ns);
            }
        }
        Ok(Self { timings })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.timings.iter().map(|(name, ..)| *name)
    }

    pub(super) fn figure(&self, name: &str) -> Figure {
        let timings = self.timings.iter().find(|(n, ..)| *n == name);
        figure(timings.map_or(&[], |(_, _, t)| t))
    }

    /// What has to be taken off a case to get at its program alone: all of the run around it.
    pub(super) fn around(&self, name: &str) -> f64 {
        let timings = self.timings.iter().find(|(n, ..)| *n == name);
        let around = timings.map_or(EMPTY, |(_, around, _)| around);
        self.figure(around).median
    }
}

fn around(case: &Case) -> &'static str {
    match case.name {
        HARNESS | HARNESS6 => EMPTY,
        _ if case.template.service.six => HARNESS6,
        _ => HARNESS,
    }
}

fn figure(timings: &[f64]) -> Figure {
    let mut sorted = timings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5);
    Figure {
        median,
        spread: (quantile(&sorted, 0.9) - quantile(&sorted, 0.1)) / median,
    }
}

/// Between the two values next to it, in proportion.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a handful of values"
)]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * sorted.len().saturating_sub(1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => a + (b - a) * (place - place.floor()),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_moves_the_median_little() {
        let figure = figure(&[10.0, 11.0, 12.0, 13.0, 500.0]);
        assert!((figure.median - 12.0).abs() < 1e-9);
    }

    #[test]
    fn spread_of_equal_rounds_is_nothing() {
        assert!(figure(&[7.0; 5]).spread.abs() < 1e-9);
    }
}
