//! The backend: reaching it, and the rules for headers that pass through.
//!
//! A request goes out over a connection that rested, or a new one, and is driven by the task that wants
//! the answer: no task of its own, no queue between the two. Most of what passes is never looked into:
//! the lines of a head go from one socket to the other, but for those that the rules for headers take
//! out or add. What follows from that:
//!
//! - a client that leaves closes its backend connection at once, for both are dropped together;
//! - what the client does not take is not read from the backend, and the other way round;
//! - a request that found a dead connection is repeated where that cannot do harm, and only there;
//! - an answer that breaks off is never passed on as a complete one.
//!
//! Nothing here decides who may ask for what; that is the gateway's.

mod address;
mod answer;
mod answer_body;
mod asked;
mod connect;
mod exchange;
mod fault;
mod gather;
pub mod headers;
mod lease;
mod link;
mod owner;
pub mod page;
mod pool;
mod private;
mod request_id;
mod trailers;
pub mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;

use self::exchange::{Answered, Message, exchange};
use self::gather::Gatherer;
use self::headers::{Notices, Passed};
use self::owner::Owner;
use self::pool::Pool;
use self::tunnel::Upstream;
use crate::body::Body;
use crate::http1::{AnswerHead, Field, Framing, Length, Lines, Refusal, RequestHead, Writer, gate};
use crate::peer::Peer;

pub use address::Address;
pub use answer::Answer;
pub use asked::Asked;
pub use connect::ProxyProtocol;
pub use fault::Fault;
pub use gather::LargerRequests;
pub use headers::{PassedName, Rules};
pub use pool::{Permit, Room};
pub use request_id::RequestId;

/// How long a connection has to be silent after an answer: what a backend says too much comes within
/// milliseconds.
pub const SILENCE: Duration = Duration::from_millis(20);

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
    /// How long a connection has to be silent after an answer before it is used again.
    pub silence: Duration,
    /// The most connections at a time for what clients ask for; further requests wait. Questions and
    /// notices about clients have some of their own besides.
    pub max_connections: usize,
    /// How clients are introduced to the backend; then no connection is shared between them.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The most event streams that the backend writes, and tunnels, at a time.
    pub max_streams: usize,
    /// How long the backend may take to begin an event stream whose client is held meanwhile.
    pub stream_answer_timeout: Duration,
    /// What passes, and what the backend is told.
    pub rules: Rules,
    /// Whether a request that can do no harm is sent again, over a new connection, if the backend closed the one
    /// that it was sent over and said nothing (RFC 9110 section 9.2.2).
    pub retry: bool,
    /// Up to how many bytes of a request's body without a length are read to find it out; `None`: none.
    pub buffer_requests: Option<usize>,
    /// What becomes of those that are larger.
    pub larger_requests: LargerRequests,
}

impl Settings {
    /// The most connections at a time, whatever they are for.
    pub fn all_connections(&self) -> usize {
        pool::most_connections(self)
    }

