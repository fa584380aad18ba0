//! A moment's rest after a long round over the subscribers, so that more events share the next one.
//!
//! When a round has reached everybody, publishers who waited for that publish again, each a little later
//! than the one before. A round that begins with the first of these events makes the others wait until it
//! is over, and the next ones come just as far apart: two rounds for ever for what would have gone into
//! one, at nearly twice the cost. A short wait brings them together.

use std::thread;
use std::time::{Duration, Instant};

/// A rest is the round's length divided by this: too little to be noticed beside the round.
const SHARE: u32 = 64;
/// Shorter rests cost more than they bring.
const SHORTEST: Duration = Duration::from_micros(50);
/// No event waits longer than this for others, however long the round was.
const LONGEST: Duration = Duration::from_millis(2);

/// When the next round may begin.
pub(in crate::subscribe) struct Rest {
    until: Instant,
}

impl Rest {
    /// Before the first round.
    pub(in crate::subscribe) fn none() -> Self {
        Self { until: Instant::now() }
    }

    /// After a round that began at `begun` and ends now.
    pub(in crate::subscribe) fn after_round(begun: Instant) -> Self {
        let now = Instant::now();
        Self { until: now + length(now - begun) }
    }

    /// Blocks until the rest is over, which it may be already.
    pub(in crate::subscribe) fn take(&self) {
        thread::sleep(self.until.saturating_duration_since(Instant::now()));
    }
}

fn length(round: Duration) -> Duration {
    let rest = (round / SHARE).min(LONGEST);
    if rest < SHORTEST { Duration::ZERO } else { rest }
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
