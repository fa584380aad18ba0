//! Things of which an operator is told once, and not of more than so many: others choose how many there are.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// What has been told.
#[derive(Debug)]
pub struct Once<T> {
    told: Mutex<HashSet<T>>,
    most: usize,
}

/// Whether a thing is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// It has been told, or too many others have.
    Known,
    /// It is.
    New,
    /// It is, with the word that it is the last one.
    Last,
}

impl<T: Eq + Hash> Once<T> {
    /// Tells of so many things, and once that there are more.
    pub fn at_most(most: usize) -> Self {
        Self { told: Mutex::default(), most }
    }

    /// Whether to tell of this one.
    pub fn note(&self, thing: T) -> News {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > self.most || !told.insert(thing) {
            return News::Known;
        }
        if told.len() > self.most { News::Last } else { News::New }
    }
}

#[cfg(test)]
mod tests {
    use super::News::{Known, Last, New};
    use super::*;

    #[test]
    fn each_thing_is_told_once_and_not_more_than_so_many() {
        let once = Once::at_most(2);

        let told: Vec<_> = [1, 1, 2, 3, 2, 4, 3].into_iter().map(|thing| once.note(thing)).collect();

        assert_eq!(told, [New, Known, New, Last, Known, Known, Known]);
    }
}
