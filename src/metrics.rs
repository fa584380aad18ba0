//! What is counted while running. Counters only: no label comes from a name somebody chose.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one running `outboard`.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests sent on to the backend.
    pub proxied: Counter,
    /// Requests the backend did not answer properly.
    pub backend_faults: Counter,
    /// Events published.
    pub published: Counter,
    /// Frames and HTTP publishes refused.
    pub refused: Counter,
    /// Lines of frames left out, as `lenient: on` has it.
    pub left_out: Counter,
    /// Frames cut off by the end of their connection.
    pub incomplete: Counter,
    /// Subscribers accepted.
    pub subscribed: Counter,
    /// Streams cut because their clients fell behind.
    pub fell_behind: Counter,
    /// Events written to subscribers.
    pub delivered: Counter,
}
