//! What goes to a socket: a head, and a body into its framing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{KEPT, chunked};
use crate::body::{Body, BodyError};
use crate::socket::Socket;

/// How many bytes are gathered before they are written.
const GATHER: usize = 64 << 10;

/// How large a piece of a body is written from where it lies. To copy a smaller one costs less than the kernel's
/// work for one more part of a write.
const LARGE: usize = 8 << 10;

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
    /// What follows `out`: a large piece of the body, which is not copied, or nothing.
    piece: Bytes,
    /// What follows the piece: the end of its line, if it is a chunk.
    line_end: &'static [u8],
    /// Whether the socket may hold bytes back that it has taken.
    unflushed: bool,
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
        let mut writer = Self {
            out: head,
            at: 0,
            piece: Bytes::new(),
            line_end: b"",
            unflushed: false,
            taken: 0,
            body,
            framing,
            state,
            waits: Waits::Socket,
            moved: None,
        };
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
        self.left() == 0 && !self.unflushed && matches!(self.state, State::Gathered)
    }

    /// Whether there is something behind `out`, so that nothing can be added to it.
    fn has_piece(&self) -> bool {
        !self.piece.is_empty() || !self.line_end.is_empty()
    }

    /// How many of the bytes that were gathered are not written.
    fn left(&self) -> usize {
        self.out.len() - self.at + self.piece.len() + self.line_end.len()
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
        while matches!(self.state, State::Open) && self.left() < GATHER && !self.has_piece() {
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
        if self.poll_flush(cx, socket)?.is_pending() {
            self.waits = Waits::Socket;
            self.moved.get_or_insert_with(Instant::now);
            return Poll::Pending;
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

    /// Writes what was gathered, until nothing of it is held back.
    fn poll_flush(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        while self.left() > 0 {
            let out = &self.out[self.at..];
            let mut socket = Pin::new(&mut *socket);
            let written = match self.has_piece() {
                false => socket.as_mut().poll_write(cx, out),
                true => {
                    let parts = [out, &self.piece, self.line_end].map(io::IoSlice::new);
                    socket.as_mut().poll_write_vectored(cx, &parts)
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => self.take_note(size),
            }
        }
        if self.unflushed {
            ready!(Pin::new(socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// So many of the bytes that were gathered have been taken.
    fn take_note(&mut self, size: usize) {
        self.taken += size as u64;
        self.unflushed = true;
        let of_out = size.min(self.out.len() - self.at);
        self.at += of_out;
        let of_piece = (size - of_out).min(self.piece.len());
        self.piece.advance(of_piece);
        if self.piece.is_empty() {
            // Even an empty part of a buffer keeps all of it from being used again.
            self.piece = Bytes::new();
        }
        self.line_end = &self.line_end[size - of_out - of_piece..];
        if self.left() > 0 {
            self.get_on();
        }
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
            Ok(data) if data.len() >= LARGE => return self.put_large(data),
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

    /// Has a piece written from where it lies.
    fn put_large(&mut self, data: Bytes) -> Result<(), BodyError> {
        match &mut self.framing {
            Framing::None => return Ok(()),
            Framing::UntilClose => {}
            Framing::Chunked { .. } => {
                chunked::encode_size(data.len(), &mut self.out);
                self.line_end = chunked::LINE_END;
            }
            Framing::Exactly(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(OtherLength)?;
                if *left == 0 && self.body.is_end_stream() {
                    self.state = State::Gathered;
                }
            }
        }
        self.piece = data;
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
mod tests;
