//! What is asked for a client: what it is to get, and who else has a say in it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{HeaderMap, Version};

use super::end::End;
use crate::body::Body;
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
    /// An event stream's text that goes first, from a backend.
    pub initial: Option<Initial>,
    /// The question whether the client may still listen.
    pub recheck: Option<Recheck>,
    /// Who wants to hear that the client is gone.
    pub on_end: Option<OnEnd>,
}

impl Ask {
    /// The plainest: these channels, by the defaults.
    pub fn new(channels: Vec<Channel>, version: Version) -> Self {
        Self {
            channels,
            last_event_id: None,
            replay: Replay::default(),
            subject: None,
            keep_alive: None,
            retry: None,
            version,
            headers: HeaderMap::new(),
            initial: None,
            recheck: None,
            on_end: None,
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

/// The answer to the question whether a client may still listen.
pub type MayStay = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A question to be asked again and again; `false` ends the stream.
pub struct Recheck {
    /// How often.
    pub every: Duration,
    /// The question.
    pub ask: Box<dyn Fn() -> MayStay + Send + Sync>,
}

impl fmt::Debug for Recheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recheck every {:?}", self.every)
    }
}

/// Is told once that a client is gone, and why, even if it left before it was held; must not block.
pub struct OnEnd(Option<Box<dyn FnOnce(End) + Send + Sync>>);

impl OnEnd {
    /// Calls `tell` when the time has come.
    pub fn new(tell: impl FnOnce(End) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub(super) fn tell(mut self, end: End) {
        if let Some(tell) = self.0.take() {
            tell(end);
        }
    }
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(End::ClientLeft);
        }
    }
}

impl fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEnd")
    }
}
