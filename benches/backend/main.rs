//! The site behind the proxies: an epoll loop that answers every request with 1 KiB, as cheaply as
//! it can be done, so that what is measured is the proxy.
//!
//! - `/hold/NAME` is answered in the words of GRIP, for Pushpin to hold the client on channel NAME;
//! - `/stay/NAME` is answered in ours: hold, ask again every ten seconds, and tell `/gone`; `/told` says how often
//!   it has been asked and told;
//! - `/sse/NAME` is an event stream of the site's own, on which nothing happens;
//! - `/bytes/NUMBER` is answered with so many bytes.
//!
//!     backend ADDRESS

use std::io::{self, Read, Write};

use anyhow::{Result, bail};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const BODY: [u8; 1024] = [b'x'; 1024];
/// What large answers are written from.
static BYTES: [u8; 64 << 10] = [b'x'; 64 << 10];

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    /// What of the last answer the socket has not taken yet: a head, then so many bytes.
    output: Vec<u8>,
    bytes: usize,
}

/// What the site was told.
#[derive(Default)]
struct Told {
    /// Requests for `/stay`: the first for each client, and each time it is asked again.
    stays: u64,
    gone: u64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address] = arguments.as_slice() else { bail!("backend ADDRESS") };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address.parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;

    let mut told = Told::default();
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let index = free.pop().unwrap_or(clients.len());
                    poll.registry().register(
                        &mut socket,
                        Token(index),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    let client = Some(Client { socket, input: Vec::new(), output: Vec::new(), bytes: 0 });
                    match clients.get_mut(index) {
                        Some(place) => *place = client,
                        None => clients.push(client),
                    }
                }
            } else if let Some(client) = &mut clients[event.token().0]
                && client.ready(&mut told).is_err()
            {
                clients[event.token().0] = None;
                free.push(event.token().0);
            }
        }
    }
}

impl Client {
    fn ready(&mut self, told: &mut Told) -> io::Result<()> {
        self.write()?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            // Proxies do not send a request before the answer to the last one is there.
            while let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                let (output, bytes) = answer(&self.input[..end], told);
                self.input.drain(..end + 4);
                self.output.extend_from_slice(&output);
                self.bytes = bytes;
                self.write()?;
            }
        }
    }

    /// Writes as much of the answer as the socket takes.
    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() || self.bytes > 0 {
            let written = match self.output.is_empty() {
                false => self.socket.write(&self.output),
                true => self.socket.write(&BYTES[..self.bytes.min(BYTES.len())]),
            };
            match written {
                Ok(length) if self.output.is_empty() => self.bytes -= length,
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The answer to a request's head, and how many bytes come after it.
fn answer(request: &[u8], told: &mut Told) -> (Vec<u8>, usize) {
    let target = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let target = String::from_utf8_lossy(target);
    if let Some(name) = target.strip_prefix("/hold/") {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\nGrip-Channel: {name}\r\n\
             Content-Length: 2\r\n\r\n:\n"
        );
        return (answer.into_bytes(), 0);
    }
    if let Some(name) = target.strip_prefix("/stay/") {
        told.stays += 1;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nOutboard-Channel: {name}\r\n\
             Outboard-Recheck: 10\r\nOutboard-Gone: /gone\r\nContent-Length: 0\r\n\r\n"
        );
        return (answer.into_bytes(), 0);
    }
    if target.starts_with("/sse/") {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n";
        return (head.to_vec(), 0);
    }
    if target == "/told" {
        let counts = format!("{} {}\n", told.stays, told.gone);
        return (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{counts}", counts.len()).into_bytes(),
            0,
        );
    }
    if target == "/gone" {
        told.gone += 1;
        return (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), 0);
    }
    if let Some(bytes) = target.strip_prefix("/bytes/").and_then(|bytes| bytes.parse().ok()) {
        return (
            format!("HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Length: {bytes}\r\n\r\n").into_bytes(),
            bytes,
        );
    }
    let head = b"HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Fri, 20 Nov 2026 00:00:00 GMT\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\r\n";
    ([head.as_slice(), &BODY].concat(), 0)
}
