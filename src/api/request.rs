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
use crate::words::printable;

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
        check_coding(head)?;
        let value = match head.values(Field::ContentType).next() {
            // What most say is not taken apart.
            None | Some(b"text/plain") => return Ok(Self::Text),
            Some(value) => String::from_utf8_lossy(value).to_ascii_lowercase(),
        };
        let mut parts = value.split(';').map(str::trim);
        let language = Self::of_type(parts.next().unwrap_or_default())?;
        check_charset(parts)?;
        Ok(language)
    }

    /// The language of a media type in lower case.
    fn of_type(essence: &str) -> Result<Self, Problem> {
        match essence {
            "" | "text/plain" => Ok(Self::Text),
            "application/json" => Ok(Self::Json),
            "text/event-stream" => Ok(Self::Frames),
            "application/x-www-form-urlencoded" => Err(Problem::ContentType(format!(
                "a form (which `curl -d` sends unless told otherwise) is not an event: \
                 for data as it is, add -H 'Content-Type: text/plain'; {KNOWN}"
            ))),
            other => {
                let text = format!("`{}` is not a type of event: {KNOWN}", printable(other, SHOWN));
                Err(Problem::ContentType(text))
            }
        }
    }
}

/// Refuses a body in a coding (RFC 9110 section 8.4): we have nothing to undo one.
fn check_coding(head: &RequestHead) -> Result<(), Problem> {
    match head.named("content-encoding").next() {
        Some(coding) if !coding.eq_ignore_ascii_case(b"identity") => {
            Err(Problem::ContentType("send the body as it is, without Content-Encoding".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Refuses a charset, among the parameters of a media type in lower case, that is not UTF-8 or part of it.
fn check_charset<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let charset = parameters.find_map(|parameter| parameter.strip_prefix("charset="));
    match charset.map(|name| name.trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(other) => Err(Problem::ContentType(format!(
            "events are UTF-8, not {}: convert the text before sending it",
            printable(other, SHOWN)
        ))),
    }
}

const KNOWN: &str = "the types are text/plain, application/json and text/event-stream";

/// How much of what others wrote is shown, in characters.
const SHOWN: usize = 80;

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

    #[test]
    fn a_body_in_a_coding_is_refused() {
        let language = |coding| Language::of(&with(&format!("Content-Encoding: {coding}\r\n")));

        assert_eq!(language("Identity").unwrap(), Language::Text);
        assert!(matches!(language("gzip"), Err(Problem::ContentType(_))));
    }
}
