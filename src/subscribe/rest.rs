//! A moment's rest after a long round.
//!
//! When a round has reached everybody, publishers who waited for that go on, each a little later than
//! the one before. Whoever starts again with the first of them makes all others wait for a whole round, and so
//! on for ever: two rounds for what would have gone into one, at nearly twice the cost.

use std::thread;
use std::time::{Duration, Instant};

/// The part of a round that may be rested after it.
const PART: u32 = 64;
/// Shorter ones cost more than they bring.
const SHORTEST: Duration = Duration::from_micros(50);
/// Nobody waits longer than this, however long the round was.
const LONGEST: Duration = Duration::from_millis(2);

/// When the next round may begin.
pub(super) struct Rest {
    until: Instant,
}

impl Rest {
    pub(super) fn none() -> Self {
        Self { until: Instant::now() }
    }

    /// To be called when a round is over.
    pub(super) fn after_round(begun: Instant) -> Self {
        let now = Instant::now();
        Self { until: now + length(now - begun) }
    }

    /// Rests, unless there is no need or it is over already.
    pub(super) fn take(&self) {
        thread::sleep(self.until.saturating_duration_since(Instant::now()));
    }
}

fn length(round: Duration) -> Duration {
    Some((round / PART).min(LONGEST)).filter(|&rest| rest >= SHORTEST).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_rounds_are_followed_by_a_rest_and_none_is_longer_than_two_milliseconds() {
        for (round, rest) in [(0, 0), (3_100, 0), (3_200, 50), (64_000, 1_000), (10_000_000, 2_000)] {
            assert_eq!(length(Duration::from_micros(round)), Duration::from_micros(rest), "{round} us");
        }
    }
}
