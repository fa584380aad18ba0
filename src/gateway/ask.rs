//! Requests of our own to the backend, on behalf of a client: may it listen, may it still, it is gone.

use std::collections::HashSet;
use std::time::Duration;

use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;

use super::is_passing;
use crate::body::Body;
use crate::channel::Channel;
use crate::handoff;
use crate::http1::Lines;
use crate::proxy::{Asked, Backend, Fault, Permit, Room};
use crate::subscribe::{End, Promises, Question, Recheck};

/// The channels that a question is about.
const CHANNEL: &str = "Outboard-Channel";
/// The subject that a client was accepted for.
const SUBJECT: &str = "Outboard-Subject";
/// Why a stream ended.
const REASON: &str = "Outboard-Reason";
/// The path and query that the client asked for.
const ORIGINAL_URI: &str = "X-Original-URI";

/// The longest body that is read of an answer to a question, of which the head is all that counts.
const MOST_READ: usize = 1 << 20;
/// How long its end may be waited for behind its head.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not certain that a client may go on listening.
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

impl Revoked {
    /// Whether the backend has not said no, but nothing.
    pub(super) fn is_no_answer(&self) -> bool {
        match self {
            Self::Fault(Fault::NoPath { .. }) => false,
            Self::Fault(_) => true,
            Self::Status(status) => is_passing(*status),
            Self::Invalid(_) | Self::Changed => false,
        }
    }
}

/// Puts a question on behalf of the client.
///
/// # Errors
/// When nobody answers.
pub(super) async fn put(
    question: &Question,
    backend: &Backend,
    permit: Permit,
    asked: &Asked,
) -> Result<Response<Body>, Fault> {
    match question {
        Question::Request => {
            let lines = backend.on_behalf_of(asked, permit.room());
            ask(backend, permit, Method::GET, &asked.head.target().to_string(), &lines, asked).await
        }
        Question::Path { path, channels } => {
            let mut lines = lines(backend, asked, permit.room());
            if !channels.is_empty() {
                name_channels(&mut lines, channels);
            }
            ask(backend, permit, Method::GET, path, &lines, asked).await
        }
    }
}

/// The lines of a request for a path of our own choice, with the client's cookies and the like.
fn lines(backend: &Backend, asked: &Asked, room: Room) -> Lines {
    let mut lines = backend.on_behalf_of(asked, room);
    lines.add(ORIGINAL_URI, asked.head.target().to_string().as_bytes());
    lines
}

/// Asks for `target`, which templates and backends make: what is no path is not sent.
///
/// # Errors
/// When nobody answers.
pub(super) async fn ask(
    backend: &Backend,
    permit: Permit,
    method: Method,
    target: &str,
    lines: &Lines,
    asked: &Asked,
) -> Result<Response<Body>, Fault> {
    let is_path = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        return Err(Fault::NoPath { target: target.escape_debug().to_string() });
    }
    backend.ask(permit, method, target, lines, asked).await
}

/// Asks whether a client may still listen; only an answer that says the same as the first lets it. The
/// cookies that the answer sets are for nobody; the names of such.
///
/// # Errors
/// With anything else, be it that nobody answers.
pub(super) async fn confirm(
    backend: &Backend,
    permit: Permit,
    promises: &Promises,
    recheck: &Recheck,
) -> Result<Option<String>, Revoked> {
    let mut answer = put(&recheck.question, backend, permit, &promises.asked).await?;
    let said = handoff::take(answer.headers_mut());
    let status = answer.status();
    let cookies = names_of_cookies(&answer);
    match &recheck.question {
        // A no is one as soon as it is said.
        _ if !status.is_success() => return Err(Revoked::Status(status)),
        // A stream's body need not end: what comes after the head is of no interest here.
        Question::Request => drop(answer),
        Question::Path { .. } => ended(backend, answer.into_body()).await?,
    }
    let now = said?.unwrap_or_default();
    let set = |channels: &[Channel]| channels.iter().cloned().collect::<HashSet<_>>();
    let is_same = set(&now.channels) == set(&recheck.channels) && now.subject == recheck.subject;
    if is_same { Ok(cookies) } else { Err(Revoked::Changed) }
}

/// The names of the cookies that an answer sets, if it sets any.
fn names_of_cookies(answer: &Response<Body>) -> Option<String> {
    let name = |value: &http::HeaderValue| {
        let name = value.as_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name).trim().chars().take(80).flat_map(char::escape_debug).collect::<String>()
    };
    let names: Vec<_> = answer.headers().get_all(header::SET_COOKIE).iter().map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The lines of the notice that a client is gone.
pub(super) fn gone_lines(backend: &Backend, promises: &Promises, end: End) -> Lines {
    let mut lines = lines(backend, &promises.asked, Room::Gone);
    // Some servers answer 411 to a POST that does not say how long it is (RFC 9110 section 8.6).
    lines.add("Content-Length", b"0");
    name_channels(&mut lines, &promises.channels);
    if let Some(subject) = &promises.subject {
        lines.add(SUBJECT, subject.as_str().as_bytes());
    }
    lines.add(REASON, end.as_str().as_bytes());
    lines
}

/// Tells which channels it is about, as a backend would name them.
fn name_channels(lines: &mut Lines, channels: &[Channel]) {
    let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
    lines.add(CHANNEL, names.join(", ").as_bytes());
}

/// Reads the body of an answer to a question to its end, so that its connection can be used again.
///
/// Of an answer whose end is not seen nobody knows whether the backend meant it: a script may have died in the middle,
/// behind a head that was written before it had looked. Old servers that say by closing that this is all
/// (HTTP/1.0) cannot be told from such, and are believed if they close in good order; of nginx's `auth_request`, which
/// looks at no body, nobody gets more.
///
/// # Errors
/// When its end is not seen.
pub(super) async fn ended(backend: &Backend, mut body: Body) -> Result<(), Fault> {
    let name = || backend.name().to_owned();
    let read_to_end = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Fault::Cut { backend: name() }) };
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > MOST_READ {
                return Err(Fault::Endless { backend: name(), limit: MOST_READ });
            }
        }
        Ok(())
    };
    let late = |_| Fault::Unended { backend: name(), waited: END_PATIENCE };
    tokio::time::timeout(END_PATIENCE, read_to_end).await.map_err(late)?
}
