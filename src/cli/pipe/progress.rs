//! What `outboard pipe` says while it works, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cli::output;
use crate::client::Fault;

/// How often the line for people changes at most.
const TICK: Duration = Duration::from_millis(100);

/// Counts, and shows the counts on a terminal.
pub(super) struct Progress {
    pub(super) sent: u64,
    pub(super) refused: u64,
    receivers: usize,
    is_away: bool,
    is_waiting: bool,
    live: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self { sent: 0, refused: 0, receivers: 0, is_away: false, is_waiting: false, live, shown: None }
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

    /// Outboard is not there, or does not take lines. Said once until it is back.
    pub(super) fn away(&mut self, fault: &Fault) {
        if !std::mem::replace(&mut self.is_away, true) {
            self.note(&format!("{fault}; the newest lines are kept until it can be told"));
        }
    }

    /// The input has ended while outboard is away.
    pub(super) fn waiting(&mut self, left: u64, wait: Duration) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            let wait = humantime::format_duration(wait);
            let left = match left {
                1 => "1 line waits".into(),
                left => format!("{left} lines wait"),
            };
            self.note(&format!("the input has ended; {left} for outboard, {wait} at most"));
        }
    }

    /// Outboard answers; so many lines were lost until now.
    pub(super) fn back(&mut self, lost: u64) {
        if std::mem::replace(&mut self.is_away, false) {
            match lost {
                0 => self.note("back again; nothing is lost"),
                lost => self.note(&format!("back again; {lost} {} lost", lines_were(lost))),
            }
        }
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

/// How what is said of so many lines begins.
pub(super) fn lines_were(number: u64) -> &'static str {
    if number == 1 { "line was" } else { "lines were" }
}
