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

/// One client: it asks, reads the whole answer, and asks again.
struct Client {
    socket: TcpStream,
    answer: Vec<u8>,
    asked: u64,
}

struct Run {
    clients: Vec<Client>,
    request: Vec<u8>,
    size: usize,
    clock: Clock,
    answers: u64,
    latency: Histogram,
}

/// Keeps one request on each of `window` connections.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut poll = Poll::new()?;
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", arguments.path).into_bytes();
    let mut run = Run {
        clients: Vec::new(),
        request,
        size: arguments.size,
        clock: Clock::start(),
        answers: 0,
        latency: Histogram::new(),
    };
    for index in 0..arguments.window {
        let socket = std::net::TcpStream::connect(arguments.server)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        run.clients.push(Client { socket, answer: Vec::with_capacity(4096), asked: 0 });
        run.ask(index)?;
    }
    let server = Processes::with_descendants(&arguments.pid)?;
    let beside = Processes::with_descendants(&arguments.beside)?;
    run.turn_for(&mut poll, arguments.warm_up())?;

    run.latency = Histogram::new();
    let before = run.answers;
    let (measure, measure_beside) = (Measure::begin(&server)?, Measure::begin(&beside)?);
    run.turn_for(&mut poll, arguments.time())?;
    let (used, used_beside): (Used, Used) = (measure.end(&server)?, measure_beside.end(&beside)?);
    let answers = run.answers - before;

    Ok(json!({
        "connections": arguments.window,
        "bytes": arguments.size,
        "requests_per_second": round(answers as f64 / used.seconds),
        "cpu_us_per_request": used.cpu_per(answers),
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

    fn ask(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        client.asked = self.clock.now();
        // Small, and the last answer has been read: there is room for it.
        client.socket.write_all(&self.request).context("a request cannot be written")
    }

    fn ready(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        let mut buffer = [0; 16 * 1024];
        loop {
            match client.socket.read(&mut buffer) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(length) => client.answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if is_whole(&client.answer, self.size)? {
                client.answer.clear();
                self.latency.record(self.clock.now() - client.asked);
                self.answers += 1;
                return self.ask(index);
            }
        }
    }
}

/// Whether an answer is all there. Any answer but the right one ends the run.
fn is_whole(answer: &[u8], size: usize) -> Result<bool> {
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("the answer is {}", String::from_utf8_lossy(&answer[..end]));
    }
    if answer.len() > end + 4 + size {
        bail!("the answer's body is longer than {size} bytes");
    }
    Ok(answer.len() == end + 4 + size)
}
