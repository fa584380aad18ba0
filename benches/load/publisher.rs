//! The publishers: they write events over a Unix socket or by HTTP, and read every reply.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use memchr::{memchr_iter, memmem};
use mio::{Interest, Registry, Token};

use crate::crowd::channel_name;

/// Where events go, and in which language.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// `unix:PATH`: frames, answered by lines.
    Frames(PathBuf),
    /// `http://ADDRESS/PATH`: a POST for each event, its body the data. `{channel}` is filled in.
    Post(SocketAddr, String),
    /// `grip://ADDRESS/PATH`: a POST of JSON for each event, as Pushpin wants it.
    Grip(SocketAddr, String),
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Target> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Target::Frames(PathBuf::from(path)));
        }
        let (scheme, rest) = text.split_once("://").context("neither unix:PATH nor SCHEME://ADDRESS/PATH")?;
        let (address, path) = rest.split_once('/').context("an address without a path")?;
        let (address, path) = (address.parse()?, format!("/{path}"));
        match scheme {
            "http" => Ok(Target::Post(address, path)),
            "grip" => Ok(Target::Grip(address, path)),
            _ => bail!("events are published to unix:, http: or grip:, not to {scheme}:"),
        }
    }
}

/// One connection that publishes.
pub(crate) struct Publisher {
    target: Target,
    registry: Registry,
    token: Token,
    socket: Socket,
    output: Vec<u8>,
    /// Requests for which a connection of their own has to wait: Pushpin takes one each.
    waiting: VecDeque<Vec<u8>>,
    input: Vec<u8>,
    /// Events published and not answered yet.
    pub outstanding: usize,
    /// Events that the server took.
    pub taken: u64,
    /// Of these, the ones that it said were stored.
    pub stored: u64,
    /// Events that it refused.
    pub refused: u64,
}

enum Socket {
    Unix(mio::net::UnixStream),
    Tcp(mio::net::TcpStream),
}

impl Socket {
    fn connect(target: &Target, registry: &Registry, token: Token) -> Result<Socket> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(match target {
            Target::Frames(path) => {
                let stream = UnixStream::connect(path)
                    .with_context(|| format!("cannot connect to {}", path.display()))?;
                stream.set_nonblocking(true)?;
                let mut stream = mio::net::UnixStream::from_std(stream);
                registry.register(&mut stream, token, both)?;
                Socket::Unix(stream)
            }
            Target::Post(address, _) | Target::Grip(address, _) => {
                let stream = std::net::TcpStream::connect(address)
                    .with_context(|| format!("cannot connect to {address}"))?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let mut stream = mio::net::TcpStream::from_std(stream);
                registry.register(&mut stream, token, both)?;
                Socket::Tcp(stream)
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.read(buffer),
            Socket::Tcp(socket) => socket.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.write(bytes),
            Socket::Tcp(socket) => socket.write(bytes),
        }
    }
}

impl Publisher {
    /// Connects, and is told of its socket by `token`.
    pub(crate) fn connect(target: &Target, registry: &Registry, token: Token) -> Result<Publisher> {
        let socket = Socket::connect(target, registry, token)?;
        Ok(Publisher {
            target: target.clone(),
            registry: registry.try_clone()?,
            token,
            socket,
            output: Vec::new(),
            waiting: VecDeque::new(),
            input: Vec::new(),
            outstanding: 0,
            taken: 0,
            stored: 0,
            refused: 0,
        })
    }

    /// Publishes an event; it leaves with the next `flush`.
    pub(crate) fn publish(&mut self, channel: usize, data: &[u8]) {
        let channel = channel_name(channel);
        self.outstanding += 1;
        match &self.target {
            Target::Frames(_) => {
                self.output.extend_from_slice(format!("channel: {channel}\ndata: ").as_bytes());
                self.output.extend_from_slice(data);
                self.output.extend_from_slice(b"\n\n");
            }
            Target::Post(_, path) => {
                let path = path.replace("{channel}", &channel);
                self.post(&path, "text/plain", data);
            }
            Target::Grip(_, path) => {
                let path = path.clone();
                let data = String::from_utf8_lossy(data);
                let body = format!(
                    r#"{{"items":[{{"channel":"{channel}","formats":{{"http-stream":{{"content":"data: {data}\n\n"}}}}}}]}}"#
                );
                self.post(&path, "application/json", body.as_bytes());
            }
        }
    }

    fn post(&mut self, path: &str, kind: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        if matches!(self.target, Target::Grip(..)) && self.outstanding > 1 {
            self.waiting.push_back([head.as_bytes(), body].concat());
            return;
        }
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(body);
    }

    /// Whether something waits to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a publisher cannot write"),
            }
        }
        Ok(())
    }

    /// Reads the replies that have come, and goes on writing.
    pub(crate) fn ready(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut closed = false;
        while !closed {
            match self.socket.read(&mut buffer) {
                Ok(0) => closed = true,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a publisher cannot read"),
            }
        }
        match self.target {
            Target::Frames(_) => self.lines(),
            Target::Post(..) | Target::Grip(..) => self.responses()?,
        }
        if closed {
            // Pushpin does so after each reply.
            let replied = self.outstanding == self.waiting.len();
            if !replied || !matches!(self.target, Target::Grip(..)) {
                bail!("the server has closed a publisher's connection");
            }
            self.socket = Socket::connect(&self.target, &self.registry, self.token)?;
            self.output = self.waiting.pop_front().unwrap_or_default();
        }
        self.flush()
    }

    fn lines(&mut self) {
        let mut start = 0;
        for end in memchr_iter(b'\n', &self.input) {
            let line = &self.input[start..end];
            start = end + 1;
            self.outstanding = self.outstanding.saturating_sub(1);
            if line.starts_with(b"ok ") {
                self.taken += 1;
                self.stored += u64::from(line.ends_with(b" stored"));
            } else {
                self.complain(&String::from_utf8_lossy(line));
                self.refused += 1;
            }
        }
        self.input.drain(..start);
    }

    fn responses(&mut self) -> Result<()> {
        while let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.input[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .context("a reply without a length")?;
            let whole = end + 4 + length.trim().parse::<usize>()?;
            if self.input.len() < whole {
                break;
            }
            self.outstanding = self.outstanding.saturating_sub(1);
            if head.starts_with("http/1.1 20") {
                self.taken += 1;
                let body = &self.input[end + 4..whole];
                self.stored += u64::from(memmem::find(body, b"\"stored\"").is_some());
            } else {
                self.complain(head.lines().next().unwrap_or_default());
                self.refused += 1;
            }
            self.input.drain(..whole);
        }
        Ok(())
    }

    /// Says once what is wrong; the rest is counted.
    fn complain(&self, reply: &str) {
        if self.refused == 0 {
            eprintln!("load: an event was refused: {reply}");
        }
    }
}
