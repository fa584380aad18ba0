//! What a client gets first when it does not say where it was.

use std::str::FromStr;

/// The replay policy for a client without a `Last-Event-ID`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Replay {
    /// Events that no subscriber has got yet, so that nothing is lost between a page and its
    /// `EventSource`.
    #[default]
    Unseen,
    /// Nothing of the past.
    Live,
    /// Everything the history holds.
    All,
    /// The newest so many.
    Newest(usize),
}

/// Why a text is not a replay policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a replay policy is `unseen`, `live`, `all` or a number, not `{0}`")]
pub struct InvalidReplay(String);

impl FromStr for Replay {
    type Err = InvalidReplay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "unseen" => Ok(Self::Unseen),
            "live" => Ok(Self::Live),
            "all" => Ok(Self::All),
            number if number.bytes().all(|b| b.is_ascii_digit()) => {
                number.parse().map(Self::Newest).map_err(|_| InvalidReplay(text.into()))
            }
            _ => Err(InvalidReplay(text.into())),
        }
    }
}
