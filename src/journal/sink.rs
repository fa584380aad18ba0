//! What lines are written to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use super::Target;

/// An open file, and where it is if it is ours to open.
pub(super) struct Sink {
    target: Target,
    file: Option<OwnedFd>,
    /// Whether the last thing written is only the beginning of a line.
    is_torn: bool,
}

impl Sink {
    pub(super) fn open(target: Target) -> io::Result<Self> {
        let file = match &target {
            Target::StandardError => None,
            Target::File(path) => Some(open(path)?),
        };
        Ok(Self { target, file, is_torn: false })
    }

    #[cfg(test)]
    pub(super) fn of(file: OwnedFd) -> Self {
        Self { target: Target::StandardError, file: Some(file), is_torn: false }
    }

    /// Opens the file again at its place. Standard error stays what it is.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Target::File(path) = &self.target {
            self.file = Some(open(path)?);
            self.is_torn = false;
        }
        Ok(())
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.write_all(lines)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let stderr = io::stderr();
            let file = self.file.as_ref().map_or_else(|| stderr.as_fd(), AsFd::as_fd);
            match rustix::io::write(file, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.is_torn = bytes.get(written - 1) != Some(&b'\n');
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(rustix::io::Errno::INTR) => {}
                // Others may have set it not to block; only this thread waits.
                Err(rustix::io::Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::StandardError => f.write_str("standard error"),
            Target::File(path) => path.display().fmt(f),
        }
    }
}

/// Opens a log file for whoever may read the machine's logs by its group, and for nobody else.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let file: File = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    Ok(file.into())
}
