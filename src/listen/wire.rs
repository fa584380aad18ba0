//! A client's socket, as the connection and the request in hand share it.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::Frame;
use tokio::io::AsyncWrite as _;

use crate::body::BodyError;
use crate::http1::chunked::Reading;
use crate::http1::{
    BodyReader, Field, Length, Lines, Reader, Refusal, RequestHead, WriteError, Writer, gate,
};
use crate::socket::{Arrived, Socket};
use crate::vigil::{self, Watch};

/// The leave to send a body (RFC 9110 section 15.2.1).
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The most bytes that wait to be written ahead of an answer. What is beyond is left out: nobody needs it.
const MOST_AHEAD: usize = 16 << 10;

/// A client's socket and how far it was read. The connection and the body of the request in hand share
/// it; both run in the connection's task, as a rule.
pub(super) struct Wire {
    /// `None` once somebody has taken it.
    socket: Option<Socket>,
    reader: Reader,
    body: BodyReader,
    /// Which request is in hand: a body that somebody kept from an earlier one is not to read on.
    number: u64,
    /// Whether the client waits for leave to send its body.
    waits_for_leave: bool,
    /// Whether the client knows answers that come ahead of the answer.
    knows_interim: bool,
    /// What is to be written ahead of the answer, and how much of it was.
    ahead: Vec<u8>,
    at: usize,
    /// The client has ended its side.
    ended: bool,
}

impl Wire {
    pub(super) fn new(socket: Socket, read_ahead: Bytes) -> Self {
        let body = BodyReader::new(Length::NONE, Reading::Strict);
        let (reader, socket) = (Reader::new(read_ahead), Some(socket));
        Self {
            socket,
            reader,
            body,
            number: 0,
            waits_for_leave: false,
            knows_interim: false,
            ahead: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    /// Whether nothing of a next request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.reader.is_empty()
    }

    /// Whether the kernel has something of the client's that was not read yet, or its end.
    pub(super) fn has_something(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.arrived() != Arrived::Nothing)
    }

    pub(super) fn is_body_read(&self) -> bool {
        self.body.is_done()
    }

    /// Whether the client has sent as much of its next requests as may wait: no more is read then, not even
    /// that it has left.
    pub(super) fn is_overrun(&self) -> bool {
        self.body.is_done() && self.reader.is_full()
    }

    /// The next request's head, checked; `None` at the end.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(RequestHead, Length), Refusal>>> {
        loop {
            match self.reader.request() {
                Ok(Some(head)) => {
                    let checked = gate::check(&head);
                    if let Err(refusal) = checked {
                        self.tell_of(
                            refusal,
                            &format!("{} {}", head.start.method, head.path().escape_debug()),
                        );
                    }
                    return Poll::Ready(Some(checked.map(|length| (head, length))));
                }
                Ok(None) => {}
                Err(refusal) => {
                    let line = self.reader.refused_line();
                    self.tell_of(refusal, &line);
                    return Poll::Ready(Some(Err(refusal)));
                }
            }
            let Some(socket) = self.socket.as_mut().filter(|_| !self.ended) else { return Poll::Ready(None) };
            match ready!(self.reader.poll_fill(cx, socket)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Tells the operator who was refused what, and why.
    fn tell_of(&self, refusal: Refusal, request: &str) {
        let client = self.socket.as_ref().map(Socket::client).unwrap_or_default();
        tracing::info!(client, request, status = refusal.status().as_u16(), %refusal, "refused a request");
    }

    /// Takes the request with this head in hand; its number.
    pub(super) fn begin(&mut self, head: &RequestHead, length: Length) -> u64 {
        self.number += 1;
        self.body = BodyReader::new(length, Reading::Strict);
        // HTTP/1.0 knows no interim answers (RFC 9110 section 15.2).
        self.knows_interim = head.start.version == Version::HTTP_11;
        self.waits_for_leave = self.knows_interim && !self.body.is_done() && head.has(Field::Expect);
        self.number
    }

    /// Whether the request with this number is the one in hand.
    pub(super) fn has_in_hand(&self, number: u64) -> bool {
        self.number == number
    }

    /// How much of the body is still to come, if that is known.
    pub(super) fn body_left(&self) -> Option<u64> {
        self.body.left()
    }

    /// Ready once the client has left. What it sends of its next request meanwhile waits here; what it is told
    /// ahead of its answer is written.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, half_close: bool) -> Poll<()> {
        if matches!(self.poll_ahead(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        while self.body.is_done() && !self.ended && !self.reader.is_full() {
            let Some(socket) = &mut self.socket else { return Poll::Pending };
            match ready!(self.reader.poll_fill(cx, socket)) {
                Ok(1..) => {}
                Ok(0) if half_close => self.ended = true,
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
    ) -> Poll<Result<(), WriteError>> {
        // If nobody has asked for the body, nobody needs the leave any more.
        self.waits_for_leave = false;
        ready!(self.poll_ahead(cx))?;
        match &mut self.socket {
            Some(socket) => writer.poll_write(cx, socket),
            None => Poll::Ready(Err(no_socket().into())),
        }
    }

    /// Looks after the client, if that can be done.
    pub(super) fn watch(&self) -> Option<Watch> {
        vigil::watch(self.socket.as_ref()?)
    }

    /// The socket, and what was read ahead. There is none if an interim answer was written in part: nothing else
    /// could be written behind that.
    pub(super) fn take(&mut self) -> Option<(Socket, Bytes)> {
        let socket = self.socket.take().filter(|_| self.at == 0)?;
        Some((socket, self.reader.take_rest()))
    }

    /// The next piece of the body of the request in hand.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if std::mem::take(&mut self.waits_for_leave) && self.reader.is_empty() {
            self.ahead.extend_from_slice(GO_ON);
        }
        if let Err(cause) = ready!(self.poll_ahead(cx)) {
            return Poll::Ready(Some(Err(cause.into())));
        }
        match &mut self.socket {
            Some(socket) => self.body.poll_frame(cx, &mut self.reader, socket).map_err(Into::into),
            None => Poll::Ready(Some(Err(no_socket().into()))),
        }
    }

    /// Writes what comes ahead of the answer.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(no_socket())) };
        while self.at < self.ahead.len() {
            self.at += ready!(Pin::new(&mut *socket).poll_write(cx, &self.ahead[self.at..]))?;
        }
        ready!(Pin::new(socket).poll_flush(cx))?;
        (self.ahead, self.at) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Adds an interim answer to what is written ahead.
    pub(super) fn tell(&mut self, status: StatusCode, lines: &Lines) {
        let room = MOST_AHEAD.saturating_sub(self.ahead.len());
        match status {
            // Its leave is all that it says, and most clients have got that from us already.
            StatusCode::CONTINUE if std::mem::take(&mut self.waits_for_leave) => {
                self.ahead.extend_from_slice(GO_ON);
            }
            StatusCode::CONTINUE => {}
            _ if self.knows_interim && lines.as_bytes().len() + GO_ON.len() <= room => {
                let words = status.canonical_reason().unwrap_or_default();
                self.ahead.extend_from_slice(format!("HTTP/1.1 {} {words}\r\n", status.as_str()).as_bytes());
                self.ahead.extend_from_slice(lines.as_bytes());
                self.ahead.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
    }
}

fn no_socket() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "somebody else has the socket")
}

/// The wire, whoever else has a part in it.
pub(super) fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}
