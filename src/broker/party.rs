//! Subjects: who was accepted as whom, so that they can be ended together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::Log;
use super::reader::ReaderId;
use super::selection::Selection;
use crate::subject::Subject;

/// Where a subscriber is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountedAt<'a> {
    pub(super) selection: &'a Arc<Selection>,
    pub(super) reader: ReaderId,
    pub(super) closes: u32,
}

/// No event has this number.
const NOT_ENDED: u64 = u64::MAX;

/// How many subscribers are counted at each place.
type Members = HashMap<(Arc<Selection>, ReaderId, u32), usize>;

/// Everyone accepted for one subject since it was last disconnected.
#[derive(Debug)]
pub(super) struct Party {
    subject: Subject,
    /// The log's head when the subject was disconnected; [`NOT_ENDED`] until then.
    ended_at: AtomicU64,
    /// Locked only while the log is.
    members: Mutex<Members>,
}

impl Party {
    /// The log's head when the subject was disconnected, if it has been.
    pub(super) fn ended_at(&self) -> Option<u64> {
        Some(self.ended_at.load(Ordering::Acquire)).filter(|&place| place != NOT_ENDED)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Notes one more subscriber of `subject`.
    pub(super) fn join(&mut self, subject: &Subject, at: CountedAt<'_>) -> Arc<Party> {
        let new = || {
            let (ended_at, members) = (AtomicU64::new(NOT_ENDED), Mutex::default());
            Arc::new(Party { subject: subject.clone(), ended_at, members })
        };
        let party = self.parties.entry(subject.clone()).or_insert_with(new);
        let member = (Arc::clone(at.selection), at.reader, at.closes);
        *party.members().entry(member).or_default() += 1;
        Arc::clone(party)
    }

    /// Notes that a subscriber has left its party, which has not been ended.
    pub(super) fn part(&mut self, party: &Arc<Party>, at: CountedAt<'_>) {
        let mut members = party.members();
        let member = (Arc::clone(at.selection), at.reader, at.closes);
        if let Some(count) = members.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                members.remove(&member);
            }
        }
        if members.is_empty() {
            self.parties.remove(&party.subject);
        }
    }

    /// Ends all subscribers of `subject` here: none of them is counted from now on or gets anything that
    /// comes after. How many there were, and a bit for each reader that has to let some go.
    pub(super) fn disconnect(&mut self, subject: &Subject) -> (usize, u64) {
        // Who joins from now on is in a party of its own.
        let Some(party) = self.parties.remove(subject) else { return (0, 0) };
        party.ended_at.store(self.head, Ordering::Release);
        let members = std::mem::take(&mut *party.members());
        let mut wake = 0;
        for ((selection, reader, closes), &count) in &members {
            let at = CountedAt { selection, reader: *reader, closes: *closes };
            (0..count).for_each(|_| self.uncount(at));
            self.readers[*reader].disconnected = true;
            wake |= 1 << reader;
        }
        (members.values().sum(), wake)
    }
}
