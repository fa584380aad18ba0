//! Requests of our own to the backend, on behalf of a client: may it listen, may it still, it is gone.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;

use super::Asked;
use crate::body::Body;
use crate::channel::Channel;
use crate::handoff::{self, Handoff};
use crate::proxy::{Backend, Fault, on_behalf_of};

/// The channels that a question is about.
const CHANNEL: HeaderName = HeaderName::from_static("outboard-channel");
/// The subject that a client was accepted for.
pub(super) const SUBJECT: HeaderName = HeaderName::from_static("outboard-subject");
/// Why a stream ended.
pub(super) const REASON: HeaderName = HeaderName::from_static("outboard-reason");
/// The path and query that the client asked for.
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

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
    /// The question as a request on behalf of the client. `None` if its path is none.
    pub(super) fn request(&self, asked: &Asked) -> Option<Request<Body>> {
        match self {
            Self::Request => Some(again(asked)),
            Self::Auth { path, channels } => {
                let mut request = request(Method::GET, path, asked)?;
                if !channels.is_empty() {
                    name_channels(request.headers_mut(), channels);
                }
                Some(request)
            }
        }
    }
}

/// A request for `path`, with the client's cookies and the like. `None` if `path` is none.
pub(super) fn request(method: Method, path: &str, asked: &Asked) -> Option<Request<Body>> {
    let Ok(uri) = path.parse::<Uri>() else {
        tracing::error!(path, "the backend cannot be asked: this is no path");
        return None;
    };
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = on_behalf_of(&asked.headers, &asked.peer, asked.id);
    if request.method() == Method::POST {
        // Some servers answer 411 to a POST that does not say how long it is (RFC 9110 8.6).
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(original) = asked.uri.path_and_query() {
        set(request.headers_mut(), ORIGINAL_URI, original.as_str());
    }
    Some(request)
}

/// The client's own request once more.
fn again(asked: &Asked) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = asked.uri.clone();
    *request.headers_mut() = on_behalf_of(&asked.headers, &asked.peer, asked.id);
    request
}

/// Asks whether a client may still listen; only an answer that says the same as the first lets it.
///
/// # Errors
/// With anything else, be it that nobody answers.
pub(super) async fn confirm(
    backend: &Backend,
    request: Request<Body>,
    first: &Handoff,
) -> Result<(), Revoked> {
    let mut answer = backend.ask(request).await?;
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

/// Sets a header to text that may be beyond ASCII.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(_) => tracing::error!(header = %name, value, "cannot be said in a header"),
    }
}

/// Tells which channels it is about, as a backend would name them.
pub(super) fn name_channels(headers: &mut HeaderMap, channels: &[Channel]) {
    let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
    set(headers, CHANNEL, &names.join(", "));
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
