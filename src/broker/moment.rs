//! The log's clock: it only goes forward, and reaches further back than the machine runs.

use std::ops::Add;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// A moment, in milliseconds of a clock that no one can set.
///
/// An [`Instant`] cannot stand for a moment before the machine was started, but an event read back
/// from disk may be older than that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Moment(u64);

/// When this process first looked at the clock: far from both ends.
const START: u64 = 1 << 44;

impl Moment {
    /// After all others.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Now.
    pub(super) fn now() -> Self {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let elapsed = FIRST.get_or_init(Instant::now).elapsed();
        Self(START + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX - START))
    }

    /// The moment that people call `time`. A time to come, as after the clock was set back, is now.
    pub(super) fn of(time: SystemTime) -> Self {
        let age = SystemTime::now().duration_since(time).unwrap_or_default();
        Self(Self::now().0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; nothing, if it is yet to come.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}
