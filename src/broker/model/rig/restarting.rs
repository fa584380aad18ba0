//! Restarts and kills.

use super::*;
use crate::broker::opening::Home;

impl Rig<'_> {
    /// Waits until everything that was published is written.
    pub(super) fn settle(&self) {
        if let Home::Open(engine) = &*self.broker.home.load_full() {
            engine.flush();
        }
    }

    /// The disk as a kill would leave it now.
    pub(super) fn copy(&self) -> TempDir {
        self.settle();
        // Whoever would write now has to wait for the log.
        let _still = self.broker.lock();
        let copy = folder();
        for file in ["log.redb", "log.mark"] {
            let from = self.folder.as_ref().unwrap().path().join(file);
            fs::copy(from, copy.path().join(file)).unwrap();
        }
        copy
    }

    pub(super) fn restart(&mut self, killed: bool, stored: bool) -> Verdict {
        while !self.clients.is_empty() {
            self.cut(0);
        }
        let (now, time, head) = (self.model.now, self.model.time, self.model.head);
        let rules = self.model.rules.clone();
        let was_stored = self.stored;
        self.stored = stored;
        let left = if self.folder.is_some() && killed {
            let synced = self.synced.take().filter(|_| !was_stored);
            Some(synced.unwrap_or_else(|| (self.copy(), self.model.clone())))
        } else {
            None
        };
        self.synced = None;
        // A new broker, so that the last one lets go of its file.
        self.broker.close();
        self.broker = Broker::new(Settings::default());
        if let Some((folder, model)) = left {
            (self.folder, self.model) = (Some(folder), model);
            self.model.rules = rules;
        }
        let is_new = self.folder.is_none() || (killed && !was_stored);
        self.open();
        let epoch = self.broker.epoch().as_str().to_owned();
        ensure!(is_new != (self.epochs.last() == Some(&epoch)), "epoch: {epoch} after {:?}", self.epochs);
        if is_new {
            ensure!(!self.epochs.contains(&epoch), "epoch: {epoch} comes back");
            self.epochs.push(epoch);
        }
        self.opened_at = self.broker.head().sequence;
        self.looked = self.opened_at;
        if self.folder.is_none() {
            self.tally.restarts += 1;
            self.model = Model::new(self.model.rules.clone(), now, time);
            self.known.clear();
            return Ok(());
        }
        *(if killed { &mut self.tally.kills } else { &mut self.tally.disk_restarts }) += 1;
        self.model.restart(now, time);
        self.take_over(killed, is_new, head)
    }

    /// Checks what a restart has left, and goes on from there.
    pub(super) fn take_over(&mut self, killed: bool, is_new: bool, newest: u64) -> Verdict {
        let channels = self.broker.channels(None, None, 2 * CHANNELS).len();
        self.most_channels = self.history.max_channels.max(channels);
        let head = self.broker.head().sequence;
        let most = if is_new { newest } else { self.model.head };
        ensure!((self.model.head..=most).contains(&head), "sequence: {head} after {}", self.model.head);
        self.model.head = head;
        let held: Vec<_> = (0..CHANNELS).map(|channel| self.held(channel)).collect();
        let back = |channel: usize, number: &&u64| !self.model.held[channel].contains(number);
        let back: Vec<Vec<u64>> = (0..CHANNELS)
            .map(|channel| held[channel].iter().filter(|number| back(channel, number)).copied().collect())
            .collect();
        let newest_back = back.iter().flatten().max().copied().unwrap_or(0).max(self.may_have_been_back());
        for channel in 0..CHANNELS {
            for &number in &self.model.held[channel] {
                let is_there = held[channel].contains(&number) || number <= newest_back;
                // A known limit: whether a state that came with an event of several channels was replaced in
                // a channel that was then forgotten, or is the last one, the disk does not know.
                let several = self.model.events[&number].sent.channels.len() > 1;
                let is_unsure = channel == STATE && several && self.model.has_forgotten();
                ensure!(is_there || is_unsure, "lost: event {number} of channel {channel}: {held:?}");
            }
            for &number in &back[channel] {
                let is_of_it = self.model.on(channel).any(|event| event == number);
                ensure!(is_of_it, "phantom: event {number} in channel {channel}");
                // What is too old stays behind something younger, which may be back.
                let may_be_back = |&older: &u64| older <= number && self.model.may_be_back(older);
                let is_right = killed || back[channel].iter().any(may_be_back);
                ensure!(is_right, "phantom: {number} is back in {channel}");
                let is_old = channel == STATE && self.model.on(STATE).any(|newer| newer > number);
                ensure!(!is_old, "phantom: the state of event {number} is back");
            }
        }
        for (channel, held) in held.into_iter().enumerate() {
            // Of a channel that is there for an event of several the disk does not know whether it was
            // forgotten.
            if held.iter().any(|number| self.model.events[number].sent.channels.len() > 1) {
                self.model.begin(channel);
            }
            self.model.adopt(channel, held);
            if self.ended_together {
                self.model.seen[channel] = 0;
            }
            if killed {
                // What clients were handed was not written yet; they may be handed it again.
                self.model.seen[channel] = 0;
                let is_back = self.broker.channel(&named(channel)).is_some_and(|state| state.closed);
                self.model.closed[channel] |= is_back && self.model.was_closed[channel];
            }
        }
        Ok(())
    }

    /// The newest event that may have been back and gone again, as the total was too much with it: one that
    /// is still on disk for another of its channels.
    fn may_have_been_back(&self) -> u64 {
        let is_of_several = |number: &&u64| self.model.events[*number].sent.channels.len() > 1;
        let newest = self.model.held.iter().flatten().filter(is_of_several).max();
        if self.model.rules.total < usize::MAX { newest.copied().unwrap_or(0) } else { 0 }
    }
}
