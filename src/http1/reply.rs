//! An answer on its way to a client: its lines, and how its body's end will be told.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode, Version, header};
use http_body::Body as _;

use super::field::Field;
use super::head::{Header, RequestHead};
use super::lines::{Lines, title_case};
use super::writer::{Framing, Writer};
use super::{has_chunks, is_bodyless};
use crate::body::Body;

/// An answer on its way to a client.
pub struct Reply {
    status: StatusCode,
    /// What stands behind the status; empty for the usual words.
    reason: Bytes,
    lines: Lines,
    /// The length that is told of a body which is not sent.
    length: Option<u64>,
    dated: bool,
    close: bool,
    body: Body,
}

/// What a server wrote behind a status, kept with a `Response`, which has no place for it.
#[derive(Clone, Debug)]
pub struct Words {
    of: StatusCode,
    text: Bytes,
}

impl Words {
    /// The words behind `status`. They are not said if the response gets another status on its way.
    pub fn new(status: StatusCode, text: &[u8]) -> Self {
        Self { of: status, text: Bytes::copy_from_slice(text) }
    }
}

/// What of a request decides how its answer is written.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    version: Version,
    is_head: bool,
    keeps_alive: bool,
    takes_trailers: bool,
}

impl Terms {
    /// The terms of a request.
    pub fn of(head: &RequestHead) -> Self {
        Self {
            version: head.start.version,
            is_head: head.start.method == http::Method::HEAD,
            keeps_alive: head.keeps_alive(),
            takes_trailers: head.lists(Field::Te, b"trailers"),
        }
    }

    /// The terms on which everybody is answered whose request cannot be understood.
    pub const UNKNOWN: Self =
        Self { version: Version::HTTP_11, is_head: false, keeps_alive: false, takes_trailers: false };
}

impl Reply {
    /// An answer without lines. An empty `reason` becomes the usual one.
    pub fn new(status: StatusCode, reason: &[u8], body: Body) -> Self {
        let reason = match reason == usual(status) {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(reason),
        };
        let lines = Lines::with_capacity(512);
        Self { status, reason, lines, length: None, dated: false, close: false, body }
    }

    /// Adds a line as it came. Those that tell the body's end are left out: they are written anew.
    pub fn copy(&mut self, line: Header<'_>) {
        match line.field {
            Field::ContentLength | Field::TransferEncoding | Field::Connection => return,
            Field::Date => self.dated = true,
            _ => {}
        }
        self.lines.copy(line);
    }

    /// Adds a line of ours.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.lines.add(name, value);
    }

    /// Adds lines that are written already, each with its end.
    pub fn add_all(&mut self, lines: &'static str) {
        self.lines.put_all(lines);
    }

    /// Has the connection end with it.
    pub fn close(&mut self) {
        self.close = true;
    }

    /// The length that the body would have if it were sent: it is told to `HEAD` and with `304`.
    pub fn state_length(&mut self, length: Option<u64>) {
        self.length = length;
    }

    /// Makes it a message on the wire, for a request with these `terms`; whether the connection ends
    /// with it, as it does when `close` asks for that. `buffer` is what it is written from.
    pub fn into_writer(mut self, terms: Terms, close: bool, mut buffer: Vec<u8>) -> (Writer, bool) {
        let framing = self.framing(terms);
        match framing {
            Framing::Exactly(length) => self.say_length(length),
            Framing::Chunked { .. } => self.lines.put("Transfer-Encoding", b"chunked"),
            Framing::None if self.has_length(terms) => {
                if let Some(length) = self.length {
                    self.say_length(length);
                }
            }
            Framing::None | Framing::UntilClose => {}
        }
        if !self.dated {
            self.lines.put("Date", &date());
        }
        let close = close || self.close || !terms.keeps_alive || framing == Framing::UntilClose;
        if close {
            self.lines.put("Connection", b"close");
        } else if terms.version == Version::HTTP_10 {
            self.lines.put("Connection", b"keep-alive");
        }
        buffer.clear();
        self.write_status_line(&mut buffer);
        buffer.extend_from_slice(self.lines.as_bytes());
        buffer.extend_from_slice(b"\r\n");
        (Writer::new(buffer, self.body, framing), close)
    }

    fn write_status_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(if self.reason.is_empty() { usual(self.status) } else { &self.reason });
        out.extend_from_slice(b"\r\n");
    }

    /// How the end of the body is told (RFC 9112 section 6).
    fn framing(&mut self, terms: Terms) -> Framing {
        let exact = self.body.size_hint().exact();
        if terms.is_head || is_bodyless(self.status) {
            // No body may also mean that the length of what is not sent is not known.
            self.length = self.length.or(exact.filter(|length| terms.is_head && *length > 0));
            return Framing::None;
        }
        match exact {
            Some(length) => Framing::Exactly(length),
            None if has_chunks(terms.version) => Framing::Chunked { trailers: terms.takes_trailers },
            None => Framing::UntilClose,
        }
    }

    /// Whether a length may be told of the body that is not sent.
    fn has_length(&self, terms: Terms) -> bool {
        self.status == StatusCode::NOT_MODIFIED || terms.is_head && !is_bodyless(self.status)
    }

    fn say_length(&mut self, length: u64) {
        // Without a detour through a formatter: nearly every answer has such a line.
        self.lines.put("Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let words = parts.extensions.get::<Words>().filter(|words| words.of == parts.status);
        let mut reply = Self::new(parts.status, words.map_or(b"", |words| &words.text), body);
        for (name, value) in &parts.headers {
            match *name {
                header::CONTENT_LENGTH => {
                    reply.length = value.to_str().ok().and_then(|digits| digits.parse().ok());
                }
                header::TRANSFER_ENCODING => {}
                header::CONNECTION => reply.close |= value.as_bytes().eq_ignore_ascii_case(b"close"),
                _ => {
                    reply.dated |= *name == header::DATE;
                    reply.add(&title_case(name.as_str()), value.as_bytes());
                }
            }
        }
        reply
    }
}

