//! What is worth saying in the log, but only once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The most that is remembered; what comes after that is not said.
const MOST: usize = 1000;

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<HashSet<Box<str>>>);

impl Once {
    /// Whether it is to be said: it has not been, and there has not been too much of the kind.
    pub(super) fn is_first(&self, what: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < MOST && !said.contains(what) && said.insert(what.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_not_everything_is_remembered() {
        let once = Once::default();

        assert!(once.is_first("a") && once.is_first("b"));
        assert!(!once.is_first("a"));
        let said = (0..2 * MOST).filter(|number| once.is_first(&number.to_string())).count();
        assert_eq!(said, MOST - 2);
    }
}
