//! The log behind its lock, with the bells that are rung when it has changed.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::bell::{Bell, Noted, Round, Wake};
use super::gate::{LOOK, Waits};
use super::log::Log;
use super::reader::{MOST_READERS, ReaderId};
use crate::channel::Channel;

/// The log, and who is to be told when it changes.
pub(super) struct SharedLog {
    log: Mutex<Log>,
    bells: RwLock<Vec<Bell>>,
    round: Round,
    pub(super) waits: Waits,
}

impl std::fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedLog")
    }
}

/// Ends a round when it is dropped: whatever becomes of the task that has it, nobody is left asleep.
struct Ringer(Arc<SharedLog>);

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.ring(self.0.round.end());
    }
}

impl SharedLog {
    pub(super) fn new(log: Log) -> Arc<Self> {
        let waits = Waits::at(&log.gate);
        Arc::new(Self { log: Mutex::new(log), bells: RwLock::default(), round: Round::new(), waits })
    }

    /// Makes somebody a reader, to be woken with `wake`.
    ///
    /// # Panics
    /// When there are [`MOST_READERS`] already.
    pub(super) fn add_reader(&self, wake: Arc<dyn Wake>) -> ReaderId {
        let mut bells = self.bells.write().unwrap_or_else(PoisonError::into_inner);
        assert!(bells.len() < MOST_READERS, "there are at most {MOST_READERS} readers");
        bells.push(Bell::new(wake));
        bells.len() - 1
    }

    /// Opens the log for a reader. Whatever is published from now on wakes it again.
    pub(super) fn read(&self, reader: ReaderId) -> MutexGuard<'_, Log> {
        self.bells()[reader].answer();
        self.lock()
    }

    // A panic while the log is locked would be a fault of ours in the middle of a change; going on
    // serves everyone else better than failing each request from then on. The lock is a fair one: whoever
    // has long work does it in portions, and lets those in between who wait.
    pub(super) fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    fn bells(&self) -> RwLockReadGuard<'_, Vec<Bell>> {
        self.bells.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings once for all that is published in this turn of the scheduler: with many publishers, a wake of
    /// the fan-out for each of them would cost more than the rest of a publish. Without tokio there are no
    /// turns, and whoever begins a round ends it at once.
    pub(super) fn ring_soon(self: &Arc<Self>, readers: u64) {
        if readers == 0 {
            return;
        }
        match self.round.note(readers) {
            Noted::First => {
                // It rings when it is dropped: here, if there is no runtime.
                let ringer = Ringer(Arc::clone(self));
                let Ok(runtime) = Handle::try_current() else { return };
                runtime.spawn(async move {
                    // Comes back when everyone who was ready to run has run.
                    tokio::task::yield_now().await;
                    drop(ringer);
                });
            }
            Noted::Further => {}
            Noted::Enough => self.ring(self.round.end()),
        }
    }

    pub(super) fn ring(&self, readers: u64) {
        if readers == 0 {
            return;
        }
        for (reader, bell) in self.bells().iter().enumerate() {
            if readers >> reader & 1 == 1 {
                bell.ring();
            }
        }
    }

    /// How long publishers on these channels are held back at most from now on, if they are.
    pub(super) fn held_back(&self, channels: &[Channel]) -> Option<Duration> {
        let left = self.waits.left()?;
        self.lock().is_held_back(channels).then_some(left)
    }

    /// Waits for those who read on these channels, as long as they get on and are too far behind.
    pub(super) async fn turn(&self, channels: &[Channel]) {
        if self.held_back(channels).is_none() {
            return;
        }
        let _waiting = self.waits.begin();
        loop {
            let opened = self.waits.opened();
            let Some(left) = self.held_back(channels) else { return };
            let _ = tokio::time::timeout(left.min(LOOK), opened).await;
        }
    }
}

/// Lets the oldest events of all go until their bytes are within the bound, in portions: whoever waits for
/// the log gets it in between.
pub(super) fn keep_to_total(log: &mut MutexGuard<'_, Log>) {
    while log.keep_to_total() {
        MutexGuard::bump(log);
    }
}
