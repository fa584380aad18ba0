//! When clients are asked to come back to a path that fails: later and later, the longer it fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest hint.
const LONGEST: Duration = Duration::from_secs(60);
/// What nobody has asked for so long is forgotten: it need not fail any more.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// The most paths that are remembered.
const MOST: usize = 10_000;

/// Since when which path has failed. A path, not a client: a thousand tabs that come back together find one
/// fault, and it is no older for their number.
#[derive(Debug, Default)]
pub struct Backoff {
    failing: Mutex<HashMap<Box<str>, Failing>>,
    /// How many there are: mostly none, and then nobody takes the lock.
    count: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
}

impl Backoff {
    /// Notes that `path` has failed `now`; when clients shall come back whose first hint is `first`.
    pub(super) fn fails(&self, path: &str, first: Duration, now: Instant) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.len() >= MOST {
            failing.retain(|_, failing| now.saturating_duration_since(failing.last) < FORGOTTEN);
        }
        let has_room = failing.len() < MOST;
        let known = match failing.get_mut(path) {
            Some(known) => known,
            None if has_room => failing.entry(path.into()).or_insert(Failing { since: now, last: now }),
            None => return first,
        };
        if now.saturating_duration_since(known.last) >= FORGOTTEN {
            known.since = now;
        }
        known.last = now;
        let age = now.saturating_duration_since(known.since);
        self.count.store(failing.len(), Ordering::Relaxed);
        hint(first, age)
    }

    /// Notes that `path` has been answered.
    pub(super) fn succeeds(&self, path: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.remove(path);
        self.count.store(failing.len(), Ordering::Relaxed);
    }
}

/// Twice as long each time that the fault has become as old as all hints before: who does what the hints say
/// finds the next one doubled.
fn hint(first: Duration, age: Duration) -> Duration {
    let first = first.max(Duration::from_millis(1));
    let (mut hint, mut over) = (first, first);
    while hint < LONGEST && age >= over {
        hint = hint.saturating_mul(2);
        over = over.saturating_add(hint);
    }
    hint.min(LONGEST.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(3);

    #[test]
    fn f34_the_hint_doubles_for_those_who_follow_it_up_to_a_minute_and_begins_anew_with_a_success() {
        let backoff = Backoff::default();
        let mut now = Instant::now();
        let mut come_back = || {
            let hint = backoff.fails("/a", FIRST, now);
            now += hint;
            hint.as_secs()
        };

        let hints: Vec<_> = std::iter::repeat_with(&mut come_back).take(8).collect();
        backoff.succeeds("/a");
        let anew = come_back();

        assert_eq!(hints, [3, 6, 12, 24, 48, 60, 60, 60]);
        assert_eq!(anew, 3);
    }

    #[test]
    fn many_who_fail_together_find_one_young_fault_and_other_paths_none() {
        let backoff = Backoff::default();
        let now = Instant::now();

        let hints: Vec<_> = (0..1000).map(|_| backoff.fails("/a", FIRST, now)).collect();

        assert!(hints.iter().all(|&hint| hint == FIRST));
        backoff.fails("/a", FIRST, now + FIRST * 3);
        assert_eq!(backoff.fails("/b", FIRST, now + FIRST * 3), FIRST);
    }

    #[test]
    fn a_fault_that_nobody_has_met_for_long_is_forgotten() {
        let backoff = Backoff::default();
        let now = Instant::now();
        backoff.fails("/a", FIRST, now);

        assert_eq!(backoff.fails("/a", FIRST, now + FORGOTTEN), FIRST);
    }

    #[test]
    fn no_more_than_so_many_paths_are_remembered() {
        let backoff = Backoff::default();
        let now = Instant::now();
        for number in 0..MOST + 10 {
            assert_eq!(backoff.fails(&number.to_string(), FIRST, now), FIRST);
        }
        assert_eq!(backoff.failing.lock().unwrap().len(), MOST);

        backoff.fails("one more", FIRST, now + FORGOTTEN);

        assert_eq!(backoff.failing.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_first_hint_beyond_a_minute_stays_what_it_is() {
        assert_eq!(hint(Duration::from_secs(300), Duration::from_secs(900)), Duration::from_secs(300));
        assert_eq!(hint(Duration::ZERO, Duration::from_secs(900)), LONGEST);
    }
}
