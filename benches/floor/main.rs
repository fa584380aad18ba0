//! The bare floor: what the kernel alone takes to send an event to everybody.
//!
//! One thread, one epoll loop. A request for `/events/cN` gets the head of a stream and stays; a
//! frame on the Unix socket is framed as a chunk once and written to each stream of its channel,
//! one write each; the publisher gets its line. Nothing else: no history, no ids but a number, no
//! heartbeat, no limit, and a client that does not read is dropped.
//!
//!     floor ADDRESS SOCKET

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Registry, Token};

const CLIENTS: Token = Token(usize::MAX);
const PUBLISHERS: Token = Token(usize::MAX - 1);
const FIRST_PUBLISHER: usize = 1 << 24;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/event-stream; charset=utf-8\r\n\
    Cache-Control: no-cache, no-store, no-transform\r\n\
    X-Accel-Buffering: no\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Date: Fri, 20 Nov 2026 00:00:00 GMT\r\n\
    Transfer-Encoding: chunked\r\n\
    Connection: close\r\n\r\n\
    e\r\n:\nretry: 3000\n\r\n";

#[derive(Default)]
struct Floor {
    streams: Vec<Option<TcpStream>>,
    channels: HashMap<u32, Vec<u32>>,
    publishers: Vec<Option<Publisher>>,
    sequence: u64,
}

struct Publisher {
    socket: UnixStream,
    input: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, socket] = arguments.as_slice() else { bail!("floor ADDRESS SOCKET") };
    if Path::new(socket).exists() {
        std::fs::remove_file(socket)?;
    }
    let mut poll = Poll::new()?;
    let mut clients = TcpListener::bind(address.parse()?)?;
    let mut publishers = UnixListener::bind(socket).with_context(|| format!("cannot bind {socket}"))?;
    poll.registry().register(&mut clients, CLIENTS, Interest::READABLE)?;
    poll.registry().register(&mut publishers, PUBLISHERS, Interest::READABLE)?;

    let mut floor = Floor::default();
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                CLIENTS => floor.accept_clients(&clients, poll.registry())?,
                PUBLISHERS => floor.accept_publishers(&publishers, poll.registry())?,
                Token(index) if index >= FIRST_PUBLISHER => floor.publisher_ready(index - FIRST_PUBLISHER)?,
                Token(index) => floor.client_ready(index)?,
            }
        }
    }
}

impl Floor {
    fn accept_clients(&mut self, listener: &TcpListener, registry: &Registry) -> Result<()> {
        while let Some((mut stream, _)) = waiting(listener.accept())? {
            stream.set_nodelay(true)?;
            registry.register(&mut stream, Token(self.streams.len()), Interest::READABLE)?;
            self.streams.push(Some(stream));
        }
        Ok(())
    }

    fn accept_publishers(&mut self, listener: &UnixListener, registry: &Registry) -> Result<()> {
        while let Some((mut socket, _)) = waiting(listener.accept())? {
            registry.register(
                &mut socket,
                Token(FIRST_PUBLISHER + self.publishers.len()),
                Interest::READABLE,
            )?;
            self.publishers.push(Some(Publisher { socket, input: Vec::new() }));
        }
        Ok(())
    }

    /// A client sends its request, in one piece since it is small, or leaves.
    fn client_ready(&mut self, index: usize) -> Result<()> {
        let Some(stream) = &mut self.streams[index] else { return Ok(()) };
        let mut request = [0; 2048];
        match stream.read(&mut request) {
            Ok(length) if length > 0 => {
                let channel = number_after(&request[..length], b"GET /events/c").context("a wrong path")?;
                self.channels.entry(channel).or_default().push(u32::try_from(index)?);
                stream.write_all(HEAD)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.streams[index] = None,
        }
        Ok(())
    }

    fn publisher_ready(&mut self, index: usize) -> Result<()> {
        let Some(mut publisher) = self.publishers[index].take() else { return Ok(()) };
        let mut buffer = [0; 64 * 1024];
        loop {
            match publisher.socket.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    publisher.input.extend_from_slice(&buffer[..length]);
                    let replies = self.frames(&mut publisher.input)?;
                    publisher.socket.write_all(&replies)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.publishers[index] = Some(publisher);
        Ok(())
    }

    /// Publishes the whole frames of `input`, each `channel: cN`, `data: …` and a blank line.
    fn frames(&mut self, input: &mut Vec<u8>) -> Result<Vec<u8>> {
        let mut replies = Vec::new();
        let mut start = 0;
        while let Some(length) = memmem::find(&input[start..], b"\n\n") {
            let frame = &input[start..start + length];
            start += length + 2;
            let channel = number_after(frame, b"channel: c").context("a frame without its channel")?;
            let data = memmem::find(frame, b"\ndata: ").context("a frame without data")?;
            self.sequence += 1;
            let receivers = self.deliver(channel, &frame[data + 1..]);
            writeln!(replies, "ok 3q9f7c1x0zkd-{} {receivers} accepted", self.sequence)?;
        }
        input.drain(..start);
        Ok(replies)
    }

    fn deliver(&mut self, channel: u32, data: &[u8]) -> usize {
        let Some(subscribers) = self.channels.get(&channel) else { return 0 };
        let block = [format!("id: 3q9f7c1x0zkd-{}\n", self.sequence).as_bytes(), data, b"\n\n"].concat();
        let chunk = [format!("{:x}\r\n", block.len()).as_bytes(), &block, b"\r\n"].concat();
        for index in subscribers {
            let Some(stream) = &mut self.streams[*index as usize] else { continue };
            if !matches!(stream.write(&chunk), Ok(length) if length == chunk.len()) {
                self.streams[*index as usize] = None;
            }
        }
        subscribers.len()
    }
}

/// What was accepted, or nothing if nobody waits.
fn waiting<T>(accepted: io::Result<T>) -> Result<Option<T>> {
    match accepted {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn number_after(text: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(prefix)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
