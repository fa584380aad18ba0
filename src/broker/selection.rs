//! Which channels a subscription is on, and as what. Subscriptions that want the same, and began while
//! their channels were open for the same time, share one selection: its ending is theirs, and fan-out
//! writes the same bytes to all of them.

use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use super::ending::Ending;
use super::settings::Rate;
use crate::channel::Channel;
use crate::slots::Key;

/// What a subscriber is to the others.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Role {
    /// One of those whom the events are meant for: counted, and what it got is seen.
    #[default]
    Listener,
    /// Somebody who only looks on: counted nowhere, and what it got is as unseen as before.
    Onlooker,
}

/// The channels of a subscription.
#[derive(Debug)]
pub struct Selection {
    /// The channels, in the order of their keys.
    pub channels: SmallVec<[Key<Channel>; 1]>,
    /// Each channel's greatest rate, if any of them has one; else empty.
    pub rates: SmallVec<[Option<Rate>; 0]>,
    pub(super) role: Role,
    /// The name of this selection, which no other ever has.
    pub(super) id: Key<Selection>,
    /// The place at which all of its channels were closed.
    pub(super) ending: Ending,
}

impl Selection {
    /// The name of this selection, which no other ever has.
    pub fn id(&self) -> Key<Selection> {
        self.id
    }

    /// Whether those on it are those whom the events are meant for.
    pub fn is_of_listeners(&self) -> bool {
        self.role == Role::Listener
    }

    /// One that nobody is counted on.
    #[cfg(test)]
    pub fn of(channels: &[Key<Channel>], id: Key<Selection>) -> Self {
        let (rates, role, ending) = Default::default();
        Self { channels: channels.into(), rates, role, id, ending }
    }

    fn wants(&self) -> (&[Key<Channel>], &[Option<Rate>], Role) {
        (&self.channels, &self.rates, self.role)
    }
}

/// Two are equal that want the same.
impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.wants() == other.wants()
    }
}

impl Eq for Selection {}

impl Hash for Selection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wants().hash(state);
    }
}
