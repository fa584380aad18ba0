//! The backend: reaching it, and the rules for headers that pass through.
//!
//! A request goes out over a connection that rested, or a new one, and is driven by the task that wants
//! the answer: no task of its own, no queue between the two. What follows from that:
//!
//! - a client that leaves closes its backend connection at once, for both are dropped together;
//! - what the client does not take is not read from the backend, and the other way round;
//! - a request that found a dead connection is repeated where that cannot do harm, and only there;
//! - an answer that breaks off is never passed on as a complete one.
//!
//! Nothing here decides who may ask for what; that is the gateway's.

mod address;
mod answer_body;
mod bell;
mod connect;
mod exchange;
mod fault;
pub mod headers;
mod link;
pub mod page;
mod pool;
mod request_id;
mod stream;
pub mod tunnel;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};

use self::exchange::exchange;
use self::pool::Pool;
use self::tunnel::Upstream;
use crate::body::Body;
use crate::peer::Peer;

pub use address::{Address, InvalidAddress};
pub use fault::Fault;
pub use headers::on_behalf_of;
pub use request_id::RequestId;

/// What the proxy is told about the backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where it listens.
    pub address: Address,
    /// How long a connection may take to open, and how long a request may wait for a free one.
    pub connect_timeout: Duration,
    /// How long the backend may take from the request's end to the answer's head.
    pub answer_timeout: Duration,
    /// How long the backend may pause within an answer that is not an event stream, and the client
    /// within a request.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; below the backend's own limit. Zero keeps none.
    pub pool_idle: Duration,
    /// The most connections at a time; further requests wait.
    pub max_connections: usize,
}

impl Settings {
    /// The settings that suit most backends at this address.
    pub fn of(address: Address) -> Self {
        Self {
            address,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            pool_idle: Duration::from_secs(4),
            max_connections: 1024,
        }
    }
}

/// The backend and the connections to it.
pub struct Backend {
    inside: Arc<Inside>,
}

/// What a backend and the answers under way share.
struct Inside {
    settings: Settings,
    name: String,
    own_host: HeaderValue,
    pool: Arc<Pool>,
}

/// What came of a request that was sent on.
pub enum Forwarded {
    /// The backend's answer. Hop-by-hop headers are gone; `Outboard-*` headers are still there.
    Answer(Response<Body>),
    /// The backend agreed to `Upgrade`: [`tunnel::run`] writes this head (a 101) to the client, then
    /// connects both.
    Upgrade(Response<()>, Upstream),
}

impl Backend {
    /// A backend to which no connection is open yet.
    pub fn new(settings: Settings) -> Self {
        let pool = Pool::new(settings.max_connections, settings.pool_idle);
        let name = settings.address.to_string();
        let own_host = HeaderValue::from_str(&settings.address.host_header());
        let own_host = own_host.unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        Self { inside: Arc::new(Inside { settings, name, own_host, pool }) }
    }

    /// How operators know it, as in `http://127.0.0.1:8080`.
    pub fn name(&self) -> &str {
        &self.inside.name
    }

    /// Sends a client's request on and returns the answer's head, with a body that follows. The request
    /// has passed [`headers::check_request`]; `id` is what the backend is told as `X-Request-Id`.
    ///
    /// # Errors
    /// [`Fault`], when there is no answer to pass on.
    pub async fn forward(
        &self,
        request: impl Into<Box<Request<Body>>>,
        peer: &Peer,
        id: RequestId,
    ) -> Result<Forwarded, Fault> {
        let mut request = request.into();
        let upgrade = headers::pass_request(&mut request, peer, id, &self.inside.own_host);
        let mut answered = exchange(&self.inside, request, upgrade).await?;
        if answered.answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(answered, upgrade);
        }
        let received = std::mem::replace(answered.answer.version_mut(), http::Version::HTTP_11);
        headers::pass_answer(answered.answer.headers_mut(), received);
        Ok(Forwarded::Answer(answered.with_body()))
    }

    /// Sends a request of our own (auth, recheck, gone); its headers are sent as they are.
    ///
    /// # Errors
    /// [`Fault`], when there is no answer.
    pub async fn ask(&self, mut request: Request<Body>) -> Result<Response<Body>, Fault> {
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, self.inside.own_host.clone());
        }
        let answered = exchange(&self.inside, Box::new(request), false).await?;
        if answered.answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.unasked_switch());
        }
        Ok(answered.with_body())
    }

    /// Whether a connection can be made now.
    ///
    /// # Errors
    /// [`Fault`] with the reason.
    pub async fn reachable(&self) -> Result<(), Fault> {
        let Inside { settings, name, .. } = &*self.inside;
        connect::connect(&settings.address, name, settings.connect_timeout, b"").await.map(drop)
    }

    fn switch(&self, answered: exchange::Answered, asked: bool) -> Result<Forwarded, Fault> {
        let exchange::Answered { mut answer, lease, .. } = answered;
        if !asked || !headers::pass_switch(&mut answer) {
            return Err(self.unasked_switch());
        }
        let upstream = lease.into_upstream().ok_or_else(|| self.unasked_switch())?;
        Ok(Forwarded::Upgrade(answer.map(drop), upstream))
    }

    fn unasked_switch(&self) -> Fault {
        let cause = "it switches to a protocol that was not asked for (101)".into();
        Fault::Nonsense { backend: self.inside.name.clone(), cause }
    }
}
