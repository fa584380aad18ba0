//! Where an event stands in the log, and the token that says so on the wire.

use std::fmt;
use std::sync::Arc;

/// A random word fixed when a log is created, so that ids of two logs never mean each other.
///
/// 12 characters of `0-9a-z` from the system's random source: 62 bits. It is not a secret; it only
/// has to differ from one start to the next.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Epoch(Arc<str>);

impl Epoch {
    const LENGTH: usize = 12;

    /// A word that no log had before.
    ///
    /// # Panics
    /// When the system has no source of random bytes; without one there is no safe id.
    pub fn random() -> Self {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system's random source answers");
        let mut number = u128::from_ne_bytes(bytes);
        let word: String = (0..Self::LENGTH)
            .map(|_| {
                let digit = (number % 36) as usize;
                number /= 36;
                char::from(ALPHABET[digit])
            })
            .collect();
        Self(word.into())
    }

    /// The word, for a log that is read back.
    pub fn from_word(word: &str) -> Self {
        Self(word.into())
    }

    /// Whether a text can be such a word, and stand in an id.
    pub fn is_word(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A place in the log: a sequence number, and the epoch in which it counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// Which log.
    pub epoch: Epoch,
    /// The number of the event there; the first is 1. 0 is the place before all events.
    pub sequence: u64,
}

impl Position {
    /// Reads `EPOCH-SEQUENCE`; `None` if `token` is not of that form, as a publisher's own id may be.
    pub fn parse(token: &str) -> Option<Self> {
        let (epoch, sequence) = token.rsplit_once('-')?;
        let plain = Epoch::is_word(epoch)
            && !sequence.is_empty()
            && sequence.bytes().all(|b| b.is_ascii_digit())
            // One spelling per place: `007` is somebody else's id.
            && (sequence == "0" || !sequence.starts_with('0'));
        let sequence = sequence.parse().ok()?;
        plain.then(|| Self { epoch: Epoch::from_word(epoch), sequence })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Piece by piece: it is written twice for each event, and `write!` costs as much again.
        f.write_str(self.epoch.as_str())?;
        f.write_str("-")?;
        f.write_str(itoa::Buffer::new().format(self.sequence))
    }
}

/// The `id:` of an event on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventId {
    /// The event's place in the log, as `EPOCH-SEQUENCE`.
    Position(Position),
    /// The publisher's own.
    Publisher(Box<str>),
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Publisher(id) => f.write_str(id),
        }
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_what_it_wrote() {
        let position = Position { epoch: Epoch::random(), sequence: 1042 };

        assert_eq!(Position::parse(&position.to_string()), Some(position));
    }

    #[test]
    fn other_peoples_ids_are_not_positions() {
        for id in
            ["", "-", "7", "a-", "-7", "a-07", "a b-7", "a--7x", "a-7-", "ä-7", "a-99999999999999999999"]
        {
            assert_eq!(Position::parse(id), None, "{id}");
        }
    }

    #[test]
    fn two_epochs_differ() {
        assert_ne!(Epoch::random(), Epoch::random());
        assert_eq!(Epoch::random().as_str().len(), 12);
    }
}
