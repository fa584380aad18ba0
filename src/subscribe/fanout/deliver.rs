//! How news gets from the log to a fan-out thread's subscribers.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::Slot;
use super::groups::Group;
use super::lag::note_taken;
use super::piece::{pieces, write_paced, write_pieces};
use super::rest::Rest;
use super::subscriber::{State, Written};
use super::worker::{Worker, line_up};
use crate::broker::{Entry, Gap, Latest, News, Read, Selection};
use crate::event::encode;
use crate::slots::Key;
use crate::subscribe::Slow;
use crate::subscribe::end::End;
use crate::subscribe::head;

/// The most entries read at a time for one subscriber that lags.
const PORTION: usize = 64;
/// The most subscribers that read while publishers wait.
const AT_ONCE: usize = 32;
/// The same as [`PORTION`] when few lag: larger writes get them on faster.
const LARGE_PORTION: usize = 512;
/// How many subscribers are looked at before one is written to.
const LOOK_AHEAD: usize = 16;

impl Worker {
    /// Brings out what is new, and gives some of those that lag their turn.
    pub(in crate::subscribe) fn deliver(&mut self) {
        self.rest.take();
        let turn: Vec<Slot> = self.behind.drain(..self.behind.len().min(AT_ONCE)).collect();
        let portion = (PORTION * AT_ONCE / turn.len().max(1)).clamp(PORTION, LARGE_PORTION);
        let mut reads = Vec::with_capacity(turn.len());
        let mut log = self.broker.reading(self.reader);
        let News { latest, head, brink } = log.news(self.seen);
        for slot in turn {
            let Some(subscriber) = self.subscribers.get_mut(slot) else { continue };
            subscriber.is_in_line = false;
            if subscriber.state != State::Behind {
                continue;
            }
            let read = log.read(&mut subscriber.subscription, portion);
            let skips = matches!(read, Read::Fallen) && self.settings.slow == Slow::Skip;
            let gap = skips.then(|| log.skip(&mut subscriber.subscription));
            reads.push((slot, read, gap));
        }
        drop(log);

        match latest {
            Some(Latest { entries, ended }) => {
                self.look_again(&ended);
                self.fan_out(&entries);
            }
            None => self.all_fall_behind(),
        }
        self.seen = head;
        for (slot, read, gap) in reads {
            self.on_read(slot, read, gap);
        }
        if let Some(channels) = self.lagging.look(&mut self.subscribers, brink) {
            self.broker.wait_for(self.reader, channels);
        }
        self.broker.let_on();
    }

    /// Those of whom some have ended read for themselves, up to where they end.
    fn look_again(&mut self, ended: &[Arc<Selection>]) {
        for selection in ended {
            let Some(group) = self.groups.of(selection) else { continue };
            for member in group.live().to_vec() {
                if self.subscribers.get(member).is_some_and(|it| it.subscription.has_ended()) {
                    self.fall_behind(member);
                }
            }
        }
    }

