//! The hand-over between publishers and fan-out threads, in every order in which it can happen.
//!
//! The bell is compiled from the product's own file, with `loom`'s atomics in place of the system's.

#![allow(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

#[path = "../src/broker/bell.rs"]
#[allow(unreachable_pub)]
mod bell;

/// What `bell.rs` finds in its parent, as in the broker.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(super) use std::sync::Arc;
}

use std::sync::Arc;

use bell::{Bell, Wake};
use loom::sync::{Mutex, Notify};
use loom::thread;

/// As `eventfd` does: a wake that comes too early counts for the next sleep.
struct Sleep(Notify);

impl Wake for Sleep {
    fn wake(&self) {
        self.0.notify();
    }
}

/// Publishers that each append one event and ring; a reader that sleeps, answers and reads until it
/// has seen all. A wake that gets lost is a deadlock, which `loom` reports.
fn hand_over(publishers: usize) {
    loom::model(move || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sleep = Arc::new(Sleep(Notify::new()));
        let bell = Arc::new(Bell::new(Arc::clone(&sleep) as Arc<dyn Wake>));

        for number in 0..publishers {
            let (log, bell) = (Arc::clone(&log), Arc::clone(&bell));
            thread::spawn(move || {
                log.lock().expect("nobody panics").push(number);
                bell.ring();
            });
        }

        let mut cursor = 0;
        let mut seen = Vec::new();
        while seen.len() < publishers {
            sleep.0.wait();
            bell.answer();
            let log = log.lock().expect("nobody panics");
            seen.extend_from_slice(&log[cursor..]);
            cursor = log.len();
        }

        seen.sort_unstable();
        assert_eq!(seen, (0..publishers).collect::<Vec<_>>(), "each event is seen once");
    });
}

#[test]
fn a_reader_sees_what_one_publisher_appends() {
    hand_over(1);
}

#[test]
fn a_reader_sees_what_two_publishers_append_at_once() {
    hand_over(2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_reader_that_reads_before_it_answers_can_sleep_for_ever() {
    loom::model(|| {
        let log = Arc::new(Mutex::new(0));
        let sleep = Arc::new(Sleep(Notify::new()));
        let bell = Arc::new(Bell::new(Arc::clone(&sleep) as Arc<dyn Wake>));
        for _ in 0..2 {
            let (log, bell) = (Arc::clone(&log), Arc::clone(&bell));
            thread::spawn(move || {
                *log.lock().expect("nobody panics") += 1;
                bell.ring();
            });
        }

        let mut seen = 0;
        while seen < 2 {
            sleep.0.wait();
            seen = *log.lock().expect("nobody panics");
            bell.answer();
        }
    });
}
