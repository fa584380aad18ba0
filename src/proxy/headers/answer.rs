//! A backend's answer on its way to the client.

use http::HeaderName;
use http::header::{self, HeaderMap, HeaderValue};

use super::{Rules, is_among, is_control, is_for_one_hop, means_websocket, named_by_connection, via};
use crate::http1::chunked::MAX_TRAILER_LINES;
use crate::http1::gate::is_end_to_end;
use crate::http1::{AnswerHead, Field, Header, Lines, elements, essence, strip_start};
use crate::proxy::trailers::Announced;

/// The lines of an answer that are not meant for one hop, nor tell the end of its body. Control headers
/// are among them: they are for us.
pub(in crate::proxy) fn passing(head: &AnswerHead) -> impl Iterator<Item = Header<'_>> {
    let named = named_by_connection(head);
    head.lines().filter(move |line| {
        let is_length = line.field == Field::ContentLength;
        !is_length && !is_for_one_hop(line.field, line.name) && !is_among(&named, line.name)
    })
}

/// The trailers that are announced and may follow a chunked body (RFC 9110 section 6.6.2).
pub(in crate::proxy) fn announced_trailers(head: &AnswerHead) -> Announced {
    if !head.has(Field::Trailer) || !head.has(Field::TransferEncoding) {
        return Announced::new();
    }
    let names = head.values(Field::Trailer).flat_map(elements);
    let may_pass =
        |name: &&[u8]| !is_for_one_hop(Field::of(name), name) && !is_control(name) && !is_end_to_end(name);
    let names = names.filter(may_pass).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.take(MAX_TRAILER_LINES).collect()
}

/// The head of an answer that switches to WebSocket, as the client is told. `None`: it switches to
/// something that nobody asked for.
pub(in crate::proxy) fn switched(head: &AnswerHead, rules: &Rules) -> Option<Vec<u8>> {
    if !means_websocket(head) {
        return None;
    }
    let mut lines = Lines::after(b"HTTP/1.1 101 Switching Protocols\r\n".to_vec());
    for line in passing(head).filter(|line| !is_control(line.name)) {
        lines.copy(line);
    }
    if rules.via {
        lines.add("Via", via(head.start.version).as_bytes());
    }
    // Spelt as servers do: some clients compare it byte by byte.
    lines.add("Connection", b"Upgrade");
    head.values(Field::Upgrade).for_each(|value| lines.add("Upgrade", value));
    Some(lines.into_head())
}

/// The lines of an interim answer that pass on.
pub(in crate::proxy) fn interim(head: &AnswerHead) -> Lines {
    let mut lines = Lines::with_capacity(head.size());
    for line in passing(head).filter(|line| !is_control(line.name)) {
        lines.copy(line);
    }
    lines
}

/// Whether the answer is an event stream, by its type.
pub(in crate::proxy) fn is_event_stream(head: &AnswerHead) -> bool {
    head.values(Field::ContentType).next().is_some_and(is_event_stream_type)
}

fn is_event_stream_type(value: &[u8]) -> bool {
    essence(value).eq_ignore_ascii_case(super::EVENT_STREAM.as_bytes())
}

/// Sets the headers of an event stream right (PROTOCOL 6.1), whatever the backend thought of them, so
/// that nothing on the way holds it back. Those of any other answer stay.
///
/// Whether it is one; then with the charset that its type declares, if that is not UTF-8, which event streams are
/// by their nature.
pub fn own_stream(headers: &mut HeaderMap) -> Option<Charset> {
    let value = headers.get(header::CONTENT_TYPE)?;
    if !is_event_stream_type(value.as_bytes()) {
        return None;
    }
    let charset = other_charset(value.as_bytes());
    let keeps_type = charset.is_some();
    for (name, value) in crate::event::encode::HEADERS {
        let name = HeaderName::from_static(name);
        if !(keeps_type && name == header::CONTENT_TYPE) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.remove(header::CONTENT_LENGTH);
    Some(Charset(charset))
}

/// The charset of an event stream: `None` is UTF-8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Charset(pub Option<Vec<u8>>);

impl Charset {
    /// As the type of an answer declares it.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(header::CONTENT_TYPE).and_then(|value| other_charset(value.as_bytes())))
    }
}