    /// The settings that suit most backends at this address.
    pub fn of(address: Address) -> Self {
        Self {
            address,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            pool_idle: Duration::from_secs(4),
            silence: SILENCE,
            max_connections: 1024,
            proxy_protocol: None,
            max_streams: 4096,
            stream_answer_timeout: Duration::from_secs(600),
            rules: Rules::default(),
            retry: true,
            buffer_requests: None,
            larger_requests: LargerRequests::Pass,
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
    /// What stands in for the `Host` that a client did not send.
    own_host: String,
    pool: Arc<Pool>,
    notices: Notices,
    gatherer: Option<Gatherer>,
}

/// What came of a request that was sent on.
pub enum Forwarded {
    /// The backend's answer.
    Answer(Answer),
    /// The backend agreed to `Upgrade`: [`tunnel::run`] writes this head (a 101) to the client, then
    /// connects both.
    Upgrade(Vec<u8>, Upstream),
}

impl Backend {
    /// A backend to which no connection is open yet.
    pub fn new(settings: Settings) -> Self {
        let pool = Pool::new(&settings);
        let name = settings.address.to_string();
        let own_host = settings.address.host_header();
        let gatherer = settings
            .buffer_requests
            .map(|most| Gatherer::new(most, settings.larger_requests, settings.idle_timeout));
        let notices = Notices::default();
        Self { inside: Arc::new(Inside { settings, name, own_host, pool, notices, gatherer }) }
    }

    /// How long it may take to begin an event stream whose client is held meanwhile.
    pub fn stream_answer_timeout(&self) -> Duration {
        self.inside.settings.stream_answer_timeout
    }

    /// How long it may take to begin any other answer.
    pub fn answer_timeout(&self) -> Duration {
        self.inside.settings.answer_timeout
    }

    /// How operators know it, as in `http://127.0.0.1:8080`.
    pub fn name(&self) -> &str {
        &self.inside.name
    }

    /// The name of a request: the one that a trusted proxy has given it, or a new one.
    pub fn name_request(&self, head: &RequestHead, peer: &Peer) -> RequestId {
        RequestId::of(head, peer, &self.inside.settings.rules)
    }

    /// Who asks: the peer, or whom a trusted proxy speaks for. `None`: somebody on this machine, over a Unix
    /// socket.
    pub fn client_of(&self, head: &RequestHead, peer: &Peer) -> Option<IpAddr> {
        headers::client(head, peer, &self.inside.settings.rules.trusted)
    }

    /// Checks that a request can be sent on: it is for one host, and its target is one that the operator takes.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn check(&self, head: &RequestHead) -> Result<(), Refusal> {
        gate::check_host(head)?;
        if self.inside.settings.rules.raw_targets { Ok(()) } else { gate::check_escaped(head) }
    }

    /// Sends a client's request on and returns the answer's head, with a body that follows. `length` is
    /// how the end of `body` is found; `patience` is how long the backend may take, if it is not `answer_timeout`; `interim` hears of the
    /// answers that come before the answer, with the lines of them that pass (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// [`Fault`], when there is no answer to pass on.
    pub async fn forward(
        &self,
        asked: &Asked,
        length: Length,
        body: Body,
        patience: Option<Duration>,
        mut interim: impl FnMut(StatusCode, &Lines) + Send,
    ) -> Result<Forwarded, Fault> {
        let Asked { head, peer, id, is_event_source } = asked;
        let (length, body) = match &self.inside.gatherer {
            // In a box: most requests have no such body.
            Some(gatherer) if length == Length::Chunked => Box::pin(gatherer.gather(body)).await?,
            _ => (length, body),
        };
        let rules = &self.inside.settings.rules;
        let Passed { head: lines, websocket, trailers, withheld } =
            headers::pass_request(head, length, peer, *id, &self.inside.own_host, rules);
        if withheld.is_something() {
            self.inside.notices.tell(withheld, head, peer, rules);
        }
        let framing = match length {
            Length::Exactly(0) => Framing::None,
            Length::Exactly(length) => Framing::Exactly(length),
            Length::Chunked | Length::UntilClose => Framing::Chunked { trailers: !trailers.is_empty() },
        };
        let body = match trailers.is_empty() {
            true => body,
            false => Body::stream(body.map_frame(move |frame| trailers::keep(frame, &trailers))),
        };
        let writer = Writer::new(lines, body, framing);
        let is_bodyless = framing == Framing::None;
        let mut hear = |head: &AnswerHead| interim(head.start.status, &headers::interim(head));
        let patience = patience.unwrap_or(self.inside.settings.answer_timeout);
        let message = Message {
            method: head.start.method.clone(),
            writer,
            is_bodyless,
            owner: self.owner(head, peer),
            ties: headers::is_tied_by_request(head),
            patience,
            interim: Some(&mut hear),
        };
        let room = if *is_event_source { Room::Streams } else { Room::Pages };
        let permit = self.permit(room).await?;
        let answered = exchange(&self.inside, message, permit).await?;
        if answered.head.start.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(answered, websocket);
        }
        let mut answer = answered.into_answer(head.target());
        if rules.rewrite_locations {
            let host = head.authority().or_else(|| head.values(Field::Host).next());
            answer.leave_out(&self.inside.settings.address, host.unwrap_or_default());
        }
        Ok(Forwarded::Answer(answer))
    }

