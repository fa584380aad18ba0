//! The history checker: reads what publishers and clients saw of a run, and finds every way in which
//! that cannot be one log, kept and delivered as promised.
//!
//! It is pure: no clock, no socket, nothing of the program under test. It decides only where it is
//! certain. An event stands between two others if a chain of statements says so (a client's stream, a
//! read-back, sequence numbers, one publisher's order, or one being acknowledged before the other was
//! sent); where the chain does not reach, nobody is accused.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses its own part of this"
)]

mod evidence;
pub mod history;
mod judge;
mod missing;
mod order;

use std::collections::BTreeMap;
use std::fmt;

pub use history::{Client, History, Level, Life, Line, Readback, Reply, Said, Sent, Time, What};

/// The ways in which a history can be wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Acknowledged, and gone.
    Lost,
    /// There twice, or published twice in spite of its `dedupe` key.
    Doubled,
    /// Two statements about the order contradict each other.
    Reordered,
    /// Received or found, and never sent so.
    Phantom,
    /// In the log, and not given to a client that was told of no gap.
    Hole,
    /// A gap was told, and nothing was missing.
    FalseGap,
    /// A client holds what the log that was recovered does not.
    Ahead,
    /// Published on some of its channels only.
    Torn,
}

/// One thing that is wrong, in words.
#[derive(Clone, Debug)]
pub struct Fault {
    pub class: Class,
    pub words: String,
}

/// What is wrong with a history.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub faults: Vec<Fault>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn has(&self, class: Class) -> bool {
        self.faults.iter().any(|fault| fault.class == class)
    }

    pub fn count(&self, class: Class) -> usize {
        self.faults.iter().filter(|fault| fault.class == class).count()
    }

    fn add(&mut self, class: Class, words: String) {
        self.faults.push(Fault { class, words });
    }
}

/// For each class how often, and the shortest witness.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut classes: BTreeMap<Class, Vec<&str>> = BTreeMap::new();
        for fault in &self.faults {
            classes.entry(fault.class).or_default().push(&fault.words);
        }
        if classes.is_empty() {
            return f.write_str("nothing is wrong");
        }
        for (class, words) in classes {
            let shortest = words.iter().min_by_key(|words| words.len()).unwrap_or(&"");
            writeln!(f, "{class:?}, {} times; the shortest witness:\n  {shortest}", words.len())?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a history.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    judge::judge(history, &mut verdict);
    verdict
}
