//! Who is on which channels, among the subscribers of one fan-out thread.
//!
//! Subscribers that share a selection form a group: what is new for one is new for all of them, so
//! its bytes are put together once. The live ones stand first in it, so that a publish does not even
//! look at the others.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Slot;
use crate::broker::Selection;
use crate::channel::Channel;
use crate::slots::{Key, Listed, Slots};

/// The subscribers on the same channels.
#[derive(Debug)]
pub(in crate::subscribe) struct Group {
    pub(in crate::subscribe) selection: Arc<Selection>,
    /// Whether any of its channels has a `max_rate`. Nothing else of the selection is needed to publish, so
    /// that a publish need not fetch it from where it lies.
    pub(in crate::subscribe) is_limited: bool,
    /// The live ones first. Kept in place as long as they are few: many clients have a channel of their own.
    pub(in crate::subscribe) members: SmallVec<[Slot; 2]>,
    /// How many of them are live.
    live: usize,
}

impl Group {
    /// Those that get what is new at once.
    pub(in crate::subscribe) fn live(&self) -> &[Slot] {
        &self.members[..self.live]
    }
}

/// The groups, and which of them a channel concerns.
#[derive(Debug, Default)]
pub(in crate::subscribe) struct Groups {
    groups: Slots<Group>,
    by_selection: HashMap<Key<Selection>, Key<Group>>,
    by_channel: HashMap<Key<Channel>, Listed<Group>>,
}

impl Groups {
    /// Puts a subscriber that is not live yet into the group of its selection: the group, and its place there.
    pub(in crate::subscribe) fn enter(
        &mut self,
        selection: &Arc<Selection>,
        member: Slot,
    ) -> (Key<Group>, u32) {
        if let Some(&id) = self.by_selection.get(&selection.id())
            && let Some(group) = self.groups.get_mut(id)
        {
            group.members.push(member);
            return (id, (group.members.len() - 1) as u32);
        }
        (self.form(selection, member), 0)
    }

    fn form(&mut self, selection: &Arc<Selection>, member: Slot) -> Key<Group> {
        let is_limited = !selection.rates.is_empty();
        let group =
            Group { selection: Arc::clone(selection), is_limited, members: smallvec![member], live: 0 };
        let id = self.groups.insert(group);
        self.by_selection.insert(selection.id(), id);
        for &channel in &selection.channels {
            self.by_channel.entry(channel).or_default().push(id);
        }
        id
    }

    /// Makes the member at `place` live, or no longer live; it must have been the other before. It changes
    /// places with a neighbour of the border between the two: its new place, and who has its old one now.
    pub(in crate::subscribe) fn set_live(
        &mut self,
        id: Key<Group>,
        place: u32,
        is_live: bool,
    ) -> Option<(u32, Slot)> {
        let group = self.groups.get_mut(id)?;
        let border = if is_live { group.live } else { group.live - 1 };
        group.members.swap(place as usize, border);
        group.live = if is_live { group.live + 1 } else { border };
        Some((border as u32, group.members[place as usize]))
    }

    /// Takes out the subscriber at `place`, which must not be live. The member that now has its place, if
    /// one moved.
    pub(in crate::subscribe) fn leave(&mut self, id: Key<Group>, place: u32) -> Option<Slot> {
        let group = self.groups.get_mut(id)?;
        group.members.swap_remove(place as usize);
        if group.members.is_empty() {
            self.dissolve(id);
            return None;
        }
        group.members.get(place as usize).copied()
    }

    fn dissolve(&mut self, id: Key<Group>) {
        let Some(group) = self.groups.remove(id) else { return };
        self.by_selection.remove(&group.selection.id());
        for channel in &group.selection.channels {
            if let Some(groups) = self.by_channel.get_mut(channel) {
                groups.note_gone(|id| self.groups.get(id).is_some());
                if groups.is_empty() {
                    self.by_channel.remove(channel);
                }
            }
        }
    }

    pub(in crate::subscribe) fn get(&self, id: Key<Group>) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The groups that a channel concerns, and some that are gone.
    pub(in crate::subscribe) fn on(&self, channel: Key<Channel>) -> impl Iterator<Item = Key<Group>> {
        self.by_channel.get(&channel).into_iter().flat_map(Listed::iter)
    }

