//! The store on disk: one redb file.

mod load;

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Builder, Database, ReadableTable, StorageError, TableDefinition};

use super::Batch;
use super::fault::{DiskFault, FORMAT, OpenError};
use super::file::{self, Bounded, Bounds};
use super::mark::{self, Mark, Marked};
use crate::broker::log::Log;
use crate::broker::settings::Settings;

/// What is said of the log as a whole.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The events, by their numbers.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// What is known of events with a `dedupe` key, by their numbers, for as long as the key is.
const KEYS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("keys");
/// The channels that need more than their events to be known.
const CHANNELS: TableDefinition<'_, &str, (bool, u64, u64)> = TableDefinition::new("channels");

/// Under which the number of the last step stands in [`META`].
const STEP: &str = "step";
/// The least bound of the file's size, in bytes.
const LEAST_BOUND: u64 = 144 << 20;
/// The file's name.
const FILE: &str = "log.redb";
/// redb's page cache, in bytes: the store is written, hardly ever read.
const CACHE: usize = 16 << 20;

/// Who has a store opened.
pub(in crate::broker) struct Watcher<'a> {
    /// Set when nobody wants it any more: all that is done with its file fails then.
    pub(in crate::broker) given_up: Arc<AtomicBool>,
    /// Called when its file is there and ours. What follows takes as long as the file is large.
    pub(in crate::broker) on_lock: &'a dyn Fn(),
}

impl Default for Watcher<'_> {
    fn default() -> Self {
        Self { given_up: Arc::default(), on_lock: &|| {} }
    }
}

/// The store on disk. Between a fault and [`Disk::reopen`] it is closed.
#[derive(Debug)]
pub(in crate::broker) struct Disk {
    path: PathBuf,
    bounds: Arc<Bounds>,
    /// Whether whatever is acknowledged is on disk.
    stored: bool,
    database: Option<Database>,
    /// The last step that is on disk.
    step: u64,
    /// The log's epoch, as its mark has it.
    epoch: [u8; 12],
    /// Without one, damage to the last step goes unnoticed.
    mark: Option<Mark>,
    /// The file, while it is made.
    empty: Option<fs::File>,
}

/// Whether the store in `folder` could be opened now, or made.
///
/// # Errors
/// Why it could not.
pub(in crate::broker) fn try_open(folder: &Path) -> Result<(), OpenError> {
    file::try_open(&folder.join(FILE))
}

impl Disk {
    /// Opens the store in `folder`, or makes one, and reads the log from it. A damaged file is set
    /// aside, and a new log with a new epoch takes its place.
    pub(in crate::broker) fn open(
        folder: &Path,
        settings: &Settings,
        watcher: Watcher<'_>,
    ) -> Result<(Self, Log), OpenError> {
        // Half of it is for events: four times what they have, for numbers and names take some room, pages
        // are larger than what is in them, and what is replaced stays until the step is done; and a bit, for
        // a file of 2^n MiB of pages is a bit larger than that.
        let most = (settings.total_bytes as u64).saturating_mul(9).max(LEAST_BOUND);
        Self::open_bounded(folder, settings, most, watcher)
    }

    /// The same, with a file of at most so many bytes.
    pub(in crate::broker) fn open_bounded(
        folder: &Path,
        settings: &Settings,
        most: u64,
        watcher: Watcher<'_>,
    ) -> Result<(Self, Log), OpenError> {
        let path = folder.join(FILE);
        let io = |cause| OpenError::Io { path: path.clone(), cause };
        fs::create_dir_all(folder).map_err(io)?;
        for last in [false, true] {
            match Self::read(&path, most, settings, &watcher) {
                Ok(opened) => return Ok(opened),
                Err(DiskFault::InUse(_)) => return Err(OpenError::InUse(path)),
                Err(DiskFault::Newer(found)) => return Err(OpenError::Newer { path, found }),
                Err(DiskFault::Io(cause)) => return Err(OpenError::Io { path, cause }),
                // Who has given up may have seen half of it.
                Err(DiskFault::Damaged(damage)) if last || watcher.given_up.load(Ordering::Relaxed) => {
                    return Err(OpenError::Io { path, cause: io::Error::other(damage) });
                }
                Err(DiskFault::Damaged(damage)) => {
                    let aside = set_aside(&path).map_err(io)?;
                    tracing::error!(
                        path = %path.display(), aside = %aside.display(), %damage,
                        "the log is damaged; it was set aside, a new one begins, and clients are told of a gap"
                    );
                }
            }
        }
        unreachable!("the second try returns")
    }

