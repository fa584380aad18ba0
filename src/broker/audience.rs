//! Who is there: the subscriptions that are counted, by what they want and by whom they were accepted as,
//! and where they end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::channels::Channels;
use super::ending::Ending;
use super::reader::ReaderId;
use super::selection::{Role, Selection};
use super::settings::Rate;
use crate::channel::Channel;
use crate::slots::{Key, Slots};
use crate::subject::Subject;

/// The subjects whose last disconnect is remembered: about 2 MiB of them.
const MOST_DISCONNECTS: usize = 16_384;

/// The subscriptions that are counted. All changes are made with the log's records at hand, which keep the
/// counts by channel.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// The selections that have not ended, and that somebody is counted on.
    selections: Slots<Used, Selection>,
    by_wants: HashMap<Arc<Selection>, Key<Selection>>,
    /// Who was accepted for which subject since it was last disconnected.
    parties: HashMap<Subject, Members>,
    disconnects: Disconnects,
}

/// A selection that somebody is counted on.
#[derive(Debug)]
struct Used {
    selection: Arc<Selection>,
    /// How many of which reader's subscribers.
    counts: SmallVec<[(u8, u32); 1]>,
    /// How many of its channels are open.
    open: u32,
}

/// What those share who were accepted for one subject.
#[derive(Debug)]
pub(super) struct Party {
    subject: Subject,
    /// The place at which the subject was disconnected.
    pub(super) ending: Ending,
}

/// Everyone accepted for one subject since it was last disconnected.
#[derive(Debug)]
struct Members {
    party: Arc<Party>,
    /// How many of them are on which selection, in the care of which reader.
    counts: HashMap<(Key<Selection>, ReaderId), u32>,
}

/// The subjects that were disconnected, and where; of those that are forgotten, the latest place.
#[derive(Debug, Default)]
struct Disconnects {
    places: HashMap<Subject, u64>,
    /// In the order of their places; a subject may be here more than once.
    order: VecDeque<(u64, Subject)>,
    forgotten: u64,
    /// The latest place of all, for those who must not wait for the log.
    latest: Arc<AtomicU64>,
}

/// Those who have just been ended.
#[derive(Debug, Default)]
pub(super) struct Dismissed {
    /// How many they were.
    pub(super) count: usize,
    /// On which selections.
    pub(super) selections: Vec<Arc<Selection>>,
    /// A bit for each reader that has some of them in its care.
    pub(super) readers: u64,
}

impl Used {
    fn count(&self) -> usize {
        self.counts.iter().map(|&(_, count)| count as usize).sum()
    }

    fn count_in(&mut self, reader: ReaderId) {
        match self.counts.iter_mut().find(|(other, _)| usize::from(*other) == reader) {
            Some((_, count)) => *count += 1,
            // There are at most 64.
            None => self.counts.push((reader as u8, 1)),
        }
    }

    fn count_out(&mut self, reader: ReaderId, some: u32) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(other, _)| usize::from(*other) == reader) {
            *count = count.saturating_sub(some);
        }
    }
}

impl Disconnects {
    fn note(&mut self, subject: &Subject, place: u64) {
        self.places.insert(subject.clone(), place);
        self.latest.store(place, Ordering::Release);
        self.order.push_back((place, subject.clone()));
        while self.order.len() > MOST_DISCONNECTS {
            let Some((place, subject)) = self.order.pop_front() else { return };
            if self.places.get(&subject) == Some(&place) {
                self.places.remove(&subject);
                self.forgotten = place;
            }
        }
    }

    /// Whether a subject was disconnected after a place, or may have been.
    fn since(&self, subject: &Subject, place: u64) -> bool {
        self.forgotten > place || self.places.get(subject).is_some_and(|&other| other > place)
    }
}

impl Audience {
    /// Counts somebody in who wants these channels: what it shares with the others who do. If all of the
    /// channels are closed, it is not counted: it ends right behind `head`.
    pub(super) fn enter(
        &mut self,
        records: &mut Channels,
        channels: SmallVec<[Key<Channel>; 1]>,
        role: Role,
        reader: ReaderId,
        head: u64,
    ) -> Arc<Selection> {
        let rates = rates(records, &channels);
        let wanted = Selection { channels, rates, role, id: Key::NOWHERE, ending: Ending::default() };
        let known = self.by_wants.get(&wanted).and_then(|&id| self.selections.get_mut(id));
        if let Some(used) = known {
            used.count_in(reader);
            note_in(records, &used.selection, reader);
            return Arc::clone(&used.selection);
        }
        self.begin(records, wanted, reader, head)
    }

