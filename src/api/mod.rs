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
mod reply;
mod request;
mod resource;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, StatusCode};

use crate::body::Body;
use crate::broker::Broker;
use crate::event::frame::Code;
use crate::http1::{RequestHead, gate};
use crate::listen::Request;
use crate::listen::connection;
use crate::metrics::Metrics;
use crate::proxy::Backend;
use crate::subscribe::{Stay, Streams};

pub use door::Door;
use problem::Problem;
use resource::{Resource, for_others};

/// What a request comes to here.
pub type Handled = connection::Handled<Stay>;

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

impl Api {
    /// Answers one request that came in by `door`.
    pub async fn answer(self: Arc<Self>, request: Request, door: Door) -> Handled {
        let Request { mut head, mut body, .. } = request;
        let is_head = head.start.method == Method::HEAD;
        if is_head {
            head.start.method = Method::GET;
        }
        let by = door.name();
        let admitted = gate::check_host(&head).map_err(Problem::Host).and_then(|()| door.admit(&head));
        let answer = match admitted {
            Ok(()) => self.route(&head, &mut body, is_head).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| {
            let (method, path) = (if is_head { &Method::HEAD } else { &head.start.method }, head.path());
            tracing::info!(%method, path, code = problem.code(), by, "refused a request to the API");
            reply::refusal(&problem)
        })
    }

    async fn route(&self, head: &RequestHead, body: &mut Body, is_head: bool) -> Result<Handled, Problem> {
        let resource = Resource::of(head.path())?;
        let method = &head.start.method;
        match resource {
            Resource::Alive if method == Method::GET => Ok(reply::json(StatusCode::OK, &health::ALIVE)),
            Resource::Ready if method == Method::GET => Ok(self.ready().await),
            Resource::Channels if method == Method::GET => self.channels(head).await,
            Resource::Channel(channel) if method == Method::GET => self.channel(&channel).await,
            Resource::Channel(channel) if method == Method::POST => {
                self.post(for_others(channel)?, head, body).await
            }
            Resource::Channel(channel) if method == Method::DELETE => self.close(for_others(channel)?).await,
            Resource::Events(channel) if method == Method::GET => self.events(channel, head, is_head).await,
            Resource::Subject(subject) if method == Method::DELETE => self.disconnect(subject).await,
            Resource::Grants if method == Method::POST => Err(Problem::NoGrants),
            resource => Err(Problem::Method { allowed: resource.methods() }),
        }
    }

    /// The broker, if there is a log to read; one that is being read is waited for.
    async fn log(&self) -> Result<&Broker, Problem> {
        match self.broker.opened().await {
            Ok(()) => Ok(&self.broker),
            Err(why) => {
                Err(Problem::refused(Code::Store, format!("there is no log to read at present: {why}")))
            }
        }
    }
}
