//! What goes to a socket: a head, and a body into its framing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{KEPT, chunked};
use crate::body::{Body, BodyError};
use crate::socket::Socket;

/// How many bytes are gathered before they are written.
const GATHER: usize = 64 << 10;

/// How the end of a body is told (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is no body, whatever there would be.
    None,
    /// By its length, which the head says.
    Exactly(u64),
    /// By the last chunk, with trailers behind it if the other side takes them.
    Chunked {
        /// Whether it does.
        trailers: bool,
    },
    /// By the end of the connection.
    UntilClose,
}

/// For whom a message waits that is not written yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waits {
    /// More of the body is to come.
    Body,
    /// The other side takes no more for the moment.
    Socket,
}

/// Why a message could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The other side does not take it.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The body broke off. What came of it was written, and not its end.
    #[error(transparent)]
    Body(BodyError),
}

/// The body is not as long as its head says.
#[derive(Debug, thiserror::Error)]
#[error("the body does not have the length that was announced")]
struct OtherLength;

/// Somebody wants to go on with a body that broke off.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off before")]
struct BrokenOff;

/// A message on its way out.
pub struct Writer {
    out: Vec<u8>,
    /// How much of `out` was taken.
    at: usize,
    /// How much was taken in all.
    taken: u64,
    body: Body,
    framing: Framing,
    state: State,
    waits: Waits,
    /// When it last got on; unknown until it has had to wait, as most never have.
    moved: Option<Instant>,
}

/// How far the body is.
enum State {
    Open,
    /// All of it is in `out`, or was.
    Gathered,
    /// It broke off, with the reason until somebody has been told. It stays so: half a message that passed for a
    /// whole one would have the other side wait for the rest, and take the next message for it.
    Broken(Option<BodyError>),
}

impl Writer {
    /// A message of which nothing was written. `head` ends with the empty line.
    pub fn new(head: Vec<u8>, body: Body, framing: Framing) -> Self {
        let state = if framing == Framing::None { State::Gathered } else { State::Open };
        let mut writer =
            Self { out: head, at: 0, taken: 0, body, framing, state, waits: Waits::Socket, moved: None };
        if framing == Framing::Exactly(0) && writer.body.is_end_stream() {
            writer.state = State::Gathered;
        }
        writer
    }

    /// For whom it waits since the last [`Writer::poll`], and since when, if not from the beginning.
    pub fn waits(&self) -> (Waits, Option<Instant>) {
        (self.waits, self.moved)
    }

    /// How many bytes the kernel has taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether everything was written.
    pub fn is_done(&self) -> bool {
        self.at == self.out.len() && matches!(self.state, State::Gathered)
    }

