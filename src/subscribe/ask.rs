//! What is asked for a client: what it is to get, and what was promised about it.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Version};

use super::promises::Promises;
use crate::body::Body;
use crate::broker::Role;
use crate::channel::Channel;
use crate::replay::Replay;
use crate::subject::Subject;

/// What a client is to get.
#[derive(Debug)]
pub struct Ask {
    /// Which channels; at least one.
    pub channels: Vec<Channel>,
    /// Where the client was.
    pub last_event_id: Option<String>,
    /// What it gets first if it does not say.
    pub replay: Replay,
    /// Whether it counts.
    pub role: Role,
    /// What it was accepted as.
    pub subject: Option<Subject>,
    /// [`Streams::latest_disconnect`](super::Streams::latest_disconnect) right before a backend was asked
    /// whether it may listen, if one was: if the subject was disconnected after that, the answer lets nobody
    /// in any more.
    pub asked_at: Option<u64>,
    /// Its own keep-alive.
    pub keep_alive: Option<Duration>,
    /// Its own reconnect hint.
    pub retry: Option<Duration>,
    /// How many bytes of a comment come first.
    pub pad: usize,
    /// HTTP/1.0 clients get a stream that ends with the connection.
    pub version: Version,
    /// More headers for the response, from a backend.
    pub headers: HeaderMap,
    /// An event stream's text that goes first, from a backend.
    pub initial: Option<Initial>,
    /// What was promised about it.
    pub promises: Option<Promises>,
}

impl Ask {
    /// The plainest: these channels, by the defaults.
    pub fn new(channels: Vec<Channel>, version: Version) -> Self {
        Self {
            channels,
            last_event_id: None,
            replay: Replay::default(),
            role: Role::Listener,
            subject: None,
            asked_at: None,
            keep_alive: None,
            retry: None,
            pad: 0,
            version,
            headers: HeaderMap::new(),
            initial: None,
            promises: None,
        }
    }
}

/// The body of the answer that handed a client over.
pub struct Initial(pub Body);

impl fmt::Debug for Initial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initial")
    }
}
