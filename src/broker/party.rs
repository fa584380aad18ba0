//! Subjects: who was accepted as whom, so that they can be ended together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::Log;
use super::reader::ReaderId;
use super::selection::Selection;
use crate::subject::Subject;

/// Where a subscriber is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) selection: &'a Arc<Selection>,
    pub(super) reader: ReaderId,
    pub(super) closes: u32,
}

/// Everyone accepted for one subject since it was last disconnected.
#[derive(Debug)]
pub(super) struct Party {
    subject: Subject,
    ended: AtomicBool,
    /// How many are counted where. Locked only while the log is.
    members: Mutex<HashMap<(Arc<Selection>, ReaderId, u32), usize>>,
}

impl Party {
    /// Whether the subject has been disconnected.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn members(&self) -> MutexGuard<'_, HashMap<(Arc<Selection>, ReaderId, u32), usize>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Notes one more subscriber of `subject`.
    pub(super) fn join(&mut self, subject: &Subject, place: Place<'_>) -> Arc<Party> {
        let new = || {
            let (ended, members) = (AtomicBool::new(false), Mutex::default());
            Arc::new(Party { subject: subject.clone(), ended, members })
        };
        let party = self.parties.entry(subject.clone()).or_insert_with(new);
        let member = (Arc::clone(place.selection), place.reader, place.closes);
        *party.members().entry(member).or_default() += 1;
        Arc::clone(party)
    }

    /// Notes that a subscriber has left its party, which has not been ended.
    pub(super) fn part(&mut self, party: &Arc<Party>, place: Place<'_>) {
        let mut members = party.members();
        let member = (Arc::clone(place.selection), place.reader, place.closes);
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

    /// Ends all subscribers of `subject`: none of them is counted or gets anything from now on. How
    /// many there were, and a bit for each reader that has to let some go.
    pub(super) fn disconnect(&mut self, subject: &Subject) -> (usize, u64) {
        // Who joins from now on is in a party of its own.
        let Some(party) = self.parties.remove(subject) else { return (0, 0) };
        party.ended.store(true, Ordering::Release);
        let members = std::mem::take(&mut *party.members());
        let mut wake = 0;
        for ((selection, reader, closes), &count) in &members {
            let place = Place { selection, reader: *reader, closes: *closes };
            (0..count).for_each(|_| self.uncount(place));
            self.readers[*reader].disconnected = true;
            wake |= 1 << reader;
        }
        (members.values().sum(), wake)
    }
}
