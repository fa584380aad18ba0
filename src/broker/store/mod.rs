//! Where the log lives so that it is still there after a crash.
//!
//! The whole history is in memory whatever the store, for that is what clients read from, so a disk
//! store is only ever written, but for once at the start. What is promised of it:
//!
//! - a batch is on disk, past the sync, when [`disk::Disk::write`] returns, or nothing of it counts;
//! - what is read back was written so: each event has a checksum, and a damaged file is set aside,
//!   never deleted and never believed;
//! - what was acknowledged is there, or it is known that it is not: redb quietly goes back a step when
//!   the last one is damaged, and the [`mark`] beside it tells;
//! - after a failed write or sync the file is closed and opened anew before it is trusted again.

pub(super) mod disk;
mod fault;
mod file;
mod mark;
mod stored;
#[cfg(test)]
mod tests;
pub(super) mod writer;

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::channel::Channel;
use crate::slots::Key;

pub use fault::OpenError;
pub(super) use stored::{Damaged, StoredEvent, StoredKey};

/// What is kept of a channel beside its events.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) closed: bool,
    /// The newest event that has left its history.
    pub(super) trimmed: u64,
    /// Every event up to here was handed to somebody.
    pub(super) seen: u64,
}

/// The channels that are different after a step.
pub(super) type Rows = HashMap<Channel, Row>;

/// An event that no channel holds any more.
#[derive(Debug)]
pub(super) struct DeadEvent {
    pub(super) sequence: u64,
    /// The channels that held it; each has a row that says so, in the step that takes it off the disk.
    pub(super) channels: SmallVec<[Key<Channel>; 1]>,
    /// How many bytes it had.
    pub(super) bytes: usize,
}

/// What changes on disk in one step.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Events to be kept, and their keys.
    pub(super) events: Vec<StoredEvent>,
    /// Events that no channel holds any more.
    pub(super) dead: Vec<DeadEvent>,
    /// Events whose `dedupe` keys are forgotten.
    pub(super) dead_keys: Vec<u64>,
    /// Channels that are different now.
    pub(super) rows: Rows,
    /// Channels that are forgotten.
    pub(super) forgotten_channels: BTreeSet<Channel>,
    /// The newest event that left a channel which was then forgotten, if it is another than before.
    pub(super) forgotten: Option<u64>,
    /// The log's head after this.
    pub(super) head: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.dead.is_empty()
            && self.dead_keys.is_empty()
            && self.rows.is_empty()
            && self.forgotten_channels.is_empty()
            && self.forgotten.is_none()
    }
}
