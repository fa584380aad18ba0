//! The backend: reaching it, and the rules for headers that pass through.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Request, Response};

use crate::body::Body;
use crate::peer::Peer;

/// Where the backend listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// `http://host:port`.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

/// What the proxy is told about the backend.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub address: Address,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long the backend may take from the request's end to the answer's head.
    pub answer_timeout: Duration,
    /// How long the backend may pause within an answer that is not an event stream.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; below the backend's own limit.
    pub pool_idle: Duration,
    /// The most connections at a time; further requests wait.
    pub max_connections: usize,
}

/// Why the backend gave no proper answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection could be made.
    #[error("cannot connect to backend {backend}: {cause}")]
    Unreachable {
        /// The backend's address.
        backend: String,
        /// What the system said.
        cause: String,
    },
}

/// The backend and the connections to it.
pub struct Backend {
    settings: Settings,
}

/// What came of a request that was sent on.
pub enum Forwarded {
    /// The backend's answer. Hop-by-hop headers are gone; `Outboard-*` headers are still there.
    Answer(Response<Body>),
    /// The backend agreed to `Upgrade`: write this head (a 101) to the client, then connect both.
    Upgrade(Response<()>, hyper::upgrade::Upgraded),
}

impl Backend {
    /// A backend to which no connection is open yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// How operators know it, as in `http://127.0.0.1:8080`.
    pub fn name(&self) -> &str {
        let _ = &self.settings;
        todo!()
    }

    /// Sends a client's request on and returns the answer's head, with a body that follows.
    ///
    /// # Errors
    /// [`Fault`], when there is no answer to pass on.
    pub async fn forward(&self, _request: Request<Body>, _peer: &Peer) -> Result<Forwarded, Fault> {
        todo!()
    }

    /// Sends a request of our own (auth, recheck, gone); its headers are sent as they are.
    ///
    /// # Errors
    /// [`Fault`], when there is no answer.
    pub async fn ask(&self, _request: Request<Body>) -> Result<Response<Body>, Fault> {
        todo!()
    }

    /// Whether a connection can be made now.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] with the reason.
    pub async fn reachable(&self) -> Result<(), Fault> {
        todo!()
    }
}

/// The headers that a request of our own on behalf of `headers`' sender carries.
pub fn on_behalf_of(_headers: &HeaderMap, _peer: &Peer) -> HeaderMap {
    todo!()
}
