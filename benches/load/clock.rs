//! One clock for publishers and subscribers, who live in one process: what a publisher writes into
//! an event, a subscriber can subtract.

use std::time::{Duration, Instant};

/// Nanoseconds since the start of the generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A moment that comes again and again, at a steady rate; late turns are caught up with.
#[derive(Debug)]
pub(crate) struct Beat {
    due: Instant,
    every: Duration,
}

impl Beat {
    /// `rate` times a second, first now.
    pub(crate) fn per_second(rate: f64) -> Beat {
        Beat { due: Instant::now(), every: Duration::from_secs_f64(1.0 / rate) }
    }

    /// Whether it is time; if so, the next time is set.
    pub(crate) fn strikes(&mut self) -> bool {
        let due = Instant::now() >= self.due;
        if due {
            self.due += self.every;
        }
        due
    }

    /// How long until then.
    pub(crate) fn wait(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }
}
