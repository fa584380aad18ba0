//! A reader's bell: how a publisher wakes a fan-out thread, and how that thread never misses it.
//!
//! The publisher changes the log, then rings. The reader answers, then reads the log. Whatever was
//! changed before the answer is in what it reads; whatever is changed after it rings again.
//!
//! Publishers that take turns on one thread need not ring one by one: what each of them has for the
//! readers is noted in a [`Round`], and one ringing at the end of it does for all. `loom` goes through all
//! interleavings of this very file in `tests/hand_over.rs`.

use super::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Something a sleeping reader can be woken with. A wake that comes while it is awake must count for
/// its next sleep.
pub trait Wake: Send + Sync {
    /// Wakes it; must not block.
    fn wake(&self);
}

/// Ringing costs a system call only if the bell has not been rung since the reader last answered.
pub(super) struct Bell {
    rung: AtomicBool,
    wake: Arc<dyn Wake>,
}

impl Bell {
    pub(super) fn new(wake: Arc<dyn Wake>) -> Self {
        Self { rung: AtomicBool::new(false), wake }
    }

    /// To be called after the log was changed.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// To be called before the log is read.
    pub(super) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// The readers that are to be woken before long, a bit each.
pub(super) struct Round {
    readers: AtomicU64,
    publications: AtomicU32,
}

/// What has to happen for a publication that was noted in a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Noted {
    /// It is the round's first: somebody has to end the round soon.
    First,
    /// Whoever ends the round does what is needed.
    Further,
    /// There are enough of them: the round ends now.
    Enough,
}

/// The most publications in a round: readers on other cores are not to be idle for long.
const MOST: u32 = 64;

impl Round {
    pub(super) fn new() -> Self {
        Self { readers: AtomicU64::new(0), publications: AtomicU32::new(0) }
    }

    /// To be called after the log was changed, with a bit for each reader that has something to do.
    pub(super) fn note(&self, readers: u64) -> Noted {
        if self.readers.fetch_or(readers, Ordering::AcqRel) == 0 {
            return Noted::First;
        }
        // Not exact when a round ends just now, and need not be.
        if self.publications.fetch_add(1, Ordering::Relaxed) < MOST { Noted::Further } else { Noted::Enough }
    }

    /// Ends the round: the readers whose bells are to be rung now.
    pub(super) fn end(&self) -> u64 {
        self.publications.store(0, Ordering::Relaxed);
        self.readers.swap(0, Ordering::AcqRel)
    }
}
