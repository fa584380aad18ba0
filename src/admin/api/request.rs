//! The body of a request, and what it says it is.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::time::error::Elapsed;

use super::problem::Problem;
use crate::body::{Body, BodyError};
use crate::http1::{Field, RequestHead};

/// How long a body may pause.
const PATIENCE: Duration = Duration::from_secs(30);

/// The languages in which an event can be posted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Language {
    /// The body is the data.
    Text,
    /// An object with the parts of an event.
    Json,
    /// Frames, as on the publish socket.
    Frames,
}

impl Language {
    /// What the headers say that the body is.
    pub(super) fn of(head: &RequestHead) -> Result<Self, Problem> {
        let unsupported = |text: String| Err(Problem::ContentType(text));
        if let Some(encoding) = head.named("content-encoding").next()
            && !encoding.eq_ignore_ascii_case(b"identity")
        {
            return unsupported("send the body as it is, without Content-Encoding".to_owned());
        }
        let value = match head.values(Field::ContentType).next() {
            // What most say is not taken apart.
            None | Some(b"text/plain") => return Ok(Self::Text),
            Some(value) => String::from_utf8_lossy(value).to_ascii_lowercase(),
        };
        let mut parts = value.split(';').map(str::trim);
        let language = match parts.next().unwrap_or_default() {
            "" | "text/plain" => Self::Text,
            "application/json" => Self::Json,
            "text/event-stream" => Self::Frames,
            "application/x-www-form-urlencoded" => {
                return unsupported(format!(
                    "a form (which `curl -d` sends unless told otherwise) is not an event: \
                     for data as it is, add -H 'Content-Type: text/plain'; {KNOWN}"
                ));
            }
            other => return unsupported(format!("`{}` is not a type of event: {KNOWN}", printable(other))),
        };
        let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|name| name.trim_matches('"'));
        match charset {
            None | Some("utf-8" | "utf8" | "us-ascii") => Ok(language),
            Some(other) => unsupported(format!(
                "events are UTF-8, not {}: convert the text before sending it",
                printable(other)
            )),
        }
    }
}

const KNOWN: &str = "the types are text/plain, application/json and text/event-stream";

fn printable(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Reads a body of at most `limit` bytes; not at all if it announces more.
pub(super) async fn read(body: &mut Body, limit: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Problem::too_large(limit));
    }
    let mut read = BytesMut::new();
    loop {
        let frame = match next(body).await {
            Err(_elapsed) => return Err(Problem::Stalled(PATIENCE)),
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Err(error))) => return Err(Problem::CutOff(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if read.len() + bytes.len() > limit {
            return Err(Problem::too_large(limit));
        }
        if read.is_empty() && body.is_end_stream() {
            // All of it has come at once: no need to copy it.
            return Ok(bytes);
        }
        read.extend_from_slice(&bytes);
    }
}

/// The next piece. Most bodies are there when they are asked for, and then no clock is started.
async fn next(body: &mut Body) -> Result<Option<Result<Frame<Bytes>, BodyError>>, Elapsed> {
    let at_once = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    match at_once {
        Poll::Ready(frame) => Ok(frame),
        Poll::Pending => tokio::time::timeout(PATIENCE, body.frame()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &str) -> RequestHead {
        RequestHead::parse(format!("POST /channels/a HTTP/1.1\r\n{lines}\r\n").into()).unwrap()
    }

    fn language(content_type: &str) -> Result<Language, String> {
        let head = with(&format!("Content-Type: {content_type}\r\n"));
        Language::of(&head).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_content_type_names_the_language() {
        assert_eq!(Language::of(&with("")).unwrap(), Language::Text);
        assert_eq!(language("text/plain"), Ok(Language::Text));
        assert_eq!(language("Text/Plain; charset=UTF-8"), Ok(Language::Text));
        assert_eq!(language("application/json;charset=\"utf-8\""), Ok(Language::Json));
        assert_eq!(language("text/event-stream"), Ok(Language::Frames));
    }

    #[test]
    fn other_types_are_refused_with_the_list() {
        assert_eq!(
            language("image/png"),
            Err("`image/png` is not a type of event: \
                 the types are text/plain, application/json and text/event-stream"
                .to_owned())
        );
        assert!(
            language("application/x-www-form-urlencoded")
                .unwrap_err()
                .contains("-H 'Content-Type: text/plain'")
        );
        assert!(language("text/plain; charset=iso-8859-1").unwrap_err().contains("not iso-8859-1"));
    }
}
