//! What a stream begins with: the response's head and the first bytes after it.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version, header};

use crate::body::Body;
use crate::broker::Gap;
use crate::event::Event;
use crate::event::encode::{self, HEADERS};
use crate::http1::{Lines, has_chunks, title_case};

/// Headers of a backend's response that have no meaning for the stream that takes its place, or
/// that are ours to set, besides [`HEADERS`].
const REPLACED: [HeaderName; 11] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::CONNECTION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::PRAGMA,
    header::TRANSFER_ENCODING,
];

/// The head of a stream's response, with `more` headers of a backend.
pub(super) fn head(version: Version, more: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let mut lines = Lines::after(head);
    for (name, value) in HEADERS {
        lines.put(&title_case(name), value.as_bytes());
    }
    lines.put("Date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    let is_ours = |name: &HeaderName| HEADERS.iter().any(|(ours, _)| name == ours);
    for (name, value) in more {
        if !REPLACED.contains(name) && !is_ours(name) {
            lines.put(&title_case(name.as_str()), value.as_bytes());
        }
    }
    if has_chunks(version) {
        lines.put("Transfer-Encoding", b"chunked");
    }
    // When the stream ends, so does the connection: nobody parses requests on it any more.
    lines.put("Connection", b"close");
    lines.into_head()
}

/// The first bytes of a stream: they tell the proxies on the way that the body has begun.
///
/// No blank line follows the hint: it holds as soon as its line ends (WHATWG HTML 9.2.6), and
/// some clients would take the blank line for an empty message.
pub fn first_bytes(retry: Duration, pad: usize) -> String {
    format!("{}:\nretry: {}\n", padding(pad), retry.as_millis())
}

/// A comment of so many bytes, for clients and hops that hold back what comes first until there is enough of it.
pub fn padding(bytes: usize) -> String {
    // Without a colon and the line's end it would be none.
    match bytes {
        0 => String::new(),
        _ => format!(":{}\n", " ".repeat(bytes.saturating_sub(2))),
    }
}

/// The event that tells a client that it has missed something.
pub(super) fn gap_event(gap: &Gap) -> String {
    #[derive(serde::Serialize)]
    struct Data<'a> {
        reason: &'a str,
        requested: Option<&'a str>,
        oldest: Option<&'a str>,
        newest: Option<&'a str>,
    }
    let data = Data {
        reason: gap.reason.as_str(),
        requested: gap.requested.as_deref(),
        oldest: gap.oldest.as_deref(),
        newest: gap.newest.as_deref(),
    };
    // Strings and nothing else always become JSON.
    let mut event = Event::with_data(&serde_json::to_string(&data).unwrap_or_default());
    // A name of our own has nothing that a name cannot have.
    let _ = event.set_name("outboard.gap");
    encode::block(&event, Some(&gap.resume))
}

/// The answer to an `EventSource` that cannot be served just now: a stream that ends at once
/// and says when to come back. Any error status would end it for good (PROTOCOL 6.9), and so would a missing word
/// about its `origin`, if it comes from another one; there is nothing in it to read.
pub fn come_back(retry: Duration, origin: Option<&[u8]>) -> Response<Body> {
    let mut response = streaming(Body::from(first_bytes(retry, 0)));
    let headers = response.headers_mut();
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_bytes(origin).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}

/// An event stream with this body.
pub fn streaming(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    set_headers(response.headers_mut());
    response
}

/// Makes the headers of a backend's response those of the stream that takes its place, as [`head`] writes
/// them: `HEAD` is told what `GET` is (RFC 9110 section 9.3.2).
pub fn take_place_of(headers: &mut HeaderMap) {
    for name in REPLACED {
        headers.remove(name);
    }
    set_headers(headers);
}

/// Makes `headers` those of an event stream, in place of others of their names.
fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Half to one and a half times as long, so that clients that were cut together do not come back
/// together.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + random())
}

/// One to one and a half times as long: nobody comes back sooner than was asked for.
pub fn stretched(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + random() / 2.0)
}

/// A number from 0 to 1.
pub(super) fn random() -> f64 {
    let mut random = [0; 2];
    // Without randomness it is just not spread.
    if getrandom::fill(&mut random).is_err() {
        return 0.5;
    }
    f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX)
}

/// The opening of a stream, ready to be written.
pub(super) fn opening(
    version: Version,
    more: &HeaderMap,
    retry: Duration,
    pad: usize,
    gap: Option<&Gap>,
) -> Bytes {
    let mut first = first_bytes(retry, pad);
    if let Some(gap) = gap {
        let _ = write!(first, "{}", gap_event(gap));
    }
    let mut opening = head(version, more);
    opening.extend_from_slice(&encode::chunk_if(has_chunks(version), first.as_bytes()));
    opening.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Reason;
    use crate::event::Position;

    #[test]
    fn jitter_is_half_to_one_and_a_half() {
        for _ in 0..1000 {
            let jittered = jittered(Duration::from_secs(2)).as_millis();

            assert!((1000..=3000).contains(&jittered), "{jittered}");
        }
    }

    #[test]
    fn a_gap_is_an_event_that_a_page_can_hear() {
        let gap = Gap {
            reason: Reason::Trimmed,
            requested: Some("e-3".into()),
            oldest: Some("e-8".into()),
            newest: None,
            resume: Position::parse("e-7").unwrap(),
        };

        assert_eq!(
            gap_event(&gap),
            "id: e-7\nevent: outboard.gap\n\
             data: {\"reason\":\"trimmed\",\"requested\":\"e-3\",\"oldest\":\"e-8\",\"newest\":null}\n\n"
        );
    }
}
