//! The site behind the proxies: an epoll loop that answers every request with 1 KiB, as cheaply as
//! it can be done, so that what is measured is the proxy.
//!
//! A request for `/hold/NAME` is answered in the words of GRIP, for Pushpin to hold the client on
//! channel NAME.
//!
//!     backend ADDRESS

use std::io::{self, Read, Write};

use anyhow::{Result, bail};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const BODY: [u8; 1024] = [b'x'; 1024];

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address] = arguments.as_slice() else { bail!("backend ADDRESS") };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address.parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;

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
                    poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
                    let client = Some(Client { socket, input: Vec::new() });
                    match clients.get_mut(index) {
                        Some(place) => *place = client,
                        None => clients.push(client),
                    }
                }
            } else if let Some(client) = &mut clients[event.token().0]
                && client.ready().is_err()
            {
                clients[event.token().0] = None;
                free.push(event.token().0);
            }
        }
    }
}

impl Client {
    fn ready(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                let answer = answer(&self.input[..end]);
                self.input.drain(..end + 4);
                self.socket.write_all(&answer)?;
            }
        }
    }
}

fn answer(request: &[u8]) -> Vec<u8> {
    if let Some(rest) = request.strip_prefix(b"GET /hold/") {
        let name = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        return format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\nGrip-Channel: {name}\r\n\
             Content-Length: 2\r\n\r\n:\n"
        )
        .into_bytes();
    }
    let head = b"HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Fri, 20 Nov 2026 00:00:00 GMT\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\r\n";
    [head.as_slice(), &BODY].concat()
}