    fn begin(
        &mut self,
        records: &mut Channels,
        wanted: Selection,
        reader: ReaderId,
        head: u64,
    ) -> Arc<Selection> {
        let is_open = |&&key: &&Key<Channel>| records.get(key).is_some_and(|record| !record.closed);
        let open = wanted.channels.iter().filter(is_open).count() as u32;
        let ending = if open == 0 { Ending::at(head + 1) } else { Ending::default() };
        let id = self.selections.insert_with(|id| {
            let selection = Arc::new(Selection { id, ending, ..wanted });
            Used { selection, counts: SmallVec::from_slice(&[(reader as u8, 1)]), open }
        });
        let Some(used) = self.selections.get(id) else { unreachable!("it was put there just now") };
        let selection = Arc::clone(&used.selection);
        if open == 0 {
            self.selections.remove(id);
            return selection;
        }
        self.by_wants.insert(Arc::clone(&selection), id);
        for &key in &selection.channels {
            if let Some(record) = records.get_mut(key) {
                record.attendance.add_selection(id);
            }
        }
        note_in(records, &selection, reader);
        selection
    }

    /// Counts somebody out who has left.
    pub(super) fn leave(
        &mut self,
        records: &mut Channels,
        selection: &Selection,
        party: Option<&Party>,
        reader: ReaderId,
    ) {
        // Whoever was disconnected was counted out then.
        if party.is_some_and(|party| party.ending.place().is_some()) {
            return;
        }
        self.count_out(records, selection.id, reader, 1);
        if let Some(party) = party {
            self.part(party, (selection.id, reader));
        }
    }

    /// Counts some out, unless their selection has ended, which has counted out everyone.
    fn count_out(
        &mut self,
        records: &mut Channels,
        id: Key<Selection>,
        reader: ReaderId,
        some: u32,
    ) -> Option<Arc<Selection>> {
        let used = self.selections.get_mut(id)?;
        used.count_out(reader, some);
        let (selection, is_empty) = (Arc::clone(&used.selection), used.count() == 0);
        note_out(records, &selection, reader, some);
        if is_empty {
            self.forget(records, &selection);
        }
        Some(selection)
    }

    /// Forgets a selection that nobody is counted on.
    fn forget(&mut self, records: &mut Channels, selection: &Selection) {
        self.by_wants.remove(selection);
        self.selections.remove(selection.id);
        for &key in &selection.channels {
            if let Some(record) = records.get_mut(key) {
                record.attendance.note_selection_gone(|id| self.selections.get(id).is_some());
            }
        }
    }

    /// Closes a channel. Those who have no other that is open end at this place, and are counted no more,
    /// even while their streams are being ended.
    pub(super) fn close(&mut self, records: &mut Channels, channel: Key<Channel>, place: u64) -> Dismissed {
        let mut dismissed = Dismissed::default();
        let Some(record) = records.get_mut(channel).filter(|record| !record.closed) else { return dismissed };
        record.closed = true;
        let ids: Vec<Key<Selection>> = record.attendance.selections().collect();
        for id in ids {
            let Some(used) = self.selections.get_mut(id) else { continue };
            used.open -= 1;
            if used.open > 0 {
                continue;
            }
            let (selection, counts) = (Arc::clone(&used.selection), std::mem::take(&mut used.counts));
            selection.ending.set(place);
            for (reader, count) in counts {
                note_out(records, &selection, reader.into(), count);
                dismissed.add(&selection, reader.into(), count);
            }
            self.forget(records, &selection);
        }
        dismissed
    }

    /// Opens a channel again, for those who have gone on for another that was open.
    pub(super) fn open(&mut self, records: &mut Channels, channel: Key<Channel>) {
        let Some(record) = records.get_mut(channel).filter(|record| record.closed) else { return };
        record.closed = false;
        for id in record.attendance.selections() {
            if let Some(used) = self.selections.get_mut(id) {
                used.open += 1;
            }
        }
    }

    /// How many listen on any of these channels.
    pub(super) fn receivers(&self, records: &Channels, channels: &[Key<Channel>]) -> usize {
        let mut attended: SmallVec<[_; 8]> = channels
            .iter()
            .filter_map(|&key| records.get(key).map(|record| (key, &record.attendance)))
            .collect();
        // Whoever is on several of them counts with the first. The one with the most selections comes first,
        // for its need not be looked at.
        attended.sort_by_key(|(_, attendance)| std::cmp::Reverse(attendance.selections_at_most()));
        let mut receivers = 0;
        for (number, (_, attendance)) in attended.iter().enumerate() {
            let earlier = &attended[..number];
            let is_counted = |used: &&Used| {
                let holds = |(key, _): &(Key<Channel>, _)| used.selection.channels.contains(key);
                used.selection.role == Role::Listener && earlier.iter().any(holds)
            };
            receivers += attendance.listeners();
            if !earlier.is_empty() {
                let used = attendance.selections().filter_map(|id| self.selections.get(id));
                receivers -= used.filter(is_counted).map(Used::count).sum::<usize>();
            }
        }
        receivers
    }

