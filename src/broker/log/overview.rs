//! What there is to be read about channels.

use std::sync::Arc;

use super::Log;
use crate::broker::entry::Entry;
use crate::broker::moment::Moment;
use crate::broker::publication::ChannelState;
use crate::channel::Channel;
use crate::slots::Key;

impl Log {
    /// What there is to tell of a channel.
    pub(in crate::broker) fn state(&mut self, key: Key<Channel>, now: Moment) -> Option<ChannelState> {
        self.refresh(key, now);
        let record = self.records.get(key)?;
        Some(ChannelState {
            channel: record.name.clone(),
            subscribers: record.attendance.listeners(),
            events: record.len(),
            bytes: record.bytes(),
            oldest: record.oldest().map(|entry| self.id(entry)),
            newest: record.newest().map(|entry| self.id(entry)),
            closed: record.closed,
        })
    }

    /// At most `limit` channels behind this name, in the order of their names.
    pub(in crate::broker) fn names_after(&self, after: Option<&str>, limit: usize) -> Vec<Channel> {
        self.names.after(after).map(|(name, _)| name.clone()).take(limit).collect()
    }

    /// What is still to be read of a channel.
    pub(in crate::broker) fn history(
        &mut self,
        key: Key<Channel>,
        after: Option<&str>,
        limit: usize,
        now: Moment,
    ) -> Vec<Arc<Entry>> {
        self.refresh(key, now);
        let Some(record) = self.records.get(key) else { return Vec::new() };
        let from = after.and_then(|id| self.place(id, &[key]).ok()).unwrap_or(0);
        record.after(from).take(limit).cloned().collect()
    }
}
