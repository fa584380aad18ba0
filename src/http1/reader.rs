//! What comes from a socket: heads, and bodies out of their framing.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use tokio::io::AsyncReadExt as _;

use super::chunked::{BadChunk, Decoder, Reading};
use super::head::first_line;
use super::repair::BOM;
use super::{AnswerHead, BadAnswer, Excerpt, KEPT, Length, MAX_HEAD, Refusal, RequestHead, begins};
use crate::socket::Socket;

/// How much is read at once, in bytes.
const READ: usize = 64 << 10;

thread_local! {
    /// What is read into first, so that a connection keeps only as many bytes as it was sent: most
    /// connections are idle, and an idle one keeps no buffer.
    static BLOCK: RefCell<BytesMut> = RefCell::default();
}

/// Reads at most `most` bytes of what has come, and has `take` take them from the block; none at the end.
fn poll_read<T>(
    cx: &mut Context<'_>,
    socket: &mut Socket,
    most: usize,
    take: impl FnOnce(&mut BytesMut) -> T,
) -> Poll<io::Result<T>> {
    BLOCK.with_borrow_mut(|block| {
        // The block is used again, unless a part of it is still on its way to somebody.
        block.reserve(READ);
        ready!(pin!(socket.read_buf(&mut block.limit(most.min(READ)))).poll(cx))?;
        let taken = take(block);
        block.clear();
        Poll::Ready(Ok(taken))
    })
}

/// What has come from a socket and was not used yet.
#[derive(Debug, Default)]
pub struct Reader {
    input: BytesMut,
    /// Where the line of a head begins that is being looked at.
    line: usize,
    /// How far it was looked at.
    searched: usize,
    /// The first line of a head that was refused and is gone from here.
    refused: Option<Box<str>>,
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The connection ended within it.
    #[error("the connection was closed before the message was complete")]
    Cut,
    /// Its chunks are none.
    #[error(transparent)]
    Chunk(#[from] BadChunk),
}

impl Reader {
    /// Begins with what somebody has read already.
    pub fn new(read_ahead: Bytes) -> Self {
        Self { input: read_ahead.into(), line: 0, searched: 0, refused: None }
    }

    /// Whether everything that has come was used.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// How many bytes were not used.
    pub fn len(&self) -> usize {
        self.input.len()
    }

    /// Whether as much waits here as may.
    pub fn is_full(&self) -> bool {
        self.input.len() >= MAX_HEAD
    }

    /// All that was not used.
    pub fn take_rest(&mut self) -> Bytes {
        self.take(self.input.len())
    }

    /// Reads what has come; 0 at the end.
    ///
    /// # Errors
    /// When the system says so.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<usize>> {
        poll_read(cx, socket, READ, |read| {
            self.input.extend_from_slice(read);
            read.len()
        })
    }

    /// The head of the next request, once it is whole.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn request(&mut self) -> Result<Option<RequestHead>, Refusal> {
        match self.take_head(true)? {
            Some(bytes) => match RequestHead::parse_or_quote(bytes) {
                Ok(head) => Ok(Some(head)),
                Err((refusal, line)) => {
                    self.refused = Some(line);
                    Err(refusal)
                }
            },
            // Such as TLS: whoever speaks it waits for an answer before there is a line's end.
            None if self.input.first().is_some_and(|byte| !byte.is_ascii_graphic() && *byte != b'\r') => {
                Err(Refusal::Head)
            }
            None => Ok(None),
        }
    }

    /// The first line of what was refused, for people.
    pub fn refused_line(&mut self) -> Box<str> {
        self.refused.take().unwrap_or_else(|| first_line(&self.input))
    }

    /// The head of the next answer, once it is whole.
    ///
    /// # Errors
    /// When it is none, or too large. If it does not begin as one, all that has come is still here.
    pub fn answer(&mut self) -> Result<Option<AnswerHead>, BadAnswer> {
        if !self.may_be_answer() {
            return Err(BadAnswer::Start(Excerpt::of(&self.input)));
        }
        match self.take_head(false) {
            Ok(Some(bytes)) => AnswerHead::parse(bytes).map(Some),
            Ok(None) => Ok(None),
            Err(_too_large) => Err(BadAnswer::TooLarge),
        }
    }

    /// Whether an answer can begin with what has come.
    fn may_be_answer(&self) -> bool {
        let input = &self.input[..];
        if self.searched > 0 || input.starts_with(b"HTTP/1.") {
            return true;
        }
        let input = input.trim_ascii_start();
        let input = if BOM.starts_with(&input[..input.len().min(BOM.len())]) {
            input.get(BOM.len()..).unwrap_or_default().trim_ascii_start()
        } else {
            input
        };
        [&b"HTTP/1."[..], b"ICY "].into_iter().any(|start| {
            let size = start.len().min(input.len());
            input[..size].eq_ignore_ascii_case(&start[..size])
        })
    }

    /// Whether what has come is a text without a head, as HTTP/0.9 had it.
    pub fn is_headless(&self) -> bool {
        let is_text = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
        self.input.first().is_some_and(is_text) && !begins(&self.input, b"HTTP/")
    }

    /// The bytes of a head with the empty line at its end. With `strict`, each line must end in CRLF.
    fn take_head(&mut self, strict: bool) -> Result<Option<Bytes>, Refusal> {
        while let Some(end) = self.head_end(strict)? {
            let head = self.take(end);
            // An empty line ahead of a message does no harm (RFC 9112 section 2.2).
            if !matches!(&head[..], b"\n" | b"\r\n") {
                return Ok(Some(head));
            }
        }
        if self.input.len() >= MAX_HEAD { Err(Refusal::TooLarge) } else { Ok(None) }
    }

    /// Where the first empty line ends, once it is there.
    fn head_end(&mut self, strict: bool) -> Result<Option<usize>, Refusal> {
        for offset in memchr::memchr_iter(b'\n', &self.input[self.searched..]) {
            let end = self.searched + offset;
            let line = &self.input[self.line..end];
            if strict && line.last() != Some(&b'\r') {
                return Err(Refusal::LineEnd);
            }
            if end >= MAX_HEAD {
                return Err(Refusal::TooLarge);
            }
            if matches!(line, b"" | b"\r") {
                return Ok(Some(end + 1));
            }
            self.line = end + 1;
        }
        self.searched = self.input.len();
        Ok(None)
    }

    /// The next `size` bytes, of which there must be as many.
    fn take(&mut self, size: usize) -> Bytes {
        (self.line, self.searched) = (0, 0);
        if size == self.input.len() && size > KEPT {
            return std::mem::take(&mut self.input).freeze();
        }
        // What is left shares the buffer, which is used again once the other part is gone.
        self.input.split_to(size).freeze()
    }
}