    /// Notes that somebody who was counted in was accepted for this subject.
    pub(super) fn join(&mut self, subject: &Subject, selection: &Selection, reader: ReaderId) -> Arc<Party> {
        let new = || {
            let party = Arc::new(Party { subject: subject.clone(), ending: Ending::default() });
            Members { party, counts: HashMap::new() }
        };
        let members = self.parties.entry(subject.clone()).or_insert_with(new);
        *members.counts.entry((selection.id, reader)).or_default() += 1;
        Arc::clone(&members.party)
    }

    fn part(&mut self, party: &Party, place: (Key<Selection>, ReaderId)) {
        let Some(members) = self.parties.get_mut(&party.subject) else { return };
        if let Some(count) = members.counts.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                members.counts.remove(&place);
            }
        }
        if members.counts.is_empty() {
            self.parties.remove(&party.subject);
        }
    }

    /// Ends everybody accepted for a subject at this place: none of them is counted from now on.
    pub(super) fn disconnect(&mut self, records: &mut Channels, subject: &Subject, place: u64) -> Dismissed {
        self.disconnects.note(subject, place);
        let mut dismissed = Dismissed::default();
        // Who joins from now on is in a party of its own.
        let Some(Members { party, counts }) = self.parties.remove(subject) else { return dismissed };
        party.ending.set(place);
        for ((id, reader), count) in counts {
            if let Some(selection) = self.count_out(records, id, reader, count) {
                dismissed.add(&selection, reader, count);
            }
        }
        dismissed
    }

    /// The place of the latest disconnect, as it goes on.
    pub(super) fn latest_disconnect(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.disconnects.latest)
    }

    /// Whether a subject was disconnected after a place in the log, or may have been.
    pub(super) fn was_disconnected_since(&self, subject: &Subject, place: u64) -> bool {
        self.disconnects.since(subject, place)
    }
}

impl Dismissed {
    fn add(&mut self, selection: &Arc<Selection>, reader: ReaderId, count: u32) {
        self.count += count as usize;
        self.readers |= 1 << reader;
        if self.selections.last().is_none_or(|last| !Arc::ptr_eq(last, selection)) {
            self.selections.push(Arc::clone(selection));
        }
    }

    /// Adds others who end at the same place.
    pub(super) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.selections.extend(other.selections);
        self.readers |= other.readers;
    }
}

/// The greatest rate of each of these channels; nothing, if none has one.
fn rates(records: &Channels, channels: &[Key<Channel>]) -> SmallVec<[Option<Rate>; 0]> {
    let rates: SmallVec<[_; 0]> =
        channels.iter().map(|&key| records.get(key).and_then(|record| record.terms.max_rate)).collect();
    if rates.iter().all(Option::is_none) { SmallVec::new() } else { rates }
}

fn note_in(records: &mut Channels, selection: &Selection, reader: ReaderId) {
    for &key in &selection.channels {
        if let Some(record) = records.get_mut(key) {
            record.attendance.count_in(reader, selection.role);
        }
    }
}

fn note_out(records: &mut Channels, selection: &Selection, reader: ReaderId, some: u32) {
    for &key in &selection.channels {
        if let Some(record) = records.get_mut(key) {
            record.attendance.count_out(reader, selection.role, some);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::parse(name).unwrap()
    }

    #[test]
    fn of_too_many_disconnects_the_oldest_are_forgotten_and_who_asked_before_them_is_let_in_no_more() {
        let mut disconnects = Disconnects::default();
        disconnects.note(&subject("anna"), 7);
        disconnects.note(&subject("anna"), 8);
        let since = |disconnects: &Disconnects, name, place| disconnects.since(&subject(name), place);
        assert!(since(&disconnects, "anna", 7) && !since(&disconnects, "anna", 8));
        assert!(!since(&disconnects, "bert", 0));

        (9..)
            .take(MOST_DISCONNECTS - 1)
            .for_each(|place| disconnects.note(&subject(&place.to_string()), place));
        assert!(
            !since(&disconnects, "bert", 0),
            "what was disconnected again is not forgotten with the first time"
        );
        disconnects.note(&subject("carl"), 1 << 40);

        assert!(since(&disconnects, "anna", 7) && !since(&disconnects, "anna", 8));
        assert!(since(&disconnects, "bert", 7) && !since(&disconnects, "bert", 8), "it may have been");
        assert_eq!(disconnects.order.len(), MOST_DISCONNECTS);
    }
}
