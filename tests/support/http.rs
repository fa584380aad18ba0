//! An HTTP/1 client that hides nothing: the bytes of a request as the test wrote them, the bytes
//! of the answer as they came.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use super::DEADLINE;
use super::sse::{Event, Parser};

/// A request to be written to the wire.
#[derive(Clone)]
pub struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self::new("GET", path, "HTTP/1.1")
    }

    pub fn new(method: &str, path: &str, version: &str) -> Self {
        Self { line: format!("{method} {path} {version}"), headers: Vec::new(), body: Vec::new() }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// A body that does not say its length, in these chunks.
    #[must_use]
    pub fn chunks(mut self, chunks: &[&str]) -> Self {
        let chunk = |chunk: &&str| format!("{:x}\r\n{chunk}\r\n", chunk.len());
        self.body = format!("{}0\r\n\r\n", chunks.iter().map(chunk).collect::<String>()).into_bytes();
        self.header("Transfer-Encoding", "chunked")
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it on a new connection and reads the answer's head.
    pub fn open(&self, address: &str) -> Answer {
        let mut socket = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(&self.bytes(address)).unwrap();
        Answer::read(Box::new(socket), self.line.starts_with("HEAD "))
    }

    /// Sends it to a Unix socket and reads the whole answer.
    pub fn send_to_socket(&self, path: &Path) -> Response {
        let mut socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(&self.bytes("localhost")).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        Answer::read(Box::new(socket), self.line.starts_with("HEAD ")).into_response()
    }

    /// Sends it to a Unix socket for clients and reads the whole answer: who ends the own side there has left.
    pub fn send_to_socket_half_open(&self, path: &Path) -> Response {
        let mut socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(&self.bytes("localhost")).unwrap();
        Answer::read(Box::new(socket), self.line.starts_with("HEAD ")).into_response()
    }

    /// Sends it and reads the whole answer.
    pub fn send(&self, address: &str) -> Response {
        self.open(address).into_response()
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The header lines of an answer, as they came.
#[derive(Clone, Debug)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the only header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "`{name}` is there twice: {self:?}");
        value
    }
}

enum Framing {
    Chunked { left: usize },
    Length(usize),
    UntilClose,
}

/// An answer whose body is read piece by piece.
pub struct Answer {
    socket: Box<dyn Read + Send>,
    waiting: Vec<u8>,
    framing: Framing,
    ended: bool,
    may_break_off: bool,
    pub status: u16,
    pub version: String,
    pub headers: Headers,
}

impl Answer {
    fn read(mut socket: Box<dyn Read + Send>, to_head: bool) -> Self {
        let mut waiting = Vec::new();
        let end = loop {
            if let Some(end) = waiting.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            let seen = String::from_utf8_lossy(&waiting).into_owned();
            assert!(receive(&mut socket, &mut waiting) > 0, "closed within the head: {seen:?}");
        };
        let head = String::from_utf8_lossy(&waiting[..end]).into_owned();
        waiting.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut status_line = lines.next().unwrap().splitn(3, ' ');
        let version = status_line.next().unwrap().to_owned();
        let status = status_line.next().and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let headers = Headers(
            lines
                .map(|line| line.split_once(':').unwrap_or_else(|| panic!("header without colon: {line}")))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        );
        let framing = match (headers.get("transfer-encoding"), headers.get("content-length")) {
            _ if to_head || status == 204 || status == 304 || status < 200 => Framing::Length(0),
            (Some("chunked"), None) => Framing::Chunked { left: 0 },
            (None, Some(length)) => Framing::Length(length.parse().unwrap()),
            (None, None) => Framing::UntilClose,
            other => panic!("ambiguous framing: {other:?}"),
        };
        Self { socket, waiting, framing, ended: false, may_break_off: false, status, version, headers }
    }

    /// Whether the body ends only with the connection.
    pub fn is_close_delimited(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Panics
    /// When the connection breaks off within the body, or at the deadline.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        if self.ended || (self.may_break_off && self.is_broken_off()) {
            return None;
        }
        let piece = match self.framing {
            Framing::Length(0) => None,
            Framing::Length(left) => {
                let piece = self.at_most(left);
                assert!(!piece.is_empty(), "closed {left} bytes before the body's end");
                self.framing = Framing::Length(left - piece.len());
                Some(piece)
            }
            Framing::UntilClose => Some(self.at_most(usize::MAX)).filter(|piece| !piece.is_empty()),
            Framing::Chunked { left: 0 } => self.next_chunk(),
            Framing::Chunked { left } => self.of_chunk(left),
        };
        self.ended = piece.is_none();
        piece
    }

    /// Whether the connection has ended where the framing does not.
    fn is_broken_off(&mut self) -> bool {
        self.waiting.is_empty() && receive(&mut self.socket, &mut self.waiting) == 0
    }

    fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16)
            .unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size > 0 {
            return self.of_chunk(size);
        }
        while !self.line()?.is_empty() {}
        None
    }

    fn of_chunk(&mut self, left: usize) -> Option<Vec<u8>> {
        let piece = self.at_most(left);
        assert!(!piece.is_empty(), "closed within a chunk");
        let left = left - piece.len();
        if left == 0 {
            let end = self.line()?;
            assert_eq!(end, "", "a chunk ends with an empty line");
        }
        self.framing = Framing::Chunked { left };
        Some(piece)
    }

    /// A line of the framing; `None` if the stream may break off and does.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.waiting.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.waiting[..end]).into_owned();
                self.waiting.drain(..end + 2);
                return Some(line);
            }
            let got = receive(&mut self.socket, &mut self.waiting);
            if got == 0 && self.may_break_off {
                return None;
            }
            assert!(got > 0, "closed within the chunked framing");
        }
    }

    fn at_most(&mut self, limit: usize) -> Vec<u8> {
        if self.waiting.is_empty() {
            receive(&mut self.socket, &mut self.waiting);
        }
        let take = limit.min(self.waiting.len());
        self.waiting.drain(..take).collect()
    }

    /// Reads the body to its end.
    pub fn into_response(mut self) -> Response {
        let mut body = Vec::new();
        while let Some(piece) = self.piece() {
            body.extend(piece);
        }
        Response { status: self.status, headers: self.headers, body }
    }

    /// Reads the body as an event stream.
    pub fn into_stream(self) -> Stream {
        Stream {
            answer: self,
            parser: Parser::default(),
            second_opinion: sse_parse::SseParser::new(),
            events: VecDeque::new(),
            bytes: Vec::new(),
        }
    }
}