/// Reads a body out of its framing.
#[derive(Debug)]
pub struct BodyReader(State);

#[derive(Debug)]
enum State {
    Exactly(u64),
    Chunked(Box<Decoder>),
    /// All data was read, and these follow.
    Trailers(Box<HeaderMap>),
    UntilClose,
    Done,
}

impl BodyReader {
    /// Nothing of the body was read yet.
    pub fn new(length: Length, reading: Reading) -> Self {
        Self(match length {
            Length::Exactly(0) => State::Done,
            Length::Exactly(size) => State::Exactly(size),
            Length::Chunked => State::Chunked(Box::new(Decoder::new(reading))),
            Length::UntilClose => State::UntilClose,
        })
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// How many bytes are left, if that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Exactly(left) => Some(left),
            State::Done => Some(0),
            State::Trailers(_) | State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// The next piece of the body, then its trailers.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        socket: &mut Socket,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        loop {
            if let Some(frame) = self.next(reader) {
                return Poll::Ready(Some(frame));
            }
            if self.is_done() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_more(cx, reader, socket)) {
                Ok(More::End) if matches!(self.0, State::UntilClose) => self.0 = State::Done,
                Ok(More::End) => return Poll::Ready(Some(Err(ReadError::Cut))),
                Ok(More::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(More::Framing) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Reads on, once nothing is left in `reader`. The bytes of a body go from here to the other side's socket
    /// without a copy, if they are many, because no connection can then keep much more memory than it has bytes.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        socket: &mut Socket,
    ) -> Poll<Result<More, ReadError>> {
        let data = match &mut self.0 {
            State::Done | State::Trailers(_) => return Poll::Ready(Ok(More::End)),
            State::UntilClose => ready!(poll_read(cx, socket, READ, take_piece))?,
            State::Exactly(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = ready!(poll_read(cx, socket, most, take_piece))?;
                *left -= data.len() as u64;
                if *left == 0 {
                    self.0 = State::Done;
                }
                data
            }
            State::Chunked(_) => {
                let read = ready!(poll_read(cx, socket, READ, |read| {
                    let decoded = self.decode(read);
                    decoded.map(|(size, data)| {
                        reader.input.extend_from_slice(&read[size..]);
                        (read.is_empty(), data)
                    })
                }))?;
                match read? {
                    (false, data) if data.is_empty() => return Poll::Ready(Ok(More::Framing)),
                    (_, data) => data.into(),
                }
            }
        };
        Poll::Ready(Ok(if data.is_empty() { More::End } else { More::Data(data) }))
    }

    /// What has come of it already.
    pub fn next(&mut self, reader: &mut Reader) -> Option<Result<Frame<Bytes>, ReadError>> {
        if let State::Trailers(_) = self.0 {
            let State::Trailers(trailers) = std::mem::replace(&mut self.0, State::Done) else { return None };
            return Some(Ok(Frame::trailers(*trailers)));
        }
        if reader.is_empty() {
            return None;
        }
        let data = match &mut self.0 {
            State::Done | State::Trailers(_) => return None,
            State::UntilClose => reader.take_rest(),
            State::Exactly(left) => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(reader.input.len());
                *left -= size as u64;
                if *left == 0 {
                    self.0 = State::Done;
                }
                reader.take(size)
            }
            State::Chunked(_) => match self.decode(&reader.input) {
                Ok((size, data)) => {
                    drop(reader.take(size));
                    data.into()
                }
                Err(bad) => return Some(Err(bad.into())),
            },
        };
        match data.is_empty() {
            // The end of the chunks; there may be trailers.
            true => self.next(reader),
            false => Some(Ok(Frame::data(data))),
        }
    }

