//! The HTTP API (PROTOCOL 3), the same on the publish socket and on the admin listener.
//!
//! Nothing a web page can make a browser send is obeyed: browsers say so by `Origin` or
//! `Sec-Fetch-*`, and a name that was rebound to this machine shows in `Host`. What a request
//! publishes is committed before anything is awaited, so that a client that leaves takes nothing back.

mod channels;
mod door;
mod events;
mod health;
mod post;
mod problem;
mod query;
mod request;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::broker::Broker;
use crate::channel::Channel;
use crate::event::frame::Code;
use crate::http1::gate::Refusal;
use crate::http1::{Reply, RequestHead};
use crate::listen::Request;
use crate::listen::connection::Answer;
use crate::metrics::Metrics;
use crate::proxy::Backend;
use crate::subject::Subject;
use crate::subscribe::Streams;

pub use door::{Door, Tcp};
use problem::Problem;

/// What publishers and operators are answered from.
pub struct Api {
    /// Where events go.
    pub broker: Arc<Broker>,
    /// Who holds those that listen over the API.
    pub streams: Streams,
    /// Whose state readiness depends on.
    pub backend: Arc<ArcSwap<Backend>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The most bytes of a frame, or of the body of an HTTP request.
    pub max_event_size: usize,
}

/// What an address of the API stands for.
#[derive(Debug, Eq, PartialEq)]
enum Resource {
    Channels,
    Channel(Channel),
    Events(Channel),
    Grants,
    Subject(Subject),
    Alive,
    Ready,
}

impl Api {
    /// Answers one request that came in by `door`.
    pub async fn answer(self: Arc<Self>, request: Request, door: Door) -> Answer {
        let Request { mut head, mut body, .. } = request;
        let is_head = head.start.method == Method::HEAD;
        if is_head {
            head.start.method = Method::GET;
        }
        let answer = match door.admit(&head) {
            Ok(()) => self.route(&head, &mut body, is_head).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| {
            let (method, path) = (&head.start.method, head.path());
            tracing::debug!(%method, path, code = problem.code(), "refused a request");
            Answer::Reply(refusal(&problem))
        })
    }

    async fn route(&self, head: &RequestHead, body: &mut Body, is_head: bool) -> Result<Answer, Problem> {
        let resource = Resource::of(head.path())?;
        let method = &head.start.method;
        match resource {
            Resource::Alive if method == Method::GET => Ok(json(StatusCode::OK, &health::ALIVE)),
            Resource::Ready if method == Method::GET => Ok(self.ready().await),
            Resource::Channels if method == Method::GET => self.channels(head),
            Resource::Channel(channel) if method == Method::GET => self.channel(&channel),
            Resource::Channel(channel) if method == Method::POST => self.post(channel, head, body).await,
            Resource::Channel(channel) if method == Method::DELETE => self.close(channel).await,
            Resource::Events(channel) if method == Method::GET => self.events(channel, head, is_head),
            Resource::Subject(subject) if method == Method::DELETE => self.disconnect(subject).await,
            Resource::Grants if method == Method::POST => Err(Problem::NoGrants),
            resource => Err(Problem::Method { allowed: resource.methods() }),
        }
    }
}

impl Api {
    /// The broker, if there is a log to read.
    fn log(&self) -> Result<&Broker, Problem> {
        match self.broker.away() {
            None => Ok(&self.broker),
            Some(why) => {
                Err(Problem::refused(Code::Store, format!("there is no log to read at present: {why}")))
            }
        }
    }
}

impl Resource {
    fn of(path: &str) -> Result<Self, Problem> {
        // What a URL has to escape in its path (WHATWG URL, path percent-encode set), as far as the gate
        // lets it through and no client is known to leave it as it is.
        if path.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'`')) {
            return Err(unescaped());
        }
        if let Some(rest) = path.strip_prefix("/channels/") {
            return Self::of_channel(rest);
        }
        match path {
            "/channels" => return Ok(Self::Channels),
            "/healthz" => return Ok(Self::Alive),
            "/readyz" => return Ok(Self::Ready),
            _ => {}
        }
        match path.strip_prefix("/subjects/") {
            Some(name) if !name.contains('/') => Ok(Self::Subject(subject(name)?)),
            _ => Err(Problem::NotFound(format!("there is nothing at `{path}`: {KNOWN}"))),
        }
    }

    fn of_channel(rest: &str) -> Result<Self, Problem> {
        match rest.split_once('/') {
            None => Ok(Self::Channel(channel(rest)?)),
            Some((name, "events")) => Ok(Self::Events(channel(name)?)),
            Some((name, "grants")) => channel(name).map(|_| Self::Grants),
            Some(_) => Err(Problem::NotFound("write %2F for each slash in a channel's name".to_owned())),
        }
    }

    const fn methods(&self) -> &'static str {
        match self {
            Self::Channels | Self::Events(_) | Self::Alive | Self::Ready => "GET, HEAD",
            Self::Channel(_) => "GET, HEAD, POST, DELETE",
            Self::Grants => "POST",
            Self::Subject(_) => "DELETE",
        }
    }
}

/// What there is, for those who are lost.
const KNOWN: &str =
    "the API has /channels, /channels/NAME, /channels/NAME/events, /subjects/SUBJECT, /healthz and /readyz";

fn channel(segment: &str) -> Result<Channel, Problem> {
    Channel::parse(&decoded(segment)?)
        .map_err(|invalid| Problem::refused(Code::BadChannel, invalid.to_string()))
}

fn subject(segment: &str) -> Result<Subject, Problem> {
    Subject::parse(&decoded(segment)?)
        .map_err(|invalid| Problem::refused(Code::BadValue, invalid.to_string()))
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, Problem> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| Problem::refused(Code::BadUtf8, "a name in the path is percent-encoded UTF-8"))
}

/// A target with bytes that must be escaped in it.
fn unescaped() -> Problem {
    Problem::refused(Code::BadValue, Refusal::Target.to_string())
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    Answer::Reply(json_reply(status, value))
}

fn json_reply(status: StatusCode, value: &impl Serialize) -> Reply {
    // Our own types have string keys and no failing serializers.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut reply = Reply::new(status, b"", Body::from(text));
    reply.add_all(JSON);
    reply
}

/// What is said of each reply.
const JSON: &str = "Content-Type: application/json\r\n\
                    X-Content-Type-Options: nosniff\r\n\
                    Cache-Control: no-store\r\n";

fn refusal(problem: &Problem) -> Reply {
    let text = serde_json::json!({ "error": problem.code(), "message": problem.to_string() });
    let mut reply = json_reply(problem.status(), &text);
    match problem {
        Problem::Method { allowed } => reply.add("Allow", allowed.as_bytes()),
        Problem::Unauthorized => reply.add("WWW-Authenticate", b"Bearer realm=\"outboard\""),
        _ => {}
    }
    reply
}