    /// Whether only the end of the connection tells the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Takes the buffer back, for another message; one that has grown large is not worth keeping.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        let buffer = std::mem::take(&mut self.out);
        if buffer.capacity() > KEPT { Vec::new() } else { buffer }
    }

    /// Makes it ready to be written to another socket from its beginning, if it is all here still.
    pub fn rewind(&mut self) -> bool {
        let whole = self.taken == self.at as u64 && !matches!(self.state, State::Broken(_));
        if whole {
            (self.at, self.taken) = (0, 0);
        }
        whole
    }

    /// Writes what can be written; ready once all of it is.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn poll(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), WriteError>> {
        loop {
            let has_more = self.gather(cx);
            ready!(self.poll_write(cx, socket))?;
            if self.is_done() {
                return Poll::Ready(Ok(()));
            }
            if !has_more {
                // Only now: what is not written yet is waited for first, and while both sides stand still, each
                // look at them would else begin the wait anew.
                if self.waits != Waits::Body {
                    (self.waits, self.moved) = (Waits::Body, Some(Instant::now()));
                }
                return Poll::Pending;
            }
        }
    }

    /// Takes from the body what it has, up to as much as is written at once; whether there may be more
    /// as soon as that is written.
    pub fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while matches!(self.state, State::Open) && self.out.len() - self.at < GATHER {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(frame))) => {
                    self.get_on();
                    if let Err(error) = self.put(frame) {
                        self.state = State::Broken(Some(error));
                    }
                }
                Poll::Ready(Some(Err(error))) => self.state = State::Broken(Some(error)),
                Poll::Ready(None) => {
                    self.get_on();
                    self.end();
                }
            }
        }
        self.waits = Waits::Socket;
        true
    }

    /// Writes what was gathered; ready once that is written.
    ///
    /// # Errors
    /// [`WriteError`], for a body that broke off only when the rest of it is written.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), WriteError>> {
        while self.at < self.out.len() {
            let size = match Pin::new(&mut *socket).poll_write(cx, &self.out[self.at..]) {
                Poll::Ready(size) => size?,
                Poll::Pending => {
                    self.waits = Waits::Socket;
                    self.moved.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            };
            if size == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.at += size;
            self.taken += size as u64;
            if self.at < self.out.len() {
                self.get_on();
            }
        }
        match &mut self.state {
            // Nothing more comes, and somebody may want to write it again.
            State::Gathered => {}
            State::Broken(error) => {
                let error = error.take().unwrap_or_else(|| BrokenOff.into());
                return Poll::Ready(Err(WriteError::Body(error)));
            }
            State::Open => self.forget(),
        }
        Poll::Ready(Ok(()))
    }

    /// Takes note that it got on, if anybody could ask: whoever has never waited asks no clock.
    fn get_on(&mut self) {
        if let Some(moved) = &mut self.moved {
            *moved = Instant::now();
        }
    }

    /// Makes room for what comes next.
    fn forget(&mut self) {
        // A stream that says little at a time, as most do, shall not hold what it once needed.
        if self.out.capacity() > GATHER {
            self.out = Vec::new();
        }
        self.out.clear();
        self.at = 0;
    }

    fn put(&mut self, frame: Frame<Bytes>) -> Result<(), BodyError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Framing::Chunked { trailers: true }, Ok(trailers)) =
                    (self.framing, frame.into_trailers())
                {
                    chunked::encode_end(Some(&trailers), &mut self.out);
                    self.state = State::Gathered;
                }
                return Ok(());
            }
        };
        match &mut self.framing {
            Framing::None => {}
            Framing::UntilClose => self.out.extend_from_slice(&data),
            Framing::Chunked { .. } => chunked::encode(&data, &mut self.out),
            Framing::Exactly(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(OtherLength)?;
                self.out.extend_from_slice(&data);
                if *left == 0 && self.body.is_end_stream() {
                    self.state = State::Gathered;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.state = match self.framing {
            Framing::Exactly(1..) => State::Broken(Some(OtherLength.into())),
            Framing::Exactly(0) | Framing::None | Framing::UntilClose => State::Gathered,
            Framing::Chunked { .. } => {
                chunked::encode_end(None, &mut self.out);
                State::Gathered
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::HeaderMap;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;

    /// A body that comes in these pieces.
    struct Pieces(VecDeque<Result<Frame<Bytes>, BodyError>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn trailers() -> Result<Frame<Bytes>, BodyError> {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        Ok(Frame::trailers(trailers))
    }

    fn pieces<const N: usize>(pieces: [Result<Frame<Bytes>, BodyError>; N]) -> Body {
        Body::stream(Pieces(pieces.into()))
    }

    async fn written(body: Body, framing: Framing) -> (String, Option<String>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let mut writer = Writer::new(b"head ".to_vec(), body, framing);
        let end = std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await;
        drop(socket);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        (text, end.err().map(|error| error.to_string()))
    }

    #[tokio::test]
    async fn a_body_is_framed_as_its_head_says() {
        for (framing, expected) in [
            (Framing::None, "head "),
            (Framing::Exactly(3), "head abc"),
            (Framing::UntilClose, "head abc"),
            (Framing::Chunked { trailers: false }, "head 1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
            (Framing::Chunked { trailers: true }, "head 1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 1\r\n\r\n"),
        ] {
            let body = pieces([data("a"), data(""), data("bc"), trailers()]);

            assert_eq!(written(body, framing).await, (expected.into(), None), "{framing:?}");
        }
    }

    #[tokio::test]
    async fn what_breaks_off_is_written_and_not_ended() {
        let broken = || pieces([data("abc"), Err("gone".into())]);

        for framing in [Framing::Exactly(5), Framing::UntilClose] {
            assert_eq!(written(broken(), framing).await, ("head abc".into(), Some("gone".into())));
        }
        let chunked = Framing::Chunked { trailers: false };
        assert_eq!(written(broken(), chunked).await, ("head 3\r\nabc\r\n".into(), Some("gone".into())));
    }

    #[tokio::test]
    async fn a_message_that_broke_off_is_never_done() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let body = pieces([data("abc"), Err("gone".into())]);
        let mut writer = Writer::new(b"head ".to_vec(), body, Framing::Exactly(5));

        for _ in 0..2 {
            let end = std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await;
            assert!(matches!(end, Err(WriteError::Body(_))));
            assert!(!writer.is_done());
            assert!(!writer.rewind());
        }
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_announced_is_broken() {
        for (length, expected) in [(2, "head "), (4, "head abc")] {
            let (text, error) = written(pieces([data("abc")]), Framing::Exactly(length)).await;

            assert_eq!(text, expected);
            assert_eq!(error.as_deref(), Some("the body does not have the length that was announced"));
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_is_not_gathered_without_end() {
        struct Endless;
        impl http_body::Body for Endless {
            type Data = Bytes;
            type Error = BodyError;
            fn poll_frame(
                self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
                Poll::Ready(Some(data("0123456789abcdef")))
            }
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let mut writer = Writer::new(Vec::new(), Body::stream(Endless), Framing::UntilClose);

        std::future::poll_fn(|cx| {
            assert!(writer.poll(cx, &mut socket).is_pending());
            Poll::Ready(())
        })
        .await;

        assert_eq!(writer.waits().0, Waits::Socket);
        assert!(writer.out.len() < GATHER + 100, "{}", writer.out.len());
    }

    /// A body that comes in these pieces, and keeps one waiting where there is none.
    struct Halting(VecDeque<Option<Bytes>>);

    impl http_body::Body for Halting {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(None) => Poll::Pending,
                Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Poll::Ready(None),
            }
        }
    }

    /// A message whose body stops after its first piece, so many times.
    fn halting(times: usize) -> Writer {
        let mut pieces = VecDeque::from([Some(Bytes::from_static(b"abc"))]);
        pieces.extend(vec![None; times]);
        let framing = Framing::Chunked { trailers: false };
        Writer::new(b"head ".to_vec(), Body::stream(Halting(pieces)), framing)
    }

    /// A socket that takes nothing until its other side is read.
    fn full() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The kernel says so only when it is asked.
        let full = loop {
            if let Err(full) = ours.try_write(&[0; 4096]) {
                break full;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        (Socket::Unix(ours), theirs)
    }

    /// For whom it waits after another look, and since when.
    async fn looked_at(writer: &mut Writer, socket: &mut Socket) -> (Waits, Option<Instant>) {
        std::future::poll_fn(|cx| {
            assert!(writer.poll(cx, socket).is_pending());
            Poll::Ready(writer.waits())
        })
        .await
    }

    #[tokio::test]
    async fn to_look_at_a_message_that_stands_still_is_no_progress() {
        let (mut socket, _theirs) = full();
        let mut writer = halting(2);

        let (waits, since) = looked_at(&mut writer, &mut socket).await;

        assert!(waits == Waits::Socket && since.is_some());
        assert_eq!(looked_at(&mut writer, &mut socket).await, (waits, since));
    }

    #[tokio::test]
    async fn what_is_written_is_over_and_the_body_is_waited_for_from_then_on() {
        let (mut socket, mut theirs) = full();
        let mut writer = halting(1000);
        let (_, blocked) = looked_at(&mut writer, &mut socket).await;

        let reads = tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
        let since = std::future::poll_fn(|cx| match (writer.poll(cx, &mut socket), writer.waits()) {
            (Poll::Pending, (Waits::Body, since)) => Poll::Ready(since),
            _ => Poll::Pending,
        });

        assert!(since.await > blocked);
        reads.abort();
    }

    #[tokio::test]
    async fn the_end_of_a_body_is_progress_too() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let mut writer = halting(1);
        let (_, halted) = looked_at(&mut writer, &mut socket).await;

        std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();

        assert!(writer.waits().1 > halted);
    }

    #[tokio::test]
    async fn a_message_of_one_piece_can_be_written_a_second_time() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut writer = Writer::new(b"head ".to_vec(), Body::empty(), Framing::None);
        let mut socket = Socket::Unix(ours);
        std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
        drop(theirs);

        assert!(writer.rewind());

        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
        drop(socket);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "head ");
    }
}
