//! The rate of the kernel's tick, which no interface tells.

use std::time::Duration;

/// What `CONFIG_HZ` can be on the machines that run XDP.
const RATES: [u32; 6] = [100, 200, 250, 300, 500, 1000];

/// The one rate that gives this many ticks in this time, if only one can: a tick more or less may have been caught at
/// either end, and on a machine with a lot to do either clock may have been read late.
pub(super) fn rate(ticks: u64, elapsed: Duration) -> Option<u32> {
    const SECOND: u128 = 1_000_000_000;
    let caught = u128::from(ticks) * SECOND;
    let slack = SECOND * 3 / 2 + caught / 50;
    let fits = |hz: &u32| (u128::from(*hz) * elapsed.as_nanos()).abs_diff(caught) <= slack;
    let mut fitting = RATES.into_iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighty_milliseconds_tell_all_rates_apart() {
        let elapsed = Duration::from_millis(80);
        for hz in RATES {
            let ticks = u64::from(hz) * 80 / 1000;
            for caught in [ticks - 1, ticks, ticks + 1] {
                assert_eq!(rate(caught, elapsed), Some(hz), "{caught} ticks");
            }
        }
    }

    #[test]
    fn a_clock_that_was_read_late_is_no_hindrance() {
        assert_eq!(rate(692, Duration::from_micros(2_757_801)), Some(250));
    }

    #[test]
    fn too_short_a_time_tells_nothing() {
        assert_eq!(rate(1, Duration::from_millis(5)), None);
    }

    #[test]
    fn a_rate_between_the_known_ones_is_not_guessed() {
        assert_eq!(rate(64, Duration::from_secs(1)), None);
    }
}
