//! A reader's bell: how a publisher wakes a fan-out thread, and how that thread never misses it.
//!
//! The publisher changes the log, then rings. The reader answers, then reads the log. Whatever was
//! changed before the answer is in what it reads; whatever is changed after it rings again. `loom` goes
//! through all interleavings of this very file in `tests/hand_over.rs`.

use super::sync::{Arc, AtomicBool, Ordering};

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
