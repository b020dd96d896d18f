//! Rates the way ip_vs tells them: an average that follows what was counted in slots of two seconds, each slot by a quarter.
//!
//! Pure: counters and lengths of slots go in. Averages are kept in fractions, so that small rates fade out slowly.

use ipvs_common::Stats;

/// Seconds in a slot.
pub(super) const SLOT: u64 = 2;
/// Averages of connections and packets are kept in units of one in 2 to the power of this.
const COUNT_SCALE: u32 = 10;
/// The same of bytes.
const BYTE_SCALE: u32 = 5;
/// A slot moves an average by one part in 2 to the power of this.
const WEIGHT: u32 = 2;
/// After so many slots without a sample nothing is left of an average.
const FADED: u64 = 128;

/// What happens in a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    pub conns: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// How long samples are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Apart {
    /// Ticks, those of a slot at least.
    ticks: u64,
    hz: u64,
    /// Slots that went by.
    slots: u64,
}

impl Apart {
    /// Nothing before a slot is over, or all but: who asks once a second may be some ticks early. `None` of ticks: this is the
    /// first sample, and whatever went before counts as a slot.
    pub(super) fn of(ticks: Option<u64>, hz: u32) -> Option<Self> {
        let hz = u64::from(hz).max(1);
        let slot = SLOT * hz;
        let Some(ticks) = ticks else {
            return Some(Self::slot(hz));
        };
        (ticks + hz / 8 >= slot).then(|| Self {
            ticks: ticks.max(slot),
            hz,
            slots: ((ticks + hz) / slot).clamp(1, FADED),
        })
    }

    /// No time at all: rates stay as they are.
    pub(super) const fn nothing() -> Self {
        Self {
            ticks: 1,
            hz: 0,
            slots: 0,
        }
    }

    const fn slot(hz: u64) -> Self {
        Self {
            ticks: SLOT * hz,
            hz,
            slots: 1,
        }
    }
}

/// The averages of one service, one real server, or of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Estimator {
    last: Stats,
    conns: Average<COUNT_SCALE>,
    in_packets: Average<COUNT_SCALE>,
    out_packets: Average<COUNT_SCALE>,
    in_bytes: Average<BYTE_SCALE>,
    out_bytes: Average<BYTE_SCALE>,
}

impl Estimator {
    /// Takes note of what the counters are at now.
    pub(super) fn sample(&mut self, now: Stats, apart: Apart) {
        let last = std::mem::replace(&mut self.last, now);
        let since = |now: u64, last: u64| now.wrapping_sub(last);
        self.conns.follow(since(now.conns, last.conns), apart);
        self.in_packets
            .follow(since(now.in_packets, last.in_packets), apart);
        self.out_packets
            .follow(since(now.out_packets, last.out_packets), apart);
        self.in_bytes
            .follow(since(now.in_bytes, last.in_bytes), apart);
        self.out_bytes
            .follow(since(now.out_bytes, last.out_bytes), apart);
    }

    pub(super) const fn rates(&self) -> Rates {
        Rates {
            conns: self.conns.rounded(),
            in_packets: self.in_packets.rounded(),
            out_packets: self.out_packets.rounded(),
            in_bytes: self.in_bytes.rounded(),
            out_bytes: self.out_bytes.rounded(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Average<const SCALE: u32>(u64);

impl<const SCALE: u32> Average<SCALE> {
    fn follow(&mut self, count: u64, apart: Apart) {
        if count == 0 && self.0 == 0 {
            return;
        }
        let scaled = count.saturating_mul(apart.hz << SCALE);
        let rate = (scaled / apart.ticks).cast_signed();
        for _ in 0..apart.slots {
            let step = (rate - self.0.cast_signed()) >> WEIGHT;
            self.0 = self.0.saturating_add_signed(step);
        }
    }

    /// A half is rounded down.
    const fn rounded(self) -> u64 {
        (self.0 + (1 << (SCALE - 1)) - 1) >> SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 250;

    fn sampled(now: Stats, times: usize) -> Vec<Rates> {
        let mut estimator = Estimator::default();
        let sample = |_| {
            estimator.sample(now, Apart::slot(HZ));
            estimator.rates()
        };
        (0..times).map(sample).collect()
    }

    /// Recorded: 5 connections, 25 packets and 3000 bytes in, 20 and 4800 out, all of them in one slot.
    const BURST: Stats = Stats {
        conns: 5,
        in_packets: 25,
        out_packets: 20,
        in_bytes: 3000,
        out_bytes: 4800,
    };

    #[test]
    fn burst_fades_as_the_kernels_does() {
        let of = |f: fn(&Rates) -> u64| sampled(BURST, 7).iter().map(f).collect::<Vec<_>>();
        assert_eq!(of(|r| r.conns), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(|r| r.in_packets), [3, 2, 2, 1, 1, 1, 1]);
        assert_eq!(of(|r| r.out_packets), [2, 2, 1, 1, 1, 1, 0]);
        assert_eq!(of(|r| r.in_bytes), [375, 281, 211, 158, 119, 89, 67]);
        assert_eq!(of(|r| r.out_bytes), [600, 450, 337, 253, 190, 142, 107]);
    }

    #[test]
    fn steady_traffic_is_told_as_it_is() {
        let mut estimator = Estimator::default();
        let mut now = Stats::default();
        for _ in 0..200 {
            now.conns += 2000;
            now.in_bytes += 2_000_000_000_000;
            estimator.sample(now, Apart::slot(HZ));
        }
        let rates = estimator.rates();
        assert_eq!((rates.conns, rates.in_bytes), (1000, 1_000_000_000_000));
    }

    #[test]
    fn samples_come_once_in_a_slot_and_longer_ones_count_by_their_length() {
        let of = |ticks| Apart::of(Some(ticks), HZ as u32);
        assert_eq!(of(260), None);
        assert_eq!(of(498), Some(Apart::slot(HZ)));
        assert_eq!(Apart::of(None, HZ as u32), Some(Apart::slot(HZ)));
        assert_eq!(of(650).map(|a| (a.ticks, a.slots)), Some((650, 1)));
        assert_eq!(of(2000).map(|a| (a.ticks, a.slots)), Some((2000, 4)));
        assert_eq!(of(u64::MAX / 2).map(|a| a.slots), Some(FADED));
    }

    #[test]
    fn long_silence_ends_a_rate() {
        let mut estimator = Estimator::default();
        estimator.sample(BURST, Apart::slot(HZ));
        let hour = Apart::of(Some(3600 * HZ), HZ as u32).unwrap();
        estimator.sample(BURST, hour);
        assert_eq!(estimator.rates(), Rates::default());
    }
}
