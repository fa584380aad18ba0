//! Where the log's lines go: to standard error or to a file, from a thread of its own.
//!
//! Whoever has something to say puts a line into a bounded buffer and goes on. A line for which there is no
//! room, because the disk is full or nobody reads the pipe, is dropped and counted, and the count is said as
//! soon as lines can be written again. So the log can neither end the process nor hold it up.
//!
//! [`Bounds`] keeps what is said again and again from filling the log: a few lines, then counts.

mod bounds;
mod sink;

use std::backtrace::BacktraceStatus;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

pub use bounds::Bounds;
use sink::Sink;

/// How much waits to be written at most, in bytes.
const ROOM: usize = 1 << 20;

/// The one that the process writes.
static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// A log that is written by a thread of its own. Clones write the same.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    bounds: Bounds,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    lines: u64,
    /// Lines that were dropped and not told of yet.
    dropped: u64,
    reopen: bool,
    is_writing: bool,
}

/// Where lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Standard error.
    StandardError,
    /// A file, which others may move away, and have opened anew.
    File(PathBuf),
}

impl Journal {
    /// Starts the thread that writes. A file is opened before it returns.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub fn start(target: Target) -> io::Result<Self> {
        Self::over(Sink::open(target)?)
    }

    fn over(sink: Sink) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), bounds: Bounds::default() });
        let journal = Self(shared);
        let writer = journal.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || writer.write(sink))?;
        Ok(journal)
    }

    /// Makes this the log of the process: the one that [`reopen`] and [`finish`] are about.
    pub fn install(&self) {
        let _ = JOURNAL.set(self.clone());
    }

    /// What keeps repetitions out of it.
    pub fn bounds(&self) -> Bounds {
        self.0.bounds.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.lines += 1;
        drop(state);
        self.0.changed.notify_all();
    }

    /// Writes for as long as the process lives.
    fn write(&self, mut sink: Sink) {
        let mut taken = Vec::new();
        loop {
            self.0.bounds.report(Instant::now());
            let (lines, reopen) = self.next(&mut taken);
            if reopen {
                match sink.reopen() {
                    Ok(()) => tracing::info!(file = %sink, "the log file was opened anew"),
                    Err(error) => {
                        tracing::error!(file = %sink, %error, "the log file cannot be opened anew; the old one goes on");
                    }
                }
            }
            let written = taken.is_empty() || sink.write(&taken).is_ok();
            taken.clear();
            let dropped = {
                let mut state = self.state();
                state.is_writing = false;
                if !written {
                    state.dropped += lines;
                }
                if written && lines > 0 { std::mem::take(&mut state.dropped) } else { 0 }
            };
            self.0.changed.notify_all();
            if dropped > 0 {
                tracing::warn!(dropped, "log lines could not be written and were dropped");
            }
        }
    }

    /// Waits for something to do. How many lines were put into `taken`, and whether the file is to be
    /// opened anew.
    fn next(&self, taken: &mut Vec<u8>) -> (u64, bool) {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.reopen {
            let due = self.0.bounds.due();
            let changed = &self.0.changed;
            state = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        std::mem::swap(&mut state.waiting, taken);
        state.is_writing = true;
        (std::mem::take(&mut state.lines), std::mem::take(&mut state.reopen))
    }

    /// Waits until all is written, but not for long.
    fn flush(&self, limit: Duration) {
        let is_at_work = |state: &mut State| !state.waiting.is_empty() || state.is_writing;
        let _ = self.0.changed.wait_timeout_while(self.state(), limit, is_at_work);
    }
}

/// Has the process's log file opened anew, as after it was moved away.
pub fn reopen() {
    if let Some(journal) = JOURNAL.get() {
        journal.state().reopen = true;
        journal.0.changed.notify_all();
    }
}

/// Writes what the process still has to say, before it ends.
pub fn finish() {
    if let Some(journal) = JOURNAL.get() {
        journal.0.bounds.report_all();
        journal.flush(Duration::from_secs(1));
    }
}

/// Says a last line and waits a moment until it is written, but not for a pipe that nobody reads.
pub fn last_words(line: &str) {
    if JOURNAL.get().is_some() {
        tracing::error!("{line}");
        finish();
    } else {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Has panics told in the log, which never waits. Told as usual, a thread that panics could wait for ever for
/// somebody to read standard error.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
        match backtrace.status() {
            BacktraceStatus::Captured => {
                tracing::error!(thread, "a mistake of outboard's own: {panic}\n{backtrace}")
            }
            _ => tracing::error!(thread, "a mistake of outboard's own: {panic}"),
        }
    }));
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line at a time, whole. It never fails.
pub struct Line<'a>(&'a Journal);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn nobody_waits_for_a_log_that_nobody_reads() {
        let (nobody, written) = UnixStream::pair().unwrap();
        let journal = Journal::over(Sink::of(written.into())).unwrap();

        for _ in 0..4 * ROOM / 1024 {
            journal.say(&[b'\n'; 1024]);
        }

        let state = journal.state();
        assert!(state.dropped > 0 && state.waiting.len() <= ROOM);
        drop(state);

        // Once somebody reads, all is written, and the count is told.
        std::thread::spawn(move || io::copy(&mut { nobody }, &mut io::sink()));
        journal.flush(Duration::from_secs(10));
        assert_eq!(journal.state().dropped, 0);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let journal = Journal::over(Sink::of(full.into())).unwrap();

        journal.say(b"one\n");
        journal.flush(Duration::from_secs(10));

        assert_eq!(journal.state().dropped, 1);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let journal = Journal::start(Target::File(path.clone())).unwrap();
        journal.say(b"before\n");
        journal.flush(Duration::from_secs(10));

        std::fs::rename(&path, &moved).unwrap();
        journal.state().reopen = true;
        journal.say(b"after\n");
        journal.flush(Duration::from_secs(10));

        assert_eq!(std::fs::read_to_string(moved).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "after\n");
    }
}