    /// The group of those who share a selection.
    pub(in crate::subscribe) fn of(&self, selection: &Selection) -> Option<&Group> {
        self.groups.get(*self.by_selection.get(&selection.id())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscribe::fanout::Client;

    /// Where keys come from.
    #[derive(Default)]
    struct Keys {
        channels: Slots<(), Channel>,
        selections: Slots<(), Selection>,
        members: Slots<(), Client>,
    }

    impl Keys {
        fn selection(&mut self, channels: &[Key<Channel>]) -> Arc<Selection> {
            Arc::new(Selection::of(channels, self.selections.insert(())))
        }
    }

    /// A group of five, and the place of each as a worker keeps it.
    struct Crowd {
        groups: Groups,
        id: Key<Group>,
        places: Vec<(Slot, u32)>,
    }

    impl Crowd {
        fn new() -> Self {
            let (mut groups, mut keys) = (Groups::default(), Keys::default());
            let channel = keys.channels.insert(());
            let selection = keys.selection(&[channel]);
            let members: Vec<Slot> = (0..5).map(|_| keys.members.insert(())).collect();
            let entered = members.iter().map(|&member| (member, groups.enter(&selection, member)));
            let entered: Vec<_> = entered.collect();
            let places = entered.iter().map(|&(member, (_, place))| (member, place)).collect();
            Self { groups, id: entered[0].1.0, places }
        }

        fn move_to(&mut self, member: Slot, place: u32) {
            self.places.iter_mut().filter(|(slot, _)| *slot == member).for_each(|it| it.1 = place);
        }

        fn set_live(&mut self, number: usize, is_live: bool) {
            let (member, place) = self.places[number];
            let (new, other) = self.groups.set_live(self.id, place, is_live).unwrap();
            self.move_to(other, place);
            self.move_to(member, new);
        }

        fn live(&self) -> Vec<usize> {
            let group = self.groups.get(self.id).unwrap();
            for &(member, place) in &self.places {
                assert_eq!(group.members[place as usize], member, "each member is where it is said to be");
            }
            let number = |slot: &Slot| self.places.iter().position(|(member, _)| member == slot).unwrap();
            let mut live: Vec<usize> = group.live().iter().map(number).collect();
            live.sort_unstable();
            live
        }
    }

    #[test]
    fn the_live_ones_stand_first_in_whatever_order_they_come_and_go() {
        let mut crowd = Crowd::new();
        assert_eq!(crowd.live(), [0; 0]);

        for (number, is_live, live) in [
            (3, true, &[3][..]),
            (0, true, &[0, 3]),
            (4, true, &[0, 3, 4]),
            (3, false, &[0, 4]),
            (1, true, &[0, 1, 4]),
            (4, false, &[0, 1]),
            (0, false, &[1]),
            (1, false, &[]),
        ] {
            crowd.set_live(number, is_live);

            assert_eq!(crowd.live(), live);
        }
    }

    #[test]
    fn leaving_is_linear_where_each_has_a_group_of_its_own_on_a_common_channel() {
        let (mut groups, mut keys) = (Groups::default(), Keys::default());
        let common = keys.channels.insert(());
        let all: Vec<_> = (0..1000)
            .map(|_| {
                let own = keys.channels.insert(());
                groups.enter(&keys.selection(&[common, own]), keys.members.insert(()))
            })
            .collect();

        for (left, (group, place)) in (0..all.len()).rev().zip(all) {
            assert_eq!(groups.leave(group, place), None);

            assert_eq!(groups.on(common).filter(|&id| groups.get(id).is_some()).count(), left);
            assert!(groups.on(common).count() <= 2 * left, "what is gone is swept out now and then");
        }
        assert!(groups.by_channel.is_empty());
    }

    #[test]
    fn the_last_takes_the_place_of_one_that_leaves_and_the_live_ones_stay_first() {
        let mut crowd = Crowd::new();
        crowd.set_live(4, true);
        crowd.set_live(2, true);
        let (_, place) = crowd.places.remove(1);

        let moved = crowd.groups.leave(crowd.id, place).unwrap();
        crowd.move_to(moved, place);

        // Who was the third and the fifth are now the second and the fourth.
        assert_eq!(crowd.live(), [1, 3]);
    }
}
