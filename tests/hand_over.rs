//! The hand-over between publishers and fan-out threads, in every order in which it can happen.
//!
//! The bell is compiled from the product's own file, with `loom`'s atomics in place of the system's.

#![allow(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

#[path = "../src/broker/bell.rs"]
#[allow(unreachable_pub)]
mod bell;

/// What `bell.rs` finds in its parent, as in the broker.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub(super) use std::sync::Arc;
}

use std::sync::Arc;

use bell::{Bell, Noted, Round, Wake};
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

/// The same, with publishers that leave the ringing to whoever ends the round.
fn hand_over_in_rounds(publishers: usize) {
    loom::model(move || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sleep = Arc::new(Sleep(Notify::new()));
        let bell = Arc::new(Bell::new(Arc::clone(&sleep) as Arc<dyn Wake>));
        let round = Arc::new(Round::new());

        for number in 0..publishers {
            let (log, bell, round) = (Arc::clone(&log), Arc::clone(&bell), Arc::clone(&round));
            thread::spawn(move || {
                log.lock().expect("nobody panics").push(number);
                if round.note(1) == Noted::First {
                    thread::spawn(move || end(&round, &bell));
                }
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

fn end(round: &Round, bell: &Bell) {
    if round.end() == 1 {
        bell.ring();
    }
}

#[test]
fn a_reader_sees_what_one_publisher_appends_in_a_round() {
    hand_over_in_rounds(1);
}

#[test]
fn a_reader_sees_what_two_publishers_append_in_one_round_or_in_two() {
    hand_over_in_rounds(2);
}

#[test]
fn a_round_is_ended_by_its_last_publisher_if_there_are_many() {
    loom::model(|| {
        let round = Round::new();

        let noted: Vec<_> = std::iter::repeat_with(|| round.note(1)).take(66).collect();

        assert_eq!((noted[0], noted[1]), (Noted::First, Noted::Further));
        assert_eq!(noted.iter().position(|&noted| noted == Noted::Enough), Some(65));
        assert_eq!((round.end(), round.end()), (1, 0));
        assert_eq!(round.note(1), Noted::First);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_publisher_that_is_noted_before_it_appends_can_be_missed() {
    loom::model(|| {
        let log = Arc::new(Mutex::new(0));
        let sleep = Arc::new(Sleep(Notify::new()));
        let bell = Arc::new(Bell::new(Arc::clone(&sleep) as Arc<dyn Wake>));
        let round = Arc::new(Round::new());
        let publisher = Arc::clone(&log);
        let ringing = Arc::clone(&bell);
        thread::spawn(move || {
            if round.note(1) == Noted::First {
                thread::spawn(move || end(&round, &ringing));
            }
            *publisher.lock().expect("nobody panics") += 1;
        });

        let mut seen = 0;
        while seen < 1 {
            sleep.0.wait();
            bell.answer();
            seen = *log.lock().expect("nobody panics");
        }
    });
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
