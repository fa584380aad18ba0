//! Who is on which channels, among the subscribers of one fan-out thread.
//!
//! Subscribers on the same channels form a group: what is new for one is new for all of them, so
//! its bytes are put together once.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::subscriber::Slot;
use crate::broker::Selection;
use crate::slots::{Key, Slots};

/// Where a group is kept.
pub(super) type GroupId = Key;

/// The subscribers on the same channels.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) selection: Arc<Selection>,
    /// Whether its members are limited in what they get in a time: of the selection, which lies elsewhere, a
    /// publish to a group needs no more.
    pub(super) is_limited: bool,
    /// Within the group as long as they are few: many clients have a channel of their own.
    pub(super) members: SmallVec<[Slot; 2]>,
}

/// The groups, and which of them a channel concerns.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Slots<Group>,
    by_selection: HashMap<Arc<Selection>, GroupId>,
    by_channel: HashMap<Key, SmallVec<[GroupId; 2]>>,
}

impl Groups {
    /// Puts a subscriber into the group of its selection: the group, and its place there.
    pub(super) fn enter(&mut self, selection: &Arc<Selection>, member: Slot) -> (GroupId, u32) {
        if let Some(&id) = self.by_selection.get(selection)
            && let Some(group) = self.groups.get_mut(id)
        {
            group.members.push(member);
            return (id, (group.members.len() - 1) as u32);
        }
        (self.found(selection, member), 0)
    }

    fn found(&mut self, selection: &Arc<Selection>, member: Slot) -> GroupId {
        let is_limited = !selection.rates.is_empty();
        let group = Group { selection: Arc::clone(selection), is_limited, members: smallvec![member] };
        let id = self.groups.insert(group);
        self.by_selection.insert(Arc::clone(selection), id);
        for &channel in &selection.channels {
            self.by_channel.entry(channel).or_default().push(id);
        }
        id
    }

    /// Takes the subscriber at `place` out. The member that now has its place, if one moved.
    pub(super) fn leave(&mut self, id: GroupId, place: u32) -> Option<Slot> {
        let group = self.groups.get_mut(id)?;
        group.members.swap_remove(place as usize);
        if group.members.is_empty() {
            self.dissolve(id);
            return None;
        }
        group.members.get(place as usize).copied()
    }

    fn dissolve(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(id) else { return };
        self.by_selection.remove(&group.selection);
        for channel in &group.selection.channels {
            if let Some(groups) = self.by_channel.get_mut(channel) {
                groups.retain(|other| *other != id);
                if groups.is_empty() {
                    self.by_channel.remove(channel);
                }
            }
        }
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The groups that a channel concerns.
    pub(super) fn on(&self, channel: Key) -> &[GroupId] {
        self.by_channel.get(&channel).map_or(&[], |groups| groups)
    }
}
