//! Requests of our own to the backend, on behalf of a client: may it listen, may it still, it is gone.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;

use super::Asked;
use crate::body::Body;
use crate::channel::Channel;
use crate::handoff::{self, Handoff};
use crate::http1::Lines;
use crate::proxy::{Backend, Fault};

/// The channels that a question is about.
const CHANNEL: &str = "Outboard-Channel";
/// The subject that a client was accepted for.
pub(super) const SUBJECT: &str = "Outboard-Subject";
/// Why a stream ended.
pub(super) const REASON: &str = "Outboard-Reason";
/// The path and query that the client asked for.
const ORIGINAL_URI: &str = "X-Original-URI";

/// What the backend is asked before a client is held, and again at each `Outboard-Recheck`.
pub(super) enum Question {
    /// The client's own request, which the backend answers with a handoff.
    Request,
    /// The `auth` of an event route.
    Auth {
        /// The path and query that are asked for.
        path: String,
        /// The channels that the route means by the client's request.
        channels: Vec<Channel>,
    },
}

/// Why a client may not go on listening.
#[derive(Debug, thiserror::Error)]
pub(super) enum Revoked {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the backend answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Invalid(#[from] handoff::InvalidHandoff),
    #[error("the backend's answer does not name the same channels and subject as before")]
    Changed,
}

impl Question {
    /// Asks on behalf of the client.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) async fn ask(&self, backend: &Backend, asked: &Asked) -> Result<Response<Body>, Fault> {
        match self {
            Self::Request => {
                let lines = backend.on_behalf_of(&asked.head, &asked.peer, asked.id);
                ask(backend, Method::GET, &asked.head.target().to_string(), &lines).await
            }
            Self::Auth { path, channels } => {
                let mut lines = lines(backend, asked);
                if !channels.is_empty() {
                    name_channels(&mut lines, channels);
                }
                ask(backend, Method::GET, path, &lines).await
            }
        }
    }
}

/// The lines of a request for a path of our own choice, with the client's cookies and the like.
pub(super) fn lines(backend: &Backend, asked: &Asked) -> Lines {
    let mut lines = backend.on_behalf_of(&asked.head, &asked.peer, asked.id);
    lines.add(ORIGINAL_URI, asked.head.target().to_string().as_bytes());
    lines
}

/// Asks for `target`, which templates and backends make: what is no path is not sent.
///
/// # Errors
/// When nobody answers.
pub(super) async fn ask(
    backend: &Backend,
    method: Method,
    target: &str,
    lines: &Lines,
) -> Result<Response<Body>, Fault> {
    let is_path = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        return Err(Fault::NoPath { target: target.escape_debug().to_string() });
    }
    backend.ask(method, target, lines).await
}

/// Asks whether a client may still listen; only an answer that says the same as the first lets it.
///
/// # Errors
/// With anything else, be it that nobody answers.
pub(super) async fn confirm(
    backend: &Backend,
    question: &Question,
    asked: &Asked,
    first: &Handoff,
) -> Result<(), Revoked> {
    let mut answer = question.ask(backend, asked).await?;
    let said = handoff::take(answer.headers_mut());
    let status = answer.status();
    // A stream's body has no end: what comes after the head is of no interest here.
    drop(answer);
    if !status.is_success() {
        return Err(Revoked::Status(status));
    }
    let now = said?.unwrap_or_default();
    let is_same = now.channels == first.channels && now.subject == first.subject;
    if is_same { Ok(()) } else { Err(Revoked::Changed) }
}

/// Tells which channels it is about, as a backend would name them.
pub(super) fn name_channels(lines: &mut Lines, channels: &[Channel]) {
    let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
    lines.add(CHANNEL, names.join(", ").as_bytes());
}

/// Reads a short body to its end, so that its connection can be used again.
pub(super) async fn discard(mut body: Body) {
    const MOST: usize = 64 << 10;
    const PATIENCE: Duration = Duration::from_secs(1);
    let read_to_end = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > MOST {
                return;
            }
        }
    };
    // A longer one costs its connection, and that is all.
    let _ = tokio::time::timeout(PATIENCE, read_to_end).await;
}