    /// The lines of a request of our own on behalf of a client: its cookies, its `Authorization` and the
    /// like, and what the backend is told of the client; nothing about a body.
    ///
    /// A log-in that belongs to a connection has been said over that connection, unless it is the question
    /// whether the client may listen (`room`) that it is to answer.
    pub fn on_behalf_of(&self, asked: &Asked, room: Room) -> Lines {
        let Inside { own_host, settings, .. } = &*self.inside;
        let ties = room == Room::Auth;
        headers::on_behalf_of(&asked.head, &asked.peer, asked.id, own_host, &settings.rules, ties)
    }

    /// Closes what belongs to a client that has left.
    pub fn forget(&self, peer: &Peer) {
        self.inside.pool.close_own(peer.connection);
    }

    /// Whose the link is that this client's requests are sent over, should it come to belong to anybody.
    fn owner(&self, head: &RequestHead, peer: &Peer) -> Owner {
        Owner::new(peer, self.client_of(head, peer))
    }

    /// The right to one connection, for which a request waits as long as for a connection to open.
    ///
    /// # Errors
    /// When none has become free until then.
    pub async fn permit(&self, room: Room) -> Result<Permit, Fault> {
        let Inside { settings, name, pool, .. } = &*self.inside;
        let (patience, limit) = (settings.connect_timeout, room.size(settings));
        let busy = |_| Fault::Busy { backend: name.clone(), limit, key: room.key(), waited: patience };
        pool.permit(room, patience).await.map_err(busy)
    }

    /// The right to one connection, for which a request of our own waits as long as it takes.
    pub async fn permit_in_the_end(&self, room: Room) -> Permit {
        self.inside.pool.permit_in_the_end(room, self.inside.settings.connect_timeout).await
    }

    /// Sends a request of our own (auth, recheck, gone), without a body, on behalf of whoever has asked.
    /// `target` is a path and query in visible ASCII.
    ///
    /// # Errors
    /// [`Fault`], when there is no answer.
    pub async fn ask(
        &self,
        permit: Permit,
        method: Method,
        target: &str,
        lines: &Lines,
        asked: &Asked,
    ) -> Result<Response<Body>, Fault> {
        let mut head = Lines::after(format!("{method} {target} HTTP/1.1\r\n").into_bytes());
        head.append(lines);
        let writer = Writer::new(head.into_head(), Body::empty(), Framing::None);
        let owner = self.owner(&asked.head, &asked.peer);
        let ties = permit.room() == Room::Auth && headers::is_tied_by_request(&asked.head);
        let patience = self.inside.settings.answer_timeout;
        let message = Message { method, writer, is_bodyless: true, owner, ties, patience, interim: None };
        let answered = exchange(&self.inside, message, permit).await?;
        if answered.head.start.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.unasked_switch());
        }
        Ok(answered.into_answer(target).into_response())
    }

    /// Whether a connection can be made now.
    ///
    /// # Errors
    /// [`Fault`] with the reason.
    pub async fn reachable(&self) -> Result<(), Fault> {
        let Inside { settings, name, .. } = &*self.inside;
        connect::connect(settings, name, None).await.map(drop)
    }

    fn switch(&self, mut answered: Answered, asked: bool) -> Result<Forwarded, Fault> {
        let head = headers::switched(&answered.head, &self.inside.settings.rules).filter(|_| asked);
        let head = head.ok_or_else(|| self.unasked_switch())?;
        if !answered.lease.becomes_stream() {
            let Inside { settings, name, .. } = &*self.inside;
            let (limit, key) = (Room::Streams.size(settings), Room::Streams.key());
            return Err(Fault::Busy { backend: name.clone(), limit, key, waited: Duration::ZERO });
        }
        Ok(Forwarded::Upgrade(head, answered.lease.into_upstream()))
    }

    fn unasked_switch(&self) -> Fault {
        Fault::Switches { backend: self.inside.name.clone() }
    }
}
