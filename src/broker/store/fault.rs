//! Why there is no store, and why a step of it failed.

use std::io;
use std::path::PathBuf;

use redb::{DatabaseError, StorageError};

use super::stored::Damaged;

/// The format this version writes. A higher one is somebody else's. Format 1 had the keys in the rows of
/// their events, which stayed for as long as the keys.
pub(super) const FORMAT: u64 = 2;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it.
    #[error(
        "the log in {0} is in use by another outboard; stop that one, or give this one its own `path` in [history]"
    )]
    InUse(PathBuf),
    /// A later version wrote it.
    #[error(
        "the log in {path} has format {found}, and this version knows {FORMAT} at most; run the version that wrote it, or move the file away to begin anew"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The system does not give us the file.
    #[error("cannot open the log in {path}: {cause}{}", hint(cause))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl OpenError {
    /// Whether it is the disk that fails, which may be well again, and not what somebody has set up.
    pub(in crate::broker) fn may_pass(&self) -> bool {
        let Self::Io { cause, .. } = self else { return false };
        let is_loop = cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let is_set_up_so = matches!(
            cause.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename
        );
        !is_loop && !is_set_up_so
    }
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; the folder must belong to the user outboard runs as",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "; `path` in [history] names a folder",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; after an error of the disk the system mounts it so: look into its log, repair it and mount it anew"
        }
        io::ErrorKind::StorageFull => "; make room, or let `path` in [history] lead elsewhere",
        _ => "",
    }
}

/// Why a step of the store failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::broker) enum DiskFault {
    #[error(transparent)]
    InUse(io::Error),
    #[error("format {0}")]
    Newer(u64),
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Damaged(String),
}

impl DiskFault {
    /// Whether it is the bound of the file that is reached, and not the end of the disk: that has a number.
    pub(in crate::broker) fn is_bound(&self) -> bool {
        matches!(self, Self::Io(error)
            if error.kind() == io::ErrorKind::StorageFull && error.raw_os_error().is_none())
    }
}

impl From<StorageError> for DiskFault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) if error.kind() == io::ErrorKind::ResourceBusy => Self::InUse(error),
            // Reading past the end of a file that was cut.
            StorageError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("the file is cut off".into())
            }
            StorageError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Damaged(error.to_string())
            }
            StorageError::Io(error) => Self::Io(error),
            StorageError::PreviousIo => Self::Io(io::Error::other("an earlier write failed")),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for DiskFault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::DatabaseAlreadyOpen => Self::InUse(io::ErrorKind::ResourceBusy.into()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for DiskFault {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => StorageError::Io(error).into(),
                    redb::Error::PreviousIo => StorageError::PreviousIo.into(),
                    other => Self::Damaged(other.to_string()),
                }
            }
        })*
    };
}

from_redb!(redb::TransactionError, redb::TableError, redb::CommitError, redb::CompactionError);

impl From<Damaged> for DiskFault {
    fn from(error: Damaged) -> Self {
        Self::Damaged(error.to_string())
    }
}
