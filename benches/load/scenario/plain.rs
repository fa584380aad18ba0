//! Plain requests over connections that are kept: what a proxy costs.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use super::{Measure, Used, round};
use crate::Arguments;
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::process::Processes;
use crate::world::PATIENCE;

/// One client: it asks, reads the whole answer, and asks again.
struct Client {
    socket: TcpStream,
    /// The answer's head, as far as it has come.
    head: Vec<u8>,
    /// How much of the body is still to come; `None` before the head is there.
    left: Option<usize>,
    asked: u64,
    is_asking: bool,
}

struct Run {
    clients: Vec<Client>,
    request: Vec<u8>,
    size: usize,
    buffer: Box<[u8]>,
    clock: Clock,
    answers: u64,
    latency: Histogram,
    /// Whether whoever has its answer asks again.
    asks_on: bool,
}

/// Keeps one request on each of `window` connections.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut poll = Poll::new()?;
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", arguments.path).into_bytes();
    let mut run = Run {
        clients: Vec::new(),
        request,
        size: arguments.size,
        buffer: vec![0; 128 << 10].into_boxed_slice(),
        clock: Clock::start(),
        answers: 0,
        latency: Histogram::new(),
        asks_on: true,
    };
    for index in 0..arguments.window {
        let socket = std::net::TcpStream::connect(arguments.server)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        run.clients.push(Client {
            socket,
            head: Vec::with_capacity(4096),
            left: None,
            asked: 0,
            is_asking: false,
        });
        run.ask(index)?;
    }
    let server = Processes::with_descendants(&arguments.pid)?;
    let beside = Processes::with_descendants(&arguments.beside)?;
    run.turn_for(&mut poll, arguments.warm_up())?;

    run.latency = Histogram::new();
    let before = run.answers;
    let (measure, measure_beside) = (Measure::begin(&server)?, Measure::begin(&beside)?);
    run.turn_for(&mut poll, arguments.time())?;
    // A large answer that has begun counts as a whole, as does what it cost.
    run.turn_until_answered(&mut poll)?;
    let (used, used_beside): (Used, Used) = (measure.end(&server)?, measure_beside.end(&beside)?);
    let answers = run.answers - before;

    Ok(json!({
        "connections": arguments.window,
        "bytes": arguments.size,
        "requests_per_second": round(answers as f64 / used.seconds),
        "cpu_us_per_request": used.cpu_per(answers),
        "mib_per_second": round(answers as f64 * arguments.size as f64 / f64::from(1 << 20) / used.seconds),
        "backend_cpu_us_per_request": used_beside.cpu_per(answers),
        "latency_ms": {
            "p50": round(run.latency.quantile(0.5)),
            "p99": round(run.latency.quantile(0.99)),
            "max": round(run.latency.max()),
        },
        "load": used.load(),
        "generator_load": used.generator_load(),
    }))
}

impl Run {
    fn turn_for(&mut self, poll: &mut Poll, time: Duration) -> Result<()> {
        let mut events = Events::with_capacity(64);
        let end = Instant::now() + time;
        while Instant::now() < end {
            poll.poll(&mut events, Some(Duration::from_millis(10)))?;
            for event in &events {
                self.ready(event.token().0)?;
            }
        }
        Ok(())
    }

    fn turn_until_answered(&mut self, poll: &mut Poll) -> Result<()> {
        self.asks_on = false;
        let end = Instant::now() + PATIENCE;
        while self.clients.iter().any(|client| client.is_asking) {
            anyhow::ensure!(Instant::now() < end, "an answer does not come to its end");
            self.turn_for(poll, Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn ask(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        client.asked = self.clock.now();
        client.is_asking = true;
        // Small, and the last answer has been read: there is room for it.
        client.socket.write_all(&self.request).context("a request cannot be written")
    }

    fn ready(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        loop {
            match client.socket.read(&mut self.buffer) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(length) => client.take(&self.buffer[..length], self.size)?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if client.left == Some(0) {
                client.left = None;
                self.latency.record(self.clock.now() - client.asked);
                self.answers += 1;
                client.is_asking = false;
                return if self.asks_on { self.ask(index) } else { Ok(()) };
            }
        }
    }
}

impl Client {
    /// Takes what has come of an answer whose body has `size` bytes. Any answer but the right one ends the run.
    fn take(&mut self, bytes: &[u8], size: usize) -> Result<()> {
        let body = match self.left {
            Some(_) => bytes.len(),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else { return Ok(()) };
                if !self.head.starts_with(b"HTTP/1.1 200") {
                    bail!("the answer is {}", String::from_utf8_lossy(&self.head[..end]));
                }
                self.left = Some(size);
                let body = self.head.len() - end - 4;
                self.head.clear();
                body
            }
        };
        let left = self.left.and_then(|left| left.checked_sub(body));
        self.left = Some(left.with_context(|| format!("the answer's body is longer than {size} bytes"))?);
        Ok(())
    }
}
