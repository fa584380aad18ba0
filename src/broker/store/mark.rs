//! How far the store was written, in a small file beside it.
//!
//! If the last step of a store does not check out, redb goes back to the one before, for that is what a
//! power cut within a step leaves. A file that was damaged later looks the same, and then what was
//! acknowledged would be gone, and its numbers given to other events. So the mark is written after each
//! step's sync: it never says more than was on disk. It is not synced itself; after a power cut it may
//! be older than the store, and knows less then.
//!
//! It also says the format, so that a store of a later version is known before anything touches it.
//! Nothing depends on the mark being there: one that is missing or damaged is as good as none.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What a mark says. The bytes are the format, the step, the epoch, and a checksum of these; later
/// formats begin the same way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Marked {
    /// The store's format.
    pub(super) format: u64,
    /// The last step that was written.
    pub(super) step: u64,
    /// The log it belongs to.
    pub(super) epoch: [u8; EPOCH],
}

/// The length of an epoch's word.
const EPOCH: usize = 12;
const LENGTH: usize = 8 + 8 + EPOCH + 4;

/// Reads the mark in a file, if there is a whole one.
pub(super) fn read(path: &Path) -> Option<Marked> {
    let bytes = fs::read(path).ok()?;
    let (format, rest) = bytes.split_first_chunk::<8>()?;
    let (step, rest) = rest.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<EPOCH>()?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    let is_whole = u32::from_le_bytes(*sum) == crc32fast::hash(&bytes[..LENGTH - 4]);
    is_whole.then(|| Marked {
        format: u64::from_le_bytes(*format),
        step: u64::from_le_bytes(*step),
        epoch: *epoch,
    })
}

/// The word of an epoch as a mark has it; zeros behind a shorter one.
pub(super) fn word(epoch: &str) -> [u8; EPOCH] {
    let mut word = [0; EPOCH];
    let bytes = epoch.as_bytes();
    let length = bytes.len().min(EPOCH);
    word[..length].copy_from_slice(&bytes[..length]);
    word
}

/// The mark of a store that is open.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        options.open(path).map(Self)
    }

    pub(super) fn write(&self, seen: &Marked) -> io::Result<()> {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&seen.format.to_le_bytes());
        bytes[8..16].copy_from_slice(&seen.step.to_le_bytes());
        bytes[16..LENGTH - 4].copy_from_slice(&seen.epoch);
        let sum = crc32fast::hash(&bytes[..LENGTH - 4]);
        bytes[LENGTH - 4..].copy_from_slice(&sum.to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.mark");
        let seen = Marked { format: 1, step: 77, epoch: word("abcdefghijkl") };
        assert_eq!(read(&path), None);

        Mark::open(&path).unwrap().write(&seen).unwrap();

        assert_eq!(read(&path), Some(seen));
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            fs::write(&path, flipped).unwrap();
            assert_eq!(read(&path), None, "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(read(&path), None, "cut at {at}");
        }
    }
}
