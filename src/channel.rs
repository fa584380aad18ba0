//! Channel names: checked once, where they come in.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest channel name, in bytes.
pub const MAX_NAME: usize = 255;

/// The most channels on which one stream is held, whoever names them.
pub const MAX_PER_STREAM: usize = 32;

/// The name events are published under and subscribers listen on.
///
/// A `Channel` in hand is a valid one: 1 to 255 bytes of UTF-8, none of them able to end a header
/// value, a list or a line. Names arrive from URLs, headers and the publish socket, and end up in
/// store keys and log lines, so the check happens once, where they come in.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Channel(Arc<str>);

/// Why a text is not a channel name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidChannel {
    /// The name has no bytes.
    #[error("a channel name cannot be empty")]
    Empty,
    /// The name is longer than [`MAX_NAME`]; the length it has.
    #[error("a channel name has at most {MAX_NAME} bytes, this one has {0}")]
    TooLong(usize),
    /// It begins like the names of the channels that outboard fills itself.
    #[error("a channel whose name begins with `@` is outboard's own: choose another name")]
    Own,
    /// A character that could end a header value, a list or a line.
    #[error("a channel name cannot contain {0:?}")]
    Character(char),
}

impl Channel {
    /// Checks a name that somebody else has chosen, and takes it over.
    ///
    /// # Errors
    /// When the name is empty, too long, or holds a control character, white space, a comma,
    /// a semicolon, a double quote or a brace; or begins with `@`, as outboard's own do.
    pub fn parse(name: &str) -> Result<Self, InvalidChannel> {
        if name.starts_with('@') { Err(InvalidChannel::Own) } else { Self::parse_any(name) }
    }

    /// The same for names that may be outboard's own: those of a log, and what operators look at.
    ///
    /// # Errors
    /// As [`Channel::parse`], but for the `@`.
    pub fn parse_any(name: &str) -> Result<Self, InvalidChannel> {
        if name.is_empty() {
            return Err(InvalidChannel::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(InvalidChannel::TooLong(name.len()));
        }
        match name.chars().find(|&c| is_forbidden(c)) {
            Some(c) => Err(InvalidChannel::Character(c)),
            None => Ok(Self(name.into())),
        }
    }

    /// Whether it is one that outboard fills itself, to which nobody else publishes.
    pub fn is_own(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_forbidden(c: char) -> bool {
    // First what nearly every character is.
    !c.is_ascii_alphanumeric() && is_delimiter(c)
}

fn is_delimiter(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, ',' | ';' | '"' | '{' | '}')
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Channel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_people_use_are_channels() {
        for name in ["job-42", "user:7", "ticker.EUR/USD", "Nachrichten-äöü", "聊天", "a"] {
            assert_eq!(Channel::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_could_end_a_header_or_a_line_is_refused() {
        for c in
            [' ', '\t', '\r', '\n', '\0', ',', ';', '"', '{', '}', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}']
        {
            assert_eq!(Channel::parse(&format!("a{c}b")), Err(InvalidChannel::Character(c)));
        }
    }

    #[test]
    fn nobody_can_name_what_is_outboards_own() {
        assert_eq!(Channel::parse("@share/x"), Err(InvalidChannel::Own));
        assert!(Channel::parse_any("@share/x").unwrap().is_own());
        assert!(!Channel::parse("user@example").unwrap().is_own());
    }

    #[test]
    fn a_name_has_1_to_255_bytes() {
        assert_eq!(Channel::parse(""), Err(InvalidChannel::Empty));
        assert!(Channel::parse(&"a".repeat(255)).is_ok());
        assert_eq!(Channel::parse(&"a".repeat(256)), Err(InvalidChannel::TooLong(256)));
        assert_eq!(Channel::parse(&"ä".repeat(128)), Err(InvalidChannel::TooLong(256)));
    }
}
