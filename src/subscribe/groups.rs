//! Who is on which channels, among the subscribers of one fan-out thread.
//!
//! Subscribers on the same channels form a group: what is new for one is new for all of them, so
//! its bytes are put together once.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::broker::{Key, Selection};

/// The number of a group.
pub(super) type GroupId = u32;

/// The subscribers on the same channels, by their numbers.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) selection: Arc<Selection>,
    pub(super) members: Vec<u32>,
}

/// The groups, and which of them a channel concerns.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<GroupId>,
    by_selection: HashMap<Arc<Selection>, GroupId>,
    by_channel: HashMap<Key, SmallVec<[GroupId; 2]>>,
}

impl Groups {
    /// Puts a subscriber into the group of its selection: the group, and its place there.
    pub(super) fn enter(&mut self, selection: &Arc<Selection>, member: u32) -> (GroupId, u32) {
        let id = match self.by_selection.get(selection) {
            Some(&id) => id,
            None => self.found(selection),
        };
        let Some(group) = &mut self.groups[id as usize] else { unreachable!("a group by name exists") };
        group.members.push(member);
        (id, (group.members.len() - 1) as u32)
    }

    fn found(&mut self, selection: &Arc<Selection>) -> GroupId {
        let group = Group { selection: Arc::clone(selection), members: Vec::new() };
        let id = match self.free.pop() {
            Some(id) => {
                self.groups[id as usize] = Some(group);
                id
            }
            None => {
                self.groups.push(Some(group));
                (self.groups.len() - 1) as GroupId
            }
        };
        self.by_selection.insert(Arc::clone(selection), id);
        for &channel in &selection.channels {
            self.by_channel.entry(channel).or_default().push(id);
        }
        id
    }

    /// Takes the subscriber at `place` out. The member that now has its place, if one moved.
    pub(super) fn leave(&mut self, id: GroupId, place: u32) -> Option<u32> {
        let group = self.groups.get_mut(id as usize)?.as_mut()?;
        group.members.swap_remove(place as usize);
        if group.members.is_empty() {
            self.dissolve(id);
            return None;
        }
        group.members.get(place as usize).copied()
    }

    fn dissolve(&mut self, id: GroupId) {
        let Some(group) = self.groups[id as usize].take() else { return };
        self.free.push(id);
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
        self.groups.get(id as usize)?.as_ref()
    }

    /// The groups that a channel concerns.
    pub(super) fn on(&self, channel: Key) -> &[GroupId] {
        self.by_channel.get(&channel).map_or(&[], |groups| groups)
    }
}
