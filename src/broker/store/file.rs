//! The store's file: locked while it is open, and never larger than it may be.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::fault::OpenError;

/// What the tables of a larger file may take beside its pages.
const SLACK: u64 = 1 << 20;

/// A file for redb with a bound on its size.
#[derive(Debug)]
pub(super) struct Bounded {
    file: File,
    bounds: Arc<Bounds>,
}

/// What may be done with the file at present.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Its greatest size in bytes.
    pub(super) most: u64,
    /// Whether what is done now makes room, or is needed for it.
    makes_room: AtomicBool,
    /// Whether nobody wants what is in it any more.
    given_up: Arc<AtomicBool>,
}

impl Bounds {
    /// For a file that is being opened.
    pub(super) fn new(most: u64, given_up: Arc<AtomicBool>) -> Self {
        Self { most, makes_room: AtomicBool::new(true), given_up }
    }

    pub(super) fn make_room(&self, makes_room: bool) {
        self.makes_room.store(makes_room, Ordering::Relaxed);
    }

    fn allow(&self) -> io::Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("outboard is going down"));
        }
        Ok(())
    }
}

/// Whether a file could be opened now, or made; nothing is made.
pub(super) fn try_open(path: &Path) -> Result<(), OpenError> {
    let io = |cause| OpenError::Io { path: path.to_owned(), cause };
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    match options.open(path) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => Err(io(cause)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            crate::folder::try_use(path.parent().unwrap_or(Path::new("."))).map_err(io)
        }
        Err(cause) => Err(io(cause)),
    }
}

impl Bounded {
    /// Opens or creates the file, for this process alone. Half of its greatest size is for steps that add something: a step that takes things away needs room as well, and redb
    /// makes a file twice as large or leaves it.
    pub(super) fn open(path: &Path, bounds: &Arc<Bounds>) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A link planted here must not lead us to somebody else's file.
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, bounds: Arc::clone(bounds) }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Has the system forget what it holds of the file in memory, so that it is read from the disk.
    ///
    /// After a failed sync, of this process or of one before it, the system takes what it could not write for
    /// written: it looks well in memory, and is not on disk. Whoever believed it would build on pages that
    /// are gone with the power.
    pub(super) fn forget_cached(&self) -> io::Result<()> {
        // Only what is written can be forgotten. If this fails, then the disk is what shows how much is left.
        let _ = self.file.sync_data();
        Ok(rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    /// Another handle to the same file, under the same lock, if there is nothing in it yet.
    pub(super) fn if_empty(&self) -> Option<File> {
        let is_empty = self.file.metadata().is_ok_and(|file| file.len() == 0);
        if is_empty { self.file.try_clone().ok() } else { None }
    }
}

impl StorageBackend for Bounded {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bounds.allow()?;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        let bound = if self.bounds.makes_room.load(Ordering::Relaxed) {
            // It may have been made under a larger bound.
            self.bounds.most.max(2 * now + SLACK)
        } else {
            self.bounds.most / 2
        };
        if len > bound && len > now {
            let text = format!(
                "the log's file has reached its bound of {} MiB, which follows from `total_bytes` in [history]",
                bound >> 20
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.bounds.allow()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bounds.allow()?;
        self.file.write_all_at(data, offset)
    }
}