    /// A live subscriber reads for itself next time.
    pub(in crate::subscribe) fn fall_behind(&mut self, slot: Slot) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if subscriber.state == State::Live {
            subscriber.subscription.cursor = self.seen;
            line_up(&mut self.behind, subscriber, slot);
            self.set_state(slot, State::Behind);
        }
    }

    fn all_fall_behind(&mut self) {
        for slot in self.subscribers.keys() {
            self.fall_behind(slot);
        }
    }

    /// Writes what is new to everyone who is live.
    fn fan_out(&mut self, entries: &[Arc<Entry>]) {
        let begun = Instant::now();
        let mut concerned: Vec<(Key<Group>, usize)> = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            for &channel in &entry.channels {
                concerned.extend(self.groups.on(channel).map(|group| (group, number)));
            }
        }
        concerned.sort_unstable();
        // An entry on two channels of a group is one event.
        concerned.dedup();
        for concerned in concerned.chunk_by(|(one, _), (other, _)| one == other) {
            let entries: SmallVec<[_; 8]> = concerned.iter().map(|&(_, number)| &entries[number]).collect();
            self.write_to_group(concerned[0].0, &entries);
        }
        self.rest = Rest::after_round(begun);
    }

    fn write_to_group(&mut self, group: Key<Group>, entries: &[&Arc<Entry>]) {
        let Some(group) = self.groups.get(group) else { return };
        let members: SmallVec<[Slot; 8]> = SmallVec::from_slice(group.live());
        if group.is_limited {
            members.into_iter().for_each(|member| self.fall_behind(member));
            return;
        }
        let pieces = pieces(entries);
        let mut delivered = 0;
        for members in members.chunks(LOOK_AHEAD) {
            for member in self.still_live(members) {
                let Some(subscriber) = self.subscribers.get_mut(member) else { continue };
                match write_pieces(subscriber, &pieces) {
                    Written::All => {
                        subscriber.last_write = self.now;
                        delivered += entries.len() as u64;
                    }
                    Written::Part(_) => self.block(member),
                    Written::Gone => self.end(member, End::ConnectionLost),
                }
            }
        }
        self.metrics.delivered.add(delivered);
    }

    /// Those that are live and still there. Looking at several before the first is written to lets the
    /// processor fetch them side by side; after a write nothing of the next one would be at hand.
    fn still_live(&self, members: &[Slot]) -> SmallVec<[Slot; LOOK_AHEAD]> {
        let is_live = |&member: &Slot| self.subscribers.get(member).is_some_and(|it| it.state == State::Live);
        members.iter().copied().filter(is_live).collect()
    }

    /// Goes on with a subscriber that lagged, after its read.
    fn on_read(&mut self, slot: Slot, read: Read, gap: Option<Gap>) {
        match read {
            Read::Next { entries, cursor, more, over } => {
                self.write_read(slot, entries, cursor, more, over.map(End::from));
            }
            Read::Fallen => match gap {
                Some(gap) => self.tell(slot, &gap),
                None => self.end(slot, End::FellBehind),
            },
        }
    }

    fn write_read(
        &mut self,
        slot: Slot,
        entries: Vec<Arc<Entry>>,
        cursor: u64,
        more: bool,
        over: Option<End>,
    ) {
        let now = self.now;
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let (written, count) = if subscriber.pace().is_some() {
            // What is not written now is kept, here or by the pace.
            subscriber.subscription.cursor = cursor;
            write_paced(subscriber, entries, now, over.is_some(), self.broker.epoch())
        } else {
            let written = subscriber.write_entries(&entries);
            note_taken(subscriber, &entries);
            (written, entries.len())
        };
        if written == Written::All {
            subscriber.subscription.cursor = cursor;
            // What is held back breaks no silence.
            if count > 0 {
                subscriber.last_write = now;
            }
            self.metrics.delivered.add(count as u64);
            if let Some(end) = over {
                return self.end_complete(slot, end);
            }
        }
        // Live means: has everything up to `seen`. With `more` it has not.
        self.after_catching_up(slot, written, if more { State::Behind } else { State::Live });
        self.arm(slot);
    }

    /// Ends the stream of a subscriber that has got everything, as soon as its socket takes the last chunk.
    fn end_complete(&mut self, slot: Slot, end: End) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        match subscriber.write_end() {
            Written::All => self.end(slot, end),
            Written::Part(_) => self.block(slot),
            Written::Gone => self.end(slot, End::ConnectionLost),
        }
    }

    /// Tells a subscriber that it has missed something; it then goes on with what is left.
    fn tell(&mut self, slot: Slot, gap: &Gap) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let event = head::gap_event(gap);
        let bytes = encode::chunk_if(subscriber.is_chunked(), event.as_bytes());
        let written = subscriber.write_or_keep(bytes);
        self.after_catching_up(slot, written, State::Behind);
    }
}