    fn read(
        path: &Path,
        most: u64,
        settings: &Settings,
        watcher: &Watcher<'_>,
    ) -> Result<(Self, Log), DiskFault> {
        let before = mark::read(&path.with_extension("mark"));
        if let Some(newer) = before.as_ref().map(|before| before.format).filter(|&format| format > FORMAT) {
            return Err(DiskFault::Newer(newer));
        }
        let (path, stored) = (path.to_owned(), settings.stored);
        let mut disk = Self {
            path,
            bounds: Arc::new(Bounds::new(most, Arc::clone(&watcher.given_up))),
            stored,
            database: None,
            step: 0,
            epoch: [0; 12],
            mark: None,
            empty: None,
        };
        // redb checks what it reads, but not everything it reads: a file that somebody else has
        // changed may trip it.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            disk.connect(watcher.on_lock)?;
            disk.load(settings, before.as_ref())
        }));
        let opened = opened.unwrap_or_else(|_| Err(DiskFault::Damaged("its structure is broken".into())));
        // Half a new store would be taken for a damaged one next time, and set aside, with each try.
        let empty = disk.empty.take();
        disk.bounds.make_room(false);
        match opened {
            Ok(log) => Ok((disk, log)),
            Err(fault) => {
                drop(disk);
                let _ = empty.map(|file| file.set_len(0));
                Err(fault)
            }
        }
    }

    fn connect(&mut self, on_lock: &dyn Fn()) -> Result<&mut Database, DiskFault> {
        let io = |error| DiskFault::from(StorageError::Io(error));
        let file = Bounded::open(&self.path, &self.bounds).map_err(io)?;
        on_lock();
        file.forget_cached().map_err(io)?;
        self.empty = file.if_empty();
        let mut database = Builder::new().set_cache_size(CACHE).create_with_backend(file)?;
        // Every page against its checksum: what a crash left is mended, what somebody changed found.
        database.check_integrity()?;
        Ok(self.database.insert(database))
    }

    fn database(&self) -> Result<&Database, DiskFault> {
        self.database
            .as_ref()
            .ok_or_else(|| DiskFault::Io(io::Error::other("the log is closed after a fault")))
    }

    /// Notes that a step is on disk, past the sync.
    fn took(&mut self, step: u64) {
        self.step = step;
        let seen = Marked { format: FORMAT, step, epoch: self.epoch };
        if self.mark.as_ref().is_some_and(|mark| mark.write(&seen).is_err()) {
            // The store itself is well; and a mark that is behind tells nothing wrong.
            tracing::debug!(path = %self.path.display(), "the mark beside the log cannot be written");
        }
    }

    /// Writes a batch; it is on disk, past the sync, when this returns. After a fault the store is
    /// closed, for nobody knows what became of the batch.
    pub(in crate::broker) fn write(&mut self, batch: &Batch) -> Result<(), DiskFault> {
        let written = self.try_write(batch);
        match written {
            Ok(()) => self.took(self.step + 1),
            Err(_) => self.database = None,
        }
        written
    }

    /// Writes a batch that only takes away, for which the file may become larger than for others.
    pub(in crate::broker) fn make_room(&mut self, batch: &Batch) -> Result<(), DiskFault> {
        self.bounds.make_room(true);
        let made = self.write(batch).and_then(|()| self.shrink());
        self.bounds.make_room(false);
        made.inspect_err(|_| self.database = None)
    }

    /// Brings a file back under the bound that holds for events. Not without need: room within the file is
    /// what the next steps use.
    fn shrink(&mut self) -> Result<(), DiskFault> {
        let length = fs::metadata(&self.path).map_err(DiskFault::Io)?.len();
        if length > self.bounds.most / 2
            && let Some(database) = &mut self.database
        {
            database.compact()?;
        }
        Ok(())
    }

    fn try_write(&self, batch: &Batch) -> Result<(), DiskFault> {
        let step = self.database()?.begin_write()?;
        {
            let mut events = step.open_table(EVENTS)?;
            let mut keys = step.open_table(KEYS)?;
            for event in &batch.events {
                events.insert(event.sequence, &event.encode()[..])?;
                if let Some(key) = event.key() {
                    keys.insert(event.sequence, &key.encode()[..])?;
                }
            }
            for dead in &batch.dead {
                events.remove(dead.sequence)?;
            }
            for dead in &batch.dead_keys {
                keys.remove(dead)?;
            }
            if !batch.rows.is_empty() || !batch.forgotten_channels.is_empty() {
                let mut channels = step.open_table(CHANNELS)?;
                for (channel, row) in &batch.rows {
                    channels.insert(channel.as_str(), (row.closed, row.trimmed, row.seen))?;
                }
                for channel in &batch.forgotten_channels {
                    channels.remove(channel.as_str())?;
                }
            }
            let mut meta = step.open_table(META)?;
            meta.insert("head", &batch.head.to_le_bytes()[..])?;
            meta.insert(STEP, &(self.step + 1).to_le_bytes()[..])?;
            if let Some(forgotten) = batch.forgotten {
                meta.insert("forgotten", &forgotten.to_le_bytes()[..])?;
            }
        }
        step.commit()?;
        Ok(())
    }

    /// Opens the store again after a fault, checks all of it, and takes back what was never
    /// acknowledged: everything after `head`.
    pub(in crate::broker) fn reopen(&mut self, head: u64) -> Result<(), DiskFault> {
        self.database = None;
        self.bounds.make_room(true);
        let (all_stored, last) = (self.stored, self.step);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = self.connect(&|| {})?;
            database.compact()?;
            let step = database.begin_write()?;
            let number = {
                let mut meta = step.open_table(META)?;
                // The step that failed may be there all the same.
                let number = read_number(&meta, STEP)?.unwrap_or(0);
                if number < last {
                    return Err(DiskFault::Damaged(format!(
                        "it ends at step {number}, and {last} was written"
                    )));
                }
                let stored = read_number(&meta, "head")?.unwrap_or(0);
                if stored < head && all_stored {
                    return Err(DiskFault::Damaged(format!(
                        "it ends at event {stored}, and {head} was acknowledged"
                    )));
                }
                step.open_table(EVENTS)?.retain_in(head + 1.., |_, _| false)?;
                step.open_table(KEYS)?.retain_in(head + 1.., |_, _| false)?;
                meta.insert("head", &head.to_le_bytes()[..])?;
                meta.insert(STEP, &(number + 1).to_le_bytes()[..])?;
                number + 1
            };
            step.commit()?;
            Ok(number)
        }));
        // A handle that is kept would keep the lock.
        self.empty = None;
        self.bounds.make_room(false);
        let opened = opened.unwrap_or_else(|_| Err(DiskFault::Damaged("its structure is broken".into())));
        opened.map(|number| self.took(number)).inspect_err(|_| self.database = None)
    }

    /// Notes that everything that was accepted is written.
    pub(in crate::broker) fn close(&mut self) -> Result<(), DiskFault> {
        let step = self.database()?.begin_write()?;
        {
            let mut meta = step.open_table(META)?;
            meta.insert("open", &0u64.to_le_bytes()[..])?;
            meta.insert(STEP, &(self.step + 1).to_le_bytes()[..])?;
        }
        step.commit()?;
        self.took(self.step + 1);
        self.database = None;
        Ok(())
    }

    /// The file.
    pub(in crate::broker) fn path(&self) -> &Path {
        &self.path
    }
}

fn read_number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
) -> Result<Option<u64>, DiskFault> {
    let Some(value) = meta.get(key)? else { return Ok(None) };
    let bytes = value.value().try_into();
    bytes
        .map(|bytes| Some(u64::from_le_bytes(bytes)))
        .map_err(|_| DiskFault::Damaged(format!("`{key}` is no number")))
}

/// Gives a damaged file another name, under which it can be looked at.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = (0u32..)
        .map(|number| path.with_extension(format!("redb.damaged-{seconds}-{number}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("redb.damaged"));
    fs::rename(path, &aside)?;
    Ok(aside)
}
