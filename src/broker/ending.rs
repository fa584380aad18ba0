//! Endings: the places in the log from which on somebody gets nothing more.
//!
//! A close and a disconnect take a number of the log's one sequence, as events do. Everybody who is counted
//! holds the endings that can come to concern it from that moment on, and a read stops there. So it does
//! not matter when the read begins, whether somebody holds the client's socket yet, or what was published
//! behind the place meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

/// The place from which on those who share this get nothing more, once there is one. Set while the log is
/// locked, and once.
#[derive(Debug)]
pub(super) struct Ending(AtomicU64);

/// No place has this number.
const OPEN: u64 = u64::MAX;

impl Default for Ending {
    fn default() -> Self {
        Self(AtomicU64::new(OPEN))
    }
}

impl Ending {
    /// One that has come.
    pub(super) fn at(place: u64) -> Self {
        Self(AtomicU64::new(place))
    }

    /// The place, if the ending has come.
    pub(super) fn place(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|&place| place != OPEN)
    }

    /// Sets the place, unless there is one already.
    pub(super) fn set(&self, place: u64) {
        let _ = self.0.compare_exchange(OPEN, place, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Why somebody gets nothing more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// All of its channels were closed.
    Closed,
    /// Its subject was disconnected.
    Disconnected,
}
