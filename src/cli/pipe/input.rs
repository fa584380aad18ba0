//! Standard input for as long as there is any, whatever state it is in.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// Standard input, each byte of it passed on to standard output if that is wanted.
pub(super) struct Input {
    pub(super) tee: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stdin = io::stdin().lock();
        let length = insist(&io::stdin(), PollFlags::IN, || stdin.read(buffer))?;
        if self.tee && pass_on(&buffer[..length]).is_err() {
            // Nobody reads it any more, or its disk is full. The job goes on.
            self.tee = false;
        }
        Ok(length)
    }
}

fn pass_on(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        // Not by `Stdout`, which would keep what stands behind the last line break.
        let written = insist(&stdout, PollFlags::OUT, || Ok(rustix::io::write(stdout.as_fd(), bytes)?))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Tries again after an interruption, and waits where others have set the file not to block.
fn insist(
    file: &impl AsFd,
    ready: PollFlags,
    mut attempt: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(file, ready)], None);
            }
            result => return result,
        }
    }
}

/// Reads standard input to its end for a job whose lines cannot be published, so that it never hears of it.
pub(crate) fn swallow(tee: bool) {
    let _ = io::copy(&mut Input { tee }, &mut io::sink());
    let _ = io::stdout().flush();
}
