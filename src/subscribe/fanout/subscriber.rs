//! One held client: its socket, its cursor, and the writes between the two.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use smallvec::SmallVec;

use super::groups::Group;
use super::lag::Lag;
use super::pace::Pace;
use super::wheel::Tick;
use crate::broker::{Entry, Subscription};
use crate::event::encode::{LAST_CHUNK, heartbeat};
use crate::slots::Key;
use crate::subscribe::Seat;
use crate::subscribe::end::End;
use crate::subscribe::promises::{Bond, Patience};

/// A held client's socket, which never blocks.
#[derive(Debug)]
pub(in crate::subscribe) enum Held {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! each {
    ($held:expr, $stream:ident => $body:expr) => {
        match $held {
            Held::Tcp($stream) => $body,
            Held::Unix($stream) => $body,
        }
    };
}

impl Held {
    /// Asks to be told, once each time, when the socket becomes readable or writable.
    pub(in crate::subscribe) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        each!(self, stream => registry.register(stream, token, interest))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(slices))
    }

    fn read(&mut self, scrap: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(scrap))
    }

    fn shutdown(&self) {
        // It fails only if the client is gone, and then there is nobody to tell.
        let _ = each!(self, stream => stream.shutdown(Shutdown::Write));
    }
}

/// How a client stands to the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::subscribe) enum State {
    /// It has everything its thread has seen; its cursor is not kept up.
    Live,
    /// There may be more for it; it waits for its turn to read.
    Behind,
    /// Its socket is full; since then nothing is read for it.
    Blocked,
}

/// A client, for as long as it stays. About 130 bytes, and as many again for those with extras.
#[derive(Debug)]
pub(in crate::subscribe) struct Subscriber {
    socket: Held,
    pub(in crate::subscribe) subscription: Subscription,
    pub(in crate::subscribe) state: State,
    /// Whether it is in line to read.
    pub(in crate::subscribe) is_in_line: bool,
    /// Whether its bytes go in HTTP/1.1 chunks.
    chunked: bool,
    /// Whether the last chunk is written, or kept to be written first.
    has_last_chunk: bool,
    /// What is left of bytes of which the socket has taken a part.
    unsent: Option<Box<Bytes>>,
    /// Its group, and its place there; none before it is held.
    pub(in crate::subscribe) group: Option<(Key<Group>, u32)>,
    /// Silence after which a comment is sent.
    pub(in crate::subscribe) keep_alive: Duration,
    /// When the socket last took something.
    pub(in crate::subscribe) last_write: Tick,
    /// The soonest tick for which the wheel knows this client.
    pub(in crate::subscribe) timer: Tick,
    pub(in crate::subscribe) extras: Option<Box<Extras>>,
    /// While it lags and publishers may wait for it.
    pub(in crate::subscribe) lag: Option<Box<Lag>>,
    _seat: Seat,
}

/// What only some clients have.
#[derive(Debug, Default)]
pub(in crate::subscribe) struct Extras {
    /// What was promised about it.
    pub(in crate::subscribe) bond: Option<Bound>,
    /// What `max_rate` holds back.
    pub(in crate::subscribe) pace: Option<Pace>,
}

impl Extras {
    fn is_empty(&self) -> bool {
        self.bond.is_none() && self.pace.is_none()
    }
}

/// What was promised about a client, and when it is to be seen to.
#[derive(Debug)]
pub(in crate::subscribe) struct Bound {
    pub(in crate::subscribe) bond: Bond,
    /// When the site is to be asked again; never while it is being asked.
    pub(in crate::subscribe) recheck: Tick,
    pub(in crate::subscribe) patience: Patience,
}

impl From<Bond> for Bound {
    fn from(bond: Bond) -> Self {
        Self { bond, recheck: Tick::NEVER, patience: Patience::default() }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::subscribe) enum Written {
    /// The socket took all of it.
    All,
    /// The socket took this many bytes, and is full.
    Part(usize),
    /// There is nobody to take it.
    Gone,
}

impl Subscriber {
    pub(in crate::subscribe) fn new(
        socket: Held,
        subscription: Subscription,
        chunked: bool,
        opening: Bytes,
        keep_alive: Duration,
        extras: Extras,
        seat: Seat,
    ) -> Self {
        Self {
            socket,
            subscription,
            state: State::Behind,
            is_in_line: false,
            chunked,
            has_last_chunk: false,
            unsent: Some(opening).filter(|opening| !opening.is_empty()).map(Box::new),
            group: None,
            keep_alive,
            last_write: Tick::default(),
            timer: Tick::NEVER,
            extras: (!extras.is_empty()).then(|| Box::new(extras)),
            lag: None,
            _seat: seat,
        }
    }

    pub(in crate::subscribe) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    /// Where the client is, for people.
    pub(in crate::subscribe) fn peer(&self) -> String {
        match &self.socket {
            Held::Tcp(stream) => stream.peer_addr().map_or_else(|_| "gone".into(), |peer| peer.to_string()),
            Held::Unix(_) => "unix".into(),
        }
    }

