//! A few lines, then counts: what is said again and again does not fill the log.
//!
//! Each place of the code that logs may say a few lines in a while. What it says beyond that is counted, and
//! the count is said when the time is over. A place that goes on like this says one line each time, which
//! shows how things are now. Only lines for operators count, not those that look for faults.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The while.
const SPAN: Duration = Duration::from_secs(10);

/// The few.
const FEW: u32 = 5;

/// The modules that say only what happens once or was asked for.
const UNBOUNDED: [&str; 2] = ["outboard::app", module_path!()];

/// Keeps repetitions out of the log. Clones count together.
#[derive(Clone, Default)]
pub struct Bounds(Arc<Mutex<HashMap<Identifier, Place>>>);

/// A place of the code that logs.
struct Place {
    since: Instant,
    said: u32,
    /// How many it may say.
    room: u32,
    /// How many it did not say, and what the first of these was about.
    more: u64,
    about: String,
}

impl Place {
    fn new(now: Instant, room: u32) -> Self {
        Self { since: now, said: 0, room, more: 0, about: String::new() }
    }

    /// Whether another line may be said.
    fn admit(&mut self, now: Instant, about: impl FnOnce() -> String) -> bool {
        if self.more == 0 && now >= self.since + SPAN {
            *self = Self::new(now, FEW);
        }
        if !self.is_full() {
            self.said += 1;
            return true;
        }
        if self.more == 0 {
            self.about = about();
        }
        self.more += 1;
        false
    }

    /// Whether it has said all that it may.
    fn is_full(&self) -> bool {
        self.said >= self.room
    }

    /// What was not said, once the time is over.
    fn take(&mut self, now: Instant) -> Option<(u64, String)> {
        if !self.is_full() || now < self.since + SPAN {
            return None;
        }
        let room = if self.more > 0 { 1 } else { FEW };
        let last = std::mem::replace(self, Self::new(now, room));
        Some((last.more, last.about)).filter(|(more, _)| *more > 0)
    }
}

impl Bounds {
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, event: &Event<'_>) -> bool {
        let now = Instant::now();
        let mut places = self.places();
        let place = match places.entry(event.metadata().callsite()) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => place.insert(Place::new(now, FEW)),
        };
        place.admit(now, || {
            let mut message = Message(String::new());
            event.record(&mut message);
            message.0
        })
    }

    /// When there may be something to report.
    pub(super) fn due(&self) -> Option<Instant> {
        self.places().values().filter(|place| place.is_full()).map(|place| place.since + SPAN).min()
    }

    /// Says how many lines were left out by now.
    pub(super) fn report(&self, now: Instant) {
        let found: Vec<_> = self.places().values_mut().filter_map(|place| place.take(now)).collect();
        for (lines, about) in found {
            tracing::warn!(lines, "more lines were left out of the kind \"{about}\"");
        }
    }

    /// Says how many were left out, for there is no later.
    pub(super) fn report_all(&self) {
        self.report(Instant::now() + SPAN);
    }
}

impl<S: Subscriber> Layer<S> for Bounds {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // What the start says, and what an operator asks for, nobody else can repeat; and the reports of what
        // was left out are as few as there are kinds.
        let is_bounded = !UNBOUNDED.iter().any(|module| metadata.target().starts_with(module));
        *metadata.level() > Level::INFO || !is_bounded || self.admit(event)
    }
}

/// What an event says, without its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(place: &mut Place, now: Instant, lines: u32) -> u32 {
        (0..lines).map(|_| u32::from(place.admit(now, || "a fault".into()))).sum()
    }

    #[test]
    fn what_repeats_is_a_few_lines_and_then_one_with_each_count() {
        let start = Instant::now();
        let mut place = Place::new(start, FEW);

        assert_eq!(admitted(&mut place, start, 100), FEW);
        assert_eq!(place.take(start), None);
        assert_eq!(place.take(start + SPAN), Some((95, "a fault".into())));
        assert_eq!(admitted(&mut place, start + SPAN, 100), 1);
        assert_eq!(place.take(start + 2 * SPAN), Some((99, "a fault".into())));
    }

    #[test]
    fn after_a_quiet_time_all_is_said_again() {
        let start = Instant::now();
        let mut place = Place::new(start, 1);

        assert_eq!(admitted(&mut place, start, 1), 1);
        assert_eq!(admitted(&mut place, start + SPAN, 3), 3);
    }
}
