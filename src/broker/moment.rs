//! The log's clock: it only goes forward, and reaches further back than the machine runs.
//!
//! The broker asks here what time it is, and nowhere else, so that a test can move the hands.

use std::ops::Add;
use std::time::{Duration, SystemTime};

#[cfg(test)]
pub(super) use self::hands as clock;
#[cfg(not(test))]
use self::machine as clock;

pub(super) use clock::{on_the_same_clock, time};

/// A moment, in milliseconds of a clock that no one can set.
///
/// An [`Instant`](std::time::Instant) cannot stand for a moment before the machine was started, but an
/// event read back from disk may be older than that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Moment(u64);

/// When this process first looked at the clock: far from both ends.
const START: u64 = 1 << 44;

impl Moment {
    /// After all others.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Before all others.
    pub(super) const LONG_AGO: Self = Self(0);

    /// Now.
    pub(super) fn now() -> Self {
        Self(START + u64::try_from(clock::elapsed().as_millis()).unwrap_or(u64::MAX - START))
    }

    /// The moment that people call `time`. A time to come, as after the clock was set back, is now.
    pub(super) fn of(time: SystemTime) -> Self {
        let age = clock::time().duration_since(time).unwrap_or_default();
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

/// The machine's clocks.
mod machine {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant, SystemTime};

    /// How long ago this process first looked at the clock.
    pub(super) fn elapsed() -> Duration {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        FIRST.get_or_init(Instant::now).elapsed()
    }

    /// The time, as people have it; they may set it, either way.
    pub(in crate::broker) fn time() -> SystemTime {
        SystemTime::now()
    }

    /// What a thread of ours is to run.
    #[cfg(not(test))]
    pub(in crate::broker) fn on_the_same_clock(run: impl FnOnce() + Send) -> impl FnOnce() + Send {
        run
    }
}

/// The machine's clocks, or a thread's own with hands that a test moves.
#[cfg(test)]
pub(super) mod hands {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::machine;

    /// Two clocks, in milliseconds.
    #[derive(Debug, Default)]
    pub(in crate::broker) struct Hands {
        pub(in crate::broker) elapsed: AtomicU64,
        pub(in crate::broker) time: AtomicU64,
    }

    thread_local! {
        static MINE: RefCell<Option<Arc<Hands>>> = const { RefCell::new(None) };
    }

    /// From now on this thread, and those it starts for a broker, go by these hands.
    pub(in crate::broker) fn go_by(hands: Option<Arc<Hands>>) {
        MINE.set(hands);
    }

    fn mine() -> Option<Arc<Hands>> {
        MINE.with_borrow(Option::clone)
    }

    pub(in crate::broker) fn elapsed() -> Duration {
        let ours = mine().map(|hands| Duration::from_millis(hands.elapsed.load(Ordering::SeqCst)));
        ours.unwrap_or_else(machine::elapsed)
    }

    pub(in crate::broker) fn time() -> SystemTime {
        let since = |hands: Arc<Hands>| hands.time.load(Ordering::SeqCst);
        mine().map_or_else(machine::time, |hands| UNIX_EPOCH + Duration::from_millis(since(hands)))
    }

    /// What a thread of ours is to run: it goes by the hands of the one that starts it.
    pub(in crate::broker) fn on_the_same_clock(run: impl FnOnce() + Send) -> impl FnOnce() + Send {
        let hands = mine();
        move || {
            go_by(hands);
            run();
        }
    }
}