    /// The data in `input`, and how many bytes of `input` were read for it.
    fn decode(&mut self, input: &[u8]) -> Result<(usize, Vec<u8>), BadChunk> {
        let State::Chunked(decoder) = &mut self.0 else { return Ok((0, Vec::new())) };
        let mut data = Vec::with_capacity(input.len());
        let read = decoder.decode(input, &mut data)?;
        if decoder.is_done() {
            self.0 = decoder.trailers()?.map_or(State::Done, |trailers| State::Trailers(Box::new(trailers)));
        }
        Ok((read, data))
    }
}

/// What came when more of a body was read.
enum More {
    Data(Bytes),
    /// Nothing but framing.
    Framing,
    End,
}

/// Takes what was read out of the block: as a part of the block if it fills most of that, and as a copy
/// otherwise, lest a few bytes that wait for a slow reader keep a whole block.
fn take_piece(read: &mut BytesMut) -> Bytes {
    match read.len() < READ / 2 {
        true => Bytes::copy_from_slice(read),
        false => read.split().freeze(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(text: &str) -> Reader {
        Reader::new(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// All that a body gives of what has come, trailers as lines.
    fn body(length: Length, reader: &mut Reader) -> (String, bool) {
        let mut body = BodyReader::new(length, Reading::Strict);
        let mut text = String::new();
        while let Some(frame) = body.next(reader) {
            match frame.unwrap().into_data() {
                Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Err(frame) => text.push_str(&format!("{:?}", frame.into_trailers().unwrap())),
            }
        }
        (text, body.is_done())
    }

    #[test]
    fn heads_come_one_after_the_other_and_empty_lines_before_them_do_not_count() {
        let mut reader = reader("\r\n\r\nGET /a HTTP/1.1\r\n\r\n\r\nGET /b HTTP/1.1\r\nX: y\r\n\r\nGET /c");

        assert_eq!(reader.request().unwrap().unwrap().path(), "/a");
        assert_eq!(reader.request().unwrap().unwrap().path(), "/b");
        assert!(reader.request().unwrap().is_none());
        assert_eq!(reader.take_rest(), &b"GET /c"[..]);
    }

    #[test]
    fn a_head_is_the_same_in_whatever_pieces_it_comes() {
        let text = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let mut reader = Reader::default();
        let mut heads = Vec::new();

        for byte in text.bytes() {
            reader.input.extend_from_slice(&[byte]);
            heads.extend(reader.request().unwrap());
        }

        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].values(super::super::Field::Host).next(), Some(&b"x"[..]));
        assert_eq!(reader.take_rest(), &b"rest"[..]);
    }

    #[test]
    fn a_bare_line_feed_ends_a_line_of_an_answer_and_of_no_request() {
        for text in
            ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "\nGET / HTTP/1.1\r\n\r\n"]
        {
            assert_eq!(reader(text).request().unwrap_err(), Refusal::LineEnd, "{text:?}");
        }
        let answer = reader("HTTP/1.0 200 OK\nA: b\n\nbody").answer().unwrap().unwrap();
        assert_eq!(answer.lines().next().map(|line| line.value), Some(&b"b"[..]));
    }

    #[test]
    fn a_head_that_grows_and_grows_is_refused() {
        let line = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(MAX_HEAD));
        assert_eq!(reader(&line).request().unwrap_err(), Refusal::TooLarge);
        let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEAD / 6));
        assert_eq!(reader(&lines).request().unwrap_err(), Refusal::TooLarge);
        assert!(reader(&"x".repeat(MAX_HEAD)).answer().is_err());
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let mut exact = reader("abcdeGET");
        assert_eq!(body(Length::Exactly(5), &mut exact), ("abcde".into(), true));
        assert_eq!(exact.take_rest(), &b"GET"[..]);
        assert_eq!(body(Length::Exactly(5), &mut reader("abc")), ("abc".into(), false));

        let mut chunks = reader("3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\nGET");
        assert_eq!(body(Length::Chunked, &mut chunks), ("abcde{\"a\": \"b\"}".into(), true));
        assert_eq!(chunks.take_rest(), &b"GET"[..]);

        assert_eq!(body(Length::UntilClose, &mut reader("abc")), ("abc".into(), false));
        assert_eq!(body(Length::NONE, &mut reader("abc")), (String::new(), true));
    }
}
