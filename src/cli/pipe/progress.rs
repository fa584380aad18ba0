//! What `outboard pipe` says while it works, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cli::output;

/// How often the line for people changes at most.
const TICK: Duration = Duration::from_millis(100);

/// Counts, and shows the counts on a terminal.
pub(super) struct Progress {
    pub(super) sent: u64,
    pub(super) refused: u64,
    receivers: usize,
    repaired: bool,
    live: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self { sent: 0, refused: 0, receivers: 0, repaired: false, live, shown: None }
    }

    /// A line was handed to so many subscribers.
    pub(super) fn published(&mut self, receivers: usize) {
        self.sent += 1;
        self.receivers = receivers;
        if self.live && self.shown.is_none_or(|shown| shown.elapsed() >= TICK) {
            self.shown = Some(Instant::now());
            self.overwrite(&self.counts());
        }
    }

    /// A line was not published.
    pub(super) fn refuse(&mut self, why: &str) {
        self.refused += 1;
        self.note(why);
    }

    /// A line was not UTF-8. Said once: the lines after it are likely of the same kind.
    pub(super) fn repaired(&mut self, line: u64) {
        if !std::mem::replace(&mut self.repaired, true) {
            self.note(&format!(
                "line {line} is not UTF-8: what could not be read is replaced by \u{fffd}, also in later lines"
            ));
        }
    }

    /// Outboard has gone.
    pub(super) fn away(&mut self, patience: Duration) {
        self.note(&format!(
            "outboard has gone; the lines wait up to {} seconds for it to come back",
            patience.as_secs()
        ));
    }

    /// Outboard is back.
    pub(super) fn back(&mut self) {
        self.note("back again; nothing is lost");
    }

    /// Leaves the last counts on the screen.
    pub(super) fn finish(&mut self) {
        if self.live {
            self.overwrite(&self.counts());
            output::say("");
        }
    }

    fn counts(&self) -> String {
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!("{} {} sent{refused}, {} listening", self.sent, lines(self.sent), self.receivers)
    }

    fn note(&self, text: &str) {
        if self.live {
            self.overwrite("");
        }
        output::say(&format!("outboard: {text}"));
    }

    /// Writes over the line for people.
    fn overwrite(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

fn lines(number: u64) -> &'static str {
    if number == 1 { "line" } else { "lines" }
}
