//! Where the log lives, and what gives publications their numbers there.
//!
//! Each engine does the same five things in the same order: a publication is checked, appended, numbered,
//! written out and committed. What takes as long as the event is large is done before anybody waits for
//! it: the event is written out by its publisher but for its number, for which room is kept; the number is a
//! few bytes, written when the engine has given it. So the order of the numbers is the order of the log,
//! whoever publishes, and nothing is written out while the log is locked.
//!
//! An engine that several nodes share would give the numbers itself, and have what the others append
//! enter the log where [`Log::restore`](super::log::Log) puts what is read back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::log::{Draft, Log};
use super::moment::{self, Moment};
use super::publication::{Level, Publishing, Receipt, Refused, Written};
use super::shared_log::{SharedLog, keep_to_total};
use super::store::Rows;
use super::store::writer::{Job, Writer};

/// What gives publications their numbers and makes them part of the log.
pub(super) trait Engine: Send + Sync {
    /// Takes a publication, in the order of the calls: it is part of the log, or on its way, when this
    /// returns. `room` is given back once it is there.
    fn append(&self, publication: Written, room: OwnedSemaphorePermit) -> Publishing;

    /// Whether publications can be taken at present.
    fn is_writable(&self) -> bool {
        true
    }

    /// What was taken is kept, nothing more is taken. Blocks until that is done.
    fn close(&self) {}

    /// Blocks until what was taken is kept.
    #[cfg(test)]
    fn flush(&self) {}
}

/// The log in this process alone.
pub(super) struct Memory(pub(super) Arc<SharedLog>);

impl Engine for Memory {
    fn append(&self, publication: Written, _room: OwnedSemaphorePermit) -> Publishing {
        Publishing::Done(Some(append_now(&self.0, publication, |_, _| {})))
    }
}

/// The log on a disk.
pub(super) struct OnDisk {
    pub(super) shared: Arc<SharedLog>,
    pub(super) writer: Writer,
    /// Whether publications are seen only once they are on disk.
    pub(super) stored: bool,
}

impl Engine for OnDisk {
    fn append(&self, publication: Written, room: OwnedSemaphorePermit) -> Publishing {
        if self.stored {
            let (answer, waiting) = oneshot::channel();
            self.writer.send(Job::Publish(publication, answer, room));
            return Publishing::Waiting(waiting);
        }
        // Sent while the log is locked, so that they are written in the order of the log.
        let keep = |log: &Log, draft: &Draft| {
            let rows = log.rows_after(draft, &Rows::new());
            self.writer.send(Job::Keep(log.stored(draft), rows, room));
        };
        Publishing::Done(Some(append_now(&self.shared, publication, keep)))
    }

    fn is_writable(&self) -> bool {
        self.writer.is_writable()
    }

    fn close(&self) {
        self.writer.close();
    }

    #[cfg(test)]
    fn flush(&self) {
        let (answer, written) = oneshot::channel();
        let room = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        let nothing = super::Publication::default().write(&crate::event::Epoch::random());
        self.writer.send(Job::Publish(nothing, answer, room));
        written.blocking_recv().unwrap().unwrap();
    }
}

/// Makes a publication part of the log at once.
fn append_now(
    shared: &Arc<SharedLog>,
    publication: Written,
    keep: impl FnOnce(&Log, &Draft),
) -> Result<Receipt, Refused> {
    let (now, time) = (Moment::now(), moment::time());
    let mut log = shared.lock();
    let draft = log.check(publication, now)?.number(log.head + 1, now, time);
    keep(&log, &draft);
    let (receipt, readers) = log.commit(draft, Level::Accepted, now);
    keep_to_total(&mut log);
    // What is large takes its time to be freed.
    let left = log.retention.take_large();
    drop(log);
    drop(left);
    shared.ring_soon(readers);
    Ok(receipt)
}
