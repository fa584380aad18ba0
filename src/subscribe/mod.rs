//! A client's stream: from the decision to hold a client until it leaves.

use std::time::Duration;

use http::{HeaderMap, Version};

use crate::channel::Channel;
use crate::listen::connection::Answer;
use crate::replay::Replay;
use crate::subject::Subject;

/// What becomes of a client that cannot keep up and falls off the end of the history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slow {
    /// Its stream ends; it comes back by itself and is told of the gap.
    #[default]
    Disconnect,
    /// It is told of the gap and goes on with what is left.
    Skip,
}

/// How streams are kept (`[stream]`).
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Silence after which a comment is sent.
    pub keep_alive: Duration,
    /// The reconnect hint in every stream's first bytes; each gets it times 0.5 to 1.5.
    pub retry: Duration,
    /// What becomes of clients that cannot keep up.
    pub slow: Slow,
    /// How long a client may take none of what waits for it.
    pub stall: Duration,
    /// The kernel's send buffer of each stream, in bytes, as asked for with `SO_SNDBUF`.
    pub send_buffer: usize,
    /// The most streams at a time.
    pub max_subscribers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(3),
            slow: Slow::Disconnect,
            stall: Duration::from_secs(30),
            send_buffer: 16 << 10,
            max_subscribers: 20_000,
        }
    }
}

/// What a client is to get.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which channels; at least one, each once.
    pub channels: Vec<Channel>,
    /// Where the client was.
    pub last_event_id: Option<String>,
    /// What it gets first if it does not say.
    pub replay: Replay,
    /// What it was accepted as.
    pub subject: Option<Subject>,
    /// Its own keep-alive.
    pub keep_alive: Option<Duration>,
    /// Its own reconnect hint.
    pub retry: Option<Duration>,
    /// HTTP/1.0 clients get a stream that ends with the connection.
    pub version: Version,
    /// More headers for the response, from a backend.
    pub headers: HeaderMap,
}

/// The engine that holds all clients.
pub struct Streams;

impl Streams {
    /// Decides how `ask` is answered, and counts the client as a subscriber from now on: with a
    /// takeover that becomes its stream; with `204` when all its channels are closed and it has
    /// seen all of them; or, when there is no room, with a `200` that asks it to come back.
    pub fn open(&self, _ask: Ask) -> Answer {
        todo!()
    }
}