/// Reads what is there, 0 at the end.
fn receive(socket: &mut impl Read, into: &mut Vec<u8>) -> usize {
    let mut buffer = [0; 16 << 10];
    match socket.read(&mut buffer) {
        Ok(got) => {
            into.extend(&buffer[..got]);
            got
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("nothing came until the deadline; before that: {:?}", String::from_utf8_lossy(into))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("cannot read: {error}"),
    }
}

/// An event stream being read, by two parsers that have to agree.
pub struct Stream {
    answer: Answer,
    parser: Parser,
    second_opinion: sse_parse::SseParser,
    events: VecDeque<Event>,
    /// The body so far, byte by byte.
    pub bytes: Vec<u8>,
}

impl Stream {
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers.get(name)
    }

    pub fn is_close_delimited(&self) -> bool {
        self.answer.is_close_delimited()
    }

    /// The reconnect hint so far, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.parser.retry
    }

    pub fn comments(&self) -> &[String] {
        &self.parser.comments
    }

    /// The next event.
    ///
    /// # Panics
    /// When the stream ends instead, or at the deadline.
    pub fn next(&mut self) -> Event {
        self.next_or_end().unwrap_or_else(|| panic!("the stream ended; before that: {:?}", self.text()))
    }

    /// The data of the next event.
    pub fn data(&mut self) -> String {
        self.next().data
    }

    /// The next event, or `None` if the stream ends in the proper way.
    ///
    /// # Panics
    /// At the deadline.
    pub fn next_or_end(&mut self) -> Option<Event> {
        let deadline = Instant::now() + DEADLINE;
        while self.events.is_empty() {
            // Heartbeats alone keep a read from timing out.
            assert!(Instant::now() < deadline, "no event came; before that: {:?}", self.text());
            self.read_piece()?;
        }
        self.events.pop_front()
    }

    /// The next event, or `None` if the stream ends, were it in the middle of a chunk.
    pub fn next_until_cut(&mut self) -> Option<Event> {
        self.answer.may_break_off = true;
        self.next_or_end()
    }

    /// Every event up to the stream's end.
    pub fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next_or_end()).collect()
    }

    /// Reads until the body holds `text`.
    pub fn read_until(&mut self, text: &str) {
        self.read_while(text, |seen| !seen.contains(text));
    }

    /// Reads until the body so far ends with a newline.
    pub fn read_until_line_end(&mut self) {
        self.read_while("the end of its line", |seen| !seen.ends_with('\n'));
    }

    fn read_while(&mut self, what: &str, unfinished: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while unfinished(&self.text()) {
            assert!(Instant::now() < deadline, "{what:?} never came: {:?}", self.text());
            assert!(self.read_piece().is_some(), "the stream ended without {what:?}: {:?}", self.text());
        }
    }

    /// The body so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn read_piece(&mut self) -> Option<()> {
        let piece = self.answer.piece()?;
        self.bytes.extend(&piece);
        let events = self.parser.read(&piece);
        self.second_opinion.feed(&piece);
        for event in &events {
            let second = self.second_opinion.next_event().expect("both parsers see the same events");
            let second = Event { name: second.event, data: second.data, id: second.id };
            assert_eq!(*event, second, "two parsers read different events");
        }
        assert!(self.second_opinion.next_event().is_none(), "the second parser sees one more");
        self.events.extend(events);
        Some(())
    }
}