/// The words that go with a status.
fn usual(status: StatusCode) -> &'static [u8] {
    status.canonical_reason().unwrap_or_default().as_bytes()
}

/// The time as headers tell it (RFC 9110 section 5.6.7); it is written once a second and thread.
fn date() -> [u8; 29] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((0, [b' '; 29])) };
    }
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let (written, mut text) = LAST.get();
    if written != seconds {
        let now = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        if let Ok(now) = now.into_bytes().try_into() {
            text = now;
        }
        LAST.set((seconds, text));
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::socket::Socket;

    fn terms(request: &str) -> Terms {
        Terms::of(&RequestHead::parse(format!("{request}\r\n\r\n").into()).unwrap())
    }

    /// What goes over the wire, and whether the connection ends.
    async fn written(reply: impl Into<Reply>, request: &str) -> (String, bool) {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let (mut writer, close) = reply.into().into_writer(terms(request), false, Vec::new());
        std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
        drop(socket);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        (text, close)
    }

    fn reply(status: u16, body: &'static str) -> Reply {
        let mut reply = Reply::new(StatusCode::from_u16(status).unwrap(), b"", body.into());
        let date = Header { field: Field::Date, name: b"Date", value: b"then" };
        reply.copy(date);
        reply
    }

    /// A body whose length nobody knows.
    struct Unmeasured(Option<&'static str>);

    impl http_body::Body for Unmeasured {
        type Data = bytes::Bytes;
        type Error = crate::body::BodyError;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(self.0.take().map(|text| Ok(http_body::Frame::data(text.into()))))
        }
    }

    fn unmeasured() -> Reply {
        let mut reply = reply(200, "");
        reply.body = Body::stream(Unmeasured(Some("abc")));
        reply
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nDate: then\r\n";

    #[tokio::test]
    async fn a_body_ends_as_client_and_body_allow() {
        for (reply, request, rest, closes) in [
            (reply(200, "abc"), "GET / HTTP/1.1", "Content-Length: 3\r\n\r\nabc", false),
            (reply(200, "abc"), "GET / HTTP/1.0", "Content-Length: 3\r\nConnection: close\r\n\r\nabc", true),
            (
                reply(200, "abc"),
                "GET / HTTP/1.0\r\nConnection: keep-alive",
                "Content-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
                false,
            ),
            (
                unmeasured(),
                "GET / HTTP/1.1",
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                false,
            ),
            (unmeasured(), "GET / HTTP/1.0\r\nConnection: keep-alive", "Connection: close\r\n\r\nabc", true),
            (reply(200, "abc"), "HEAD / HTTP/1.1", "Content-Length: 3\r\n\r\n", false),
            (reply(200, ""), "HEAD / HTTP/1.1", "\r\n", false),
        ] {
            assert_eq!(written(reply, request).await, (format!("{HEAD}{rest}"), closes), "{request}");
        }
    }

    #[tokio::test]
    async fn a_status_without_a_body_has_none_and_only_304_tells_its_length() {
        for (status, told) in [(204, ""), (304, "Content-Length: 7\r\n")] {
            let mut reply = reply(status, "abc");
            reply.state_length(Some(7));

            let (text, closes) = written(reply, "GET / HTTP/1.1").await;

            assert!(text.ends_with(&format!("Date: then\r\n{told}\r\n")), "{text}");
            assert!(!closes);
        }
    }

    #[tokio::test]
    async fn the_words_behind_a_status_are_the_backends_own_or_the_usual_ones() {
        for (reason, told) in [("", "OK"), ("OK", "OK"), ("Fine so far", "Fine so far")] {
            let reply = Reply::new(StatusCode::OK, reason.as_bytes(), Body::empty());

            let (text, _) = written(reply, "GET / HTTP/1.1").await;

            assert!(text.starts_with(&format!("HTTP/1.1 200 {told}\r\n")), "{text}");
        }
    }

    #[tokio::test]
    async fn words_that_travel_with_a_response_are_said_unless_its_status_has_changed() {
        for (status, told) in [(StatusCode::OK, "200 Fine so far"), (StatusCode::NOT_FOUND, "404 Not Found")]
        {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Words::new(StatusCode::OK, b"Fine so far"));
            *response.status_mut() = status;

            let (text, _) = written(response, "GET / HTTP/1.1").await;

            assert!(text.starts_with(&format!("HTTP/1.1 {told}\r\n")), "{text}");
        }
    }

    #[tokio::test]
    async fn a_response_keeps_its_headers_and_gets_a_date() {
        let response = Response::builder().header("x-accel-buffering", "no").header("connection", "close");
        let response = response.header("content-length", "99").body(Body::from("abc")).unwrap();

        let (text, closes) = written(response, "GET / HTTP/1.1").await;

        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 3\r\nDate: "),
            "{text}"
        );
        assert!(text.ends_with(" GMT\r\nConnection: close\r\n\r\nabc"), "{text}");
        assert!(closes);
    }
}
