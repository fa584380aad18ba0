//! Handoff: what a backend's answer asks for in its `Outboard-*` headers (PROTOCOL 4.1).

use std::time::Duration;

use http::HeaderMap;

use crate::channel::Channel;
use crate::replay::Replay;
use crate::subject::Subject;

/// What a backend says about a client that it hands over.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Handoff {
    /// The channels to hold the client on. Empty in the answer to an `auth` request that leaves the
    /// choice to the route.
    pub channels: Vec<Channel>,
    /// What a client without a `Last-Event-ID` gets first.
    pub replay: Option<Replay>,
    /// The name under which the connection can be ended.
    pub subject: Option<Subject>,
    /// How often to ask again.
    pub recheck: Option<Duration>,
    /// The path that wants to hear that the client has left.
    pub gone: Option<String>,
    /// The reconnect hint.
    pub retry: Option<Duration>,
    /// The silence after which a comment is sent.
    pub keep_alive: Option<Duration>,
}

/// What is wrong with a backend's `Outboard-*` headers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("header `{header}: {value}` {reason}")]
pub struct InvalidHandoff {
    /// The header's name.
    pub header: String,
    /// Its value, made printable.
    pub value: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

/// Takes every `Outboard-*` header out of `headers` and reads them.
///
/// `None` when there was none. Unknown `Outboard-*` names are an error that suggests the nearest.
///
/// # Errors
/// When a header has a value it cannot have; all of them are removed all the same.
pub fn take(_headers: &mut HeaderMap) -> Result<Option<Handoff>, InvalidHandoff> {
    todo!()
}
