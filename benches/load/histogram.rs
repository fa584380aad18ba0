//! Latencies by the million, in a fixed amount of memory.

/// Counts of durations in nanoseconds, each known to within 1 %.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// Values below this are counted exactly; above it, each doubling has half as many buckets.
const EXACT: u64 = 256;

impl Histogram {
    /// An empty one.
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0, max: 0 }
    }

    /// Counts a duration.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, in milliseconds.
    pub(crate) fn max(&self) -> f64 {
        milliseconds(self.max)
    }

    /// What `share` of all (0 to 1) did not exceed, in milliseconds; 0 if nothing was counted.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return milliseconds(upper_end(index).min(self.max));
            }
        }
        0.0
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Above `EXACT` a value keeps its highest eight bits, the first of which is always set.
fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let shift = u64::from(56 - value.leading_zeros());
    (EXACT + (shift - 1) * (EXACT / 2) + ((value >> shift) - EXACT / 2)) as usize
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let shift = (bucket - EXACT) / (EXACT / 2) + 1;
    let high = (bucket - EXACT) % (EXACT / 2) + EXACT / 2;
    ((u128::from(high + 1) << shift) - 1).try_into().unwrap_or(u64::MAX)
}
