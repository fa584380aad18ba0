//! Which channels a subscription is on. Subscriptions on the same channels share one selection,
//! which is also how fan-out writes the same bytes to all of them.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::settings::Rate;
use crate::slots::{Key, Slots};

/// The channels of a subscription.
#[derive(Debug, Eq, Hash, PartialEq)]
pub struct Selection {
    /// The channels, in the order of their keys.
    pub channels: SmallVec<[Key; 1]>,
    /// Each channel's greatest rate, if any of them has one; else empty.
    pub rates: SmallVec<[Option<Rate>; 0]>,
}

/// The name of a selection while somebody is on it.
pub(super) type SelectionId = Key;

/// The selections in use.
#[derive(Debug)]
pub(super) struct Selections {
    slots: Slots<Used>,
    ids: HashMap<Arc<Selection>, SelectionId>,
}

#[derive(Debug)]
struct Used {
    selection: Arc<Selection>,
    /// Subscriptions that use it.
    users: u32,
    /// Those of them that still count as subscribers.
    subscribers: u32,
}

impl Selections {
    pub(super) fn new() -> Self {
        Self { slots: Slots::default(), ids: HashMap::new() }
    }

    /// Counts one more subscriber; also tells whether it is the first, and the selection's name.
    pub(super) fn enter(&mut self, selection: Selection) -> (Arc<Selection>, SelectionId, bool) {
        if let Some((selection, &id)) = self.ids.get_key_value(&selection) {
            if let Some(used) = self.slots.get_mut(id) {
                used.users += 1;
                used.subscribers += 1;
            }
            return (Arc::clone(selection), id, false);
        }
        let selection = Arc::new(selection);
        let id = self.slots.insert(Used { selection: Arc::clone(&selection), users: 1, subscribers: 1 });
        self.ids.insert(Arc::clone(&selection), id);
        (selection, id, true)
    }

    /// Counts one subscriber less, whose subscription is still there.
    pub(super) fn uncount(&mut self, selection: &Selection) {
        if let Some(used) = self.ids.get(selection).and_then(|&id| self.slots.get_mut(id)) {
            used.subscribers = used.subscribers.saturating_sub(1);
        }
    }

    /// Lets a subscription go; the selection's name if that was the last.
    pub(super) fn leave(&mut self, selection: &Selection) -> Option<SelectionId> {
        let id = *self.ids.get(selection)?;
        let used = self.slots.get_mut(id)?;
        used.users -= 1;
        if used.users > 0 {
            return None;
        }
        self.ids.remove(selection);
        self.slots.remove(id);
        Some(id)
    }

    /// How many are on the selection, and on which channels.
    pub(super) fn get(&self, id: SelectionId) -> Option<(u32, &Selection)> {
        self.slots.get(id).map(|used| (used.subscribers, &*used.selection))
    }
}
