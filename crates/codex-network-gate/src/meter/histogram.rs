//! How long things take, in buckets.
//!
//! [`Histogram`] takes durations and gives an [`Observed`]: cumulative counts and the sum. Its bounds are the same for
//! everything, from ten microseconds for a judgement by the lists to five minutes for one by a person.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds. A last bucket takes the rest.
const MICROSECONDS: [u64; 16] = [
    10,
    100,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];

/// The upper bounds of the buckets, in seconds.
pub const BOUNDS: [f64; MICROSECONDS.len()] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0, 300.0,
];

/// Durations in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; MICROSECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What a [`Histogram`] has observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// How many fell into each bucket of [`BOUNDS`], and into the one behind the last bound.
    pub buckets: [u64; MICROSECONDS.len() + 1],
    /// All durations together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Takes one duration.
    pub fn observe(&self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = MICROSECONDS.partition_point(|bound| *bound < microseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What has been observed so far. Its count is that of its buckets, so that the two agree at any moment.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        Observed {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(nanoseconds).as_secs_f64(),
        }
    }
}

impl Observed {
    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_tables_of_bounds_agree() {
        for (micros, seconds) in MICROSECONDS.into_iter().zip(BOUNDS) {
            assert_eq!(Duration::from_micros(micros).as_secs_f64(), seconds);
        }
    }

    #[test]
    fn a_duration_falls_into_the_bucket_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 300_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let observed = histogram.observed();
        assert_eq!(observed.buckets[0], 2);
        assert_eq!(observed.buckets[1], 1);
        assert_eq!(observed.buckets[15], 1);
        assert_eq!(observed.buckets[16], 1);
        assert_eq!(observed.count(), 5);
        assert!((observed.sum - 600.000_022).abs() < 1e-9);
    }
}
