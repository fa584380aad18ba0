//! Why a stream ended.

use crate::broker::Ended;

/// Why a stream ended; goes into the log and to the backend that wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The client closed its connection.
    ClientLeft,
    /// The connection broke, or the client's machine does not answer any more.
    ConnectionLost,
    /// All its channels were closed, and it got everything.
    Closed,
    /// The history moved past a client that did not keep up.
    FellBehind,
    /// The client took nothing of what waited for it for too long.
    Stalled,
    /// The subject it was accepted for was disconnected.
    Disconnected,
    /// The backend, asked again, did not hand it over again.
    Revoked,
    /// The backend was asked again and did not answer for longer than `recheck_grace`.
    Unconfirmed,
    /// outboard is going down.
    Drained,
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed => Self::Closed,
            Ended::Disconnected => Self::Disconnected,
        }
    }
}

impl End {
    /// The word for logs and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientLeft => "client-left",
            Self::ConnectionLost => "connection-lost",
            Self::Closed => "closed",
            Self::FellBehind => "fell-behind",
            Self::Stalled => "stalled",
            Self::Disconnected => "disconnected",
            Self::Revoked => "revoked",
            Self::Unconfirmed => "unconfirmed",
            Self::Drained => "drained",
        }
    }

    /// Whether the client is still there to be told that its stream is complete.
    pub(super) fn is_ours(self) -> bool {
        !matches!(self, Self::ClientLeft | Self::ConnectionLost | Self::Stalled)
    }
}