    pub(in crate::subscribe) fn is_chunked(&self) -> bool {
        self.chunked
    }

    pub(in crate::subscribe) fn pace(&mut self) -> Option<&mut Pace> {
        self.extras.as_mut()?.pace.as_mut()
    }

    /// Writes until all is written or the socket is full.
    pub(in crate::subscribe) fn write(&mut self, bytes: &[u8]) -> Written {
        let mut written = 0;
        while written < bytes.len() {
            match self.socket.write(&bytes[written..]) {
                Ok(0) => return Written::Gone,
                Ok(n) => written += n,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Written::Part(written),
                    io::ErrorKind::Interrupted => {}
                    _ => return Written::Gone,
                },
            }
        }
        Written::All
    }

    /// Writes, and keeps what the socket does not take.
    pub(in crate::subscribe) fn write_or_keep(&mut self, bytes: Bytes) -> Written {
        let written = self.write(&bytes);
        if let Written::Part(n) = written {
            self.keep(bytes.slice(n..));
        }
        written
    }

    /// Keeps the rest of something of which a part is written: it goes first next time.
    pub(in crate::subscribe) fn keep(&mut self, rest: Bytes) {
        self.unsent = Some(rest).filter(|rest| !rest.is_empty()).map(Box::new);
    }

    /// Writes what was kept.
    pub(in crate::subscribe) fn flush(&mut self) -> Written {
        match self.unsent.take() {
            None => Written::All,
            Some(rest) => self.write_or_keep(*rest),
        }
    }

    /// Writes entries with as few calls as possible. The cursor follows to the last one that the
    /// socket took a part of; the rest of that one is kept.
    pub(in crate::subscribe) fn write_entries(&mut self, entries: &[Arc<Entry>]) -> Written {
        const AT_ONCE: usize = 512;
        for entries in entries.chunks(AT_ONCE) {
            let bytes: SmallVec<[Bytes; 8]> =
                entries.iter().map(|entry| entry.encoded.bytes(self.chunked)).collect();
            match self.write_all_of(&bytes) {
                Written::All => self.subscription.cursor = entries[entries.len() - 1].sequence,
                Written::Part(mut taken) => {
                    for (entry, mut bytes) in entries.iter().zip(bytes) {
                        if taken == 0 {
                            break;
                        }
                        self.subscription.cursor = entry.sequence;
                        let n = taken.min(bytes.len());
                        taken -= n;
                        bytes.advance(n);
                        self.keep(bytes);
                    }
                    return Written::Part(0);
                }
                Written::Gone => return Written::Gone,
            }
        }
        Written::All
    }

    fn write_all_of(&mut self, bytes: &[Bytes]) -> Written {
        if let [bytes] = bytes {
            return self.write(bytes);
        }
        let mut slices: SmallVec<[IoSlice<'_>; 64]> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut rest = &mut slices[..];
        let mut written = 0;
        while !rest.is_empty() {
            match self.socket.write_vectored(rest) {
                Ok(0) => return Written::Gone,
                Ok(n) => {
                    written += n;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Written::Part(written),
                    io::ErrorKind::Interrupted => {}
                    _ => return Written::Gone,
                },
            }
        }
        Written::All
    }

    /// Breaks the silence, so that nobody on the way takes the stream for dead.
    pub(in crate::subscribe) fn beat(&mut self) -> Written {
        self.write_or_keep(heartbeat(self.chunked))
    }

    /// Reads what the client says, which is nothing to us, until it says no more; whether it left.
    pub(in crate::subscribe) fn hear(&mut self) -> Option<End> {
        let mut scrap = [0; 1024];
        // A client that talks without end is let go: it would have to be read again at once, for the
        // system tells of a readable socket only once. The bound is far above what any sends in earnest.
        for _ in 0..64 {
            match self.socket.read(&mut scrap) {
                Ok(0) => return Some(End::ClientLeft),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    io::ErrorKind::Interrupted => {}
                    _ => return Some(End::ConnectionLost),
                },
            }
        }
        Some(End::ClientLeft)
    }

    /// Writes what ends the stream for its client, once.
    pub(in crate::subscribe) fn write_end(&mut self) -> Written {
        if !self.chunked || std::mem::replace(&mut self.has_last_chunk, true) {
            return Written::All;
        }
        self.write_or_keep(Bytes::from_static(LAST_CHUNK))
    }

    /// Ends the stream: cleanly, if the client has got all that was begun.
    pub(in crate::subscribe) fn finish(mut self, end: End) {
        if end.is_ours() && self.flush() == Written::All && self.write_end() == Written::All {
            self.socket.shutdown();
        }
        // Whoever is told that the client has left finds it no longer counted.
        drop(self.subscription);
        if let Some(bound) = self.extras.and_then(|extras| extras.bond) {
            bound.bond.end(end);
        }
    }
}
