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

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use serde::Serialize;

use crate::body::Body;
use crate::broker::Broker;
use crate::channel::Channel;
use crate::event::frame::Code;
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
        let request = match request.into_http() {
            Ok(request) => request,
            Err(unreadable) => {
                return Answer::Response(refusal(&Problem::refused(Code::BadValue, unreadable.to_string())));
            }
        };
        let (mut head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        if is_head {
            head.method = Method::GET;
        }
        // Declared here, to know afterwards whether it was read to its end.
        let mut body = body;
        let answer = match door.admit(&head) {
            Ok(()) => self.route(&head, &mut body, is_head).await,
            Err(problem) => Err(problem),
        };
        let mut response = match answer {
            Ok(Answer::Response(response)) => response,
            Ok(takeover) => return takeover,
            Err(problem) => {
                tracing::debug!(method = %head.method, path = head.uri.path(), code = problem.code(), "refused a request");
                refusal(&problem)
            }
        };
        if !body.is_end_stream() {
            // What is left of the request would be taken for the next one's beginning.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Answer::Response(response)
    }

    async fn route(
        &self,
        head: &http::request::Parts,
        body: &mut Body,
        is_head: bool,
    ) -> Result<Answer, Problem> {
        let resource = Resource::of(head.uri.path())?;
        let method = &head.method;
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
        let nowhere = || Problem::NotFound(format!("there is nothing at `{path}`: {KNOWN}"));
        let segments: Vec<_> = path.strip_prefix('/').ok_or_else(nowhere)?.split('/').collect();
        match segments[..] {
            ["channels"] => Ok(Self::Channels),
            ["channels", name] => Ok(Self::Channel(channel(name)?)),
            ["channels", name, "events"] => Ok(Self::Events(channel(name)?)),
            ["channels", name, "grants"] => channel(name).map(|_| Self::Grants),
            ["channels", ..] => {
                Err(Problem::NotFound("write %2F for each slash in a channel's name".to_owned()))
            }
            ["subjects", name] => Ok(Self::Subject(subject(name)?)),
            ["healthz"] => Ok(Self::Alive),
            ["readyz"] => Ok(Self::Ready),
            _ => Err(nowhere()),
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

fn decoded(segment: &str) -> Result<String, Problem> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    let text = "a name in the path is percent-encoded UTF-8";
    decoded.map(Into::into).map_err(|_| Problem::refused(Code::BadUtf8, text))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    Answer::Response(json_response(status, value))
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Our own types have string keys and no failing serializers.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

fn refusal(problem: &Problem) -> Response<Body> {
    let text = serde_json::json!({ "error": problem.code(), "message": problem.to_string() });
    let mut response = json_response(problem.status(), &text);
    match problem {
        Problem::Method { allowed } => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Problem::Unauthorized => {
            let scheme = HeaderValue::from_static("Bearer realm=\"outboard\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        _ => {}
    }
    response
}
