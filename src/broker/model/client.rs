//! What a client is owed, and what it may not be given.

use std::collections::BTreeMap;

use super::Verdict;
use super::plain::{Claim, Model};
use super::step::Start;
use crate::broker::{Role, Subscription};

/// What a client says when it comes back.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Nothing,
    Position { epoch: usize, number: u64 },
    Own(u8),
}

impl Seen {
    /// The same as where to begin, in a log that is in its `epoch`th epoch.
    pub(super) fn as_start(&self, epoch: usize) -> Start {
        match *self {
            Self::Nothing => Start::Unseen,
            Self::Position { epoch: then, number } => Start::After { epochs_ago: epoch - then, number },
            Self::Own(id) => Start::Own(id),
        }
    }
}

/// A client that is connected.
pub(super) struct Client {
    pub(super) subscription: Subscription,
    pub(super) channels: Vec<usize>,
    pub(super) role: Role,
    pub(super) is_anna: bool,
    /// Whether anybody reads for it yet.
    pub(super) is_adopted: bool,
    pub(super) seen: Seen,
    /// The events it waits for.
    pub(super) owed: BTreeMap<u64, Claim>,
    /// The newest it has got on this connection.
    pub(super) got: u64,
    /// The place at which it ends, once it has been counted out.
    pub(super) until: Option<u64>,
}

impl Client {
    /// Whether what comes on a channel is for it.
    pub(super) fn is_on(&self, channel: usize) -> bool {
        self.until.is_none() && self.channels.contains(&channel)
    }

    pub(super) fn is_on_any(&self, channels: &[usize]) -> bool {
        channels.iter().any(|&channel| self.is_on(channel))
    }

    /// Whether it counts there.
    pub(super) fn listens_on(&self, channel: usize) -> bool {
        self.role == Role::Listener && self.is_on(channel)
    }

    pub(super) fn listens_on_any(&self, channels: &[usize]) -> bool {
        channels.iter().any(|&channel| self.listens_on(channel))
    }

    /// Checks what it is given next; `more`: whether it will be given more without waiting.
    pub(super) fn get(&mut self, numbers: &[u64], more: bool, model: &Model) -> Verdict {
        for (index, &number) in numbers.iter().enumerate() {
            ensure!(!numbers[..index].contains(&number), "duplicate: {number} comes twice in {numbers:?}");
            let earlier = numbers[index..].iter().find(|&&later| later < number);
            ensure!(earlier.is_none(), "reorder: {earlier:?} comes after {number} in {numbers:?}");
            ensure!(number > self.got, "duplicate: {number} although it has got up to {}", self.got);
            ensure!(self.owed.contains_key(&number), "phantom: {number} is not for it: {:?}", self.owed);
            let rest = self.owed.split_off(&number);
            let passed = std::mem::replace(&mut self.owed, rest);
            self.misses_nothing_of(&passed, model)?;
            self.owed.remove(&number);
            self.got = number;
        }
        if more { Ok(()) } else { self.misses_nothing_of(&self.owed, model) }
    }

    fn misses_nothing_of(&self, passed: &BTreeMap<u64, Claim>, model: &Model) -> Verdict {
        let missed = passed.iter().find(|&(&number, claim)| match claim {
            Claim::Sure => true,
            Claim::AsState => !model.is_replaced(number),
            Claim::Perhaps => false,
        });
        ensure!(missed.is_none(), "hole: {missed:?} was passed over, after {}", self.got);
        Ok(())
    }
}
