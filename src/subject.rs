//! The name under which subscribers can be ended together.

use std::fmt;
use std::sync::Arc;

/// A user, a login session, or whatever else a backend accepted a client as.
///
/// A `Subject` in hand is 1 to 255 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subject(Arc<str>);

/// Why a text is not a subject.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a subject is 1 to 255 bytes without control characters")]
pub struct InvalidSubject;

impl Subject {
    /// Checks `name` and takes it over.
    ///
    /// # Errors
    /// When the name is empty, longer than 255 bytes, or holds a control character.
    pub fn parse(name: &str) -> Result<Self, InvalidSubject> {
        let plain = !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control);
        plain.then(|| Self(name.into())).ok_or(InvalidSubject)
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