/// The charset that a media type declares, if that is not UTF-8.
fn other_charset(value: &[u8]) -> Option<Vec<u8>> {
    let parameters = value.split(|&byte| byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let unquoted = |charset: &[u8]| {
        charset.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(charset).to_vec()
    };
    let is_utf8 =
        |charset: &Vec<u8>| charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"utf8");
    let mut charsets = parameters.filter_map(|parameter| strip_start(parameter, b"charset=")).map(unquoted);
    charsets.find(|charset| !is_utf8(charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[&str]) -> AnswerHead {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        AnswerHead::parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into()).unwrap()
    }

    /// A map of the lines of a message's head.
    fn headers(lines: &[&str]) -> HeaderMap {
        head(lines).map()
    }

    /// The lines of a map, sorted.
    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_is_meant_for_one_hop_ends_here_and_control_headers_stay() {
        let head = head(&[
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            "Transfer-Encoding: chunked",
            "Upgrade: h2c",
            "Trailer: X-Sum, Outboard-Channel",
            "Via: 1.1 inner",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Outboard-Channel: news",
        ]);

        let names: Vec<_> = passing(&head).map(|line| String::from_utf8_lossy(line.name)).collect();

        assert_eq!(names, ["Via", "Set-Cookie", "Set-Cookie", "Outboard-Channel"]);
        assert_eq!(announced_trailers(&head)[..], ["x-sum"]);
    }

    #[test]
    fn trailers_without_a_chunked_body_are_not_announced() {
        assert!(announced_trailers(&head(&["Content-Length: 5", "Trailer: X-Sum"])).is_empty());
    }

    #[test]
    fn a_switch_to_what_was_asked_for_is_told_without_control_headers() {
        let head_of_it =
            head(&["Upgrade: WebSocket", "Connection: upgrade", "X-A: b", "Outboard-Channel: c"]);
        let rules = Rules::default();
        let told = switched(&head_of_it, &rules);

        let told = String::from_utf8(told.unwrap()).unwrap();
        assert_eq!(
            told,
            "HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
        );
        assert!(switched(&head(&["Upgrade: h2c", "Connection: upgrade"]), &rules).is_none());
    }

    #[test]
    fn an_event_stream_gets_the_headers_that_let_it_through() {
        let mut map =
            headers(&["Content-Type: Text/Event-Stream", "Cache-Control: public", "Content-Length: 9"]);

        own_stream(&mut map);

        assert_eq!(
            lines(&map),
            [
                "cache-control: no-cache, no-store, no-transform",
                "content-type: text/event-stream; charset=utf-8",
                "x-accel-buffering: no",
                "x-content-type-options: nosniff",
            ]
        );
    }

    #[test]
    fn a_charset_other_than_utf_8_stays_visible() {
        for (given, expected) in [
            ("text/event-stream;charset=\"UTF-8\"", "text/event-stream; charset=utf-8"),
            ("text/event-stream; x=1; charset=utf8", "text/event-stream; charset=utf-8"),
            ("text/event-stream; charset=iso-8859-1", "text/event-stream; charset=iso-8859-1"),
            ("text/html; charset=iso-8859-1", "text/html; charset=iso-8859-1"),
        ] {
            let mut map = headers(&[&format!("Content-Type: {given}")]);

            own_stream(&mut map);

            assert_eq!(map["content-type"], expected);
        }
    }

    #[test]
    fn only_the_exact_type_is_an_event_stream() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("TEXT/event-stream ; charset=utf-8", true),
            ("text/event -stream", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_event_stream(&head(&[&format!("Content-Type: {value}")])), expected, "{value}");
        }
        assert!(!is_event_stream(&head(&[])));
    }
}
