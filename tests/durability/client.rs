//! A client that comes back with its last id, however the connection ended, and writes down what it
//! saw.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::checker::{Line, What};
use crate::dice::Dice;
use crate::load::{Run, end_of};
use crate::support::sse::Parser;

pub(crate) struct Reader {
    number: usize,
    address: String,
    path: String,
    run: Arc<Run>,
    dice: Dice,
    last_event_id: Option<String>,
    /// The last events of its channels, which it has not got yet.
    ends: HashSet<String>,
}

impl Reader {
    pub(crate) fn new(number: usize, address: &str, run: &Arc<Run>, dice: Dice) -> Self {
        let channels = run.client(number).channels.clone();
        let query: Vec<_> = channels.iter().map(|channel| format!("c={channel}")).collect();
        Self {
            number,
            address: address.into(),
            path: format!("/events?{}", query.join("&")),
            run: Arc::clone(run),
            dice,
            last_event_id: None,
            ends: channels.iter().map(|channel| end_of(channel)).collect(),
        }
    }

    /// Reads until it has the last event of each of its channels.
    pub(crate) fn work(mut self) {
        while !self.is_done() {
            if self.connection().is_none() {
                std::thread::sleep(Duration::from_millis(3));
            }
        }
    }

    fn is_done(&self) -> bool {
        self.ends.is_empty() || self.run.is_abandoned()
    }

    /// One connection to its end; `None` if there was none.
    fn connection(&mut self) -> Option<()> {
        let life = self.run.life();
        let mut stream = open(&self.address, &self.path, self.last_event_id.as_deref())?;
        if self.run.life() != life {
            return None;
        }
        let connected = self.run.now();
        let mut is_noted = false;
        // Now and then a client leaves by itself.
        let leaves_after = if self.dice.one_in(3) { self.dice.below(200) } else { usize::MAX };
        let mut got = 0;
        while let Some(events) = stream.read() {
            if !std::mem::replace(&mut is_noted, true) {
                let last_event_id = self.last_event_id.clone();
                self.note_at(connected, What::Connected { life, last_event_id });
            }
            for event in events {
                got += 1;
                self.last_event_id = Some(event.id.clone()).filter(|id| !id.is_empty());
                if event.name == "outboard.gap" {
                    let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                    self.note(What::Gap { reason: gap["reason"].as_str().unwrap_or_default().into() });
                } else {
                    self.ends.remove(&event.data);
                    self.note(What::Event { id: event.id, data: event.data });
                }
            }
            if self.is_done() || got > leaves_after {
                break;
            }
        }
        if is_noted {
            self.note(What::Ended);
        }
        Some(())
    }

    fn note(&self, what: What) {
        self.note_at(self.run.now(), what);
    }

    fn note_at(&self, at: u64, what: What) {
        self.run.client(self.number).lines.push(Line { at, what });
    }
}

/// An event stream, read without expecting anything of how it ends.
pub(crate) struct Stream {
    socket: TcpStream,
    waiting: Vec<u8>,
    parser: Parser,
}

/// Opens a stream; `None` if nobody is there or the head does not come.
pub(crate) fn open(address: &str, path: &str, last_event_id: Option<&str>) -> Option<Stream> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let id = last_event_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{id}\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut waiting = Vec::new();
    let end = loop {
        if let Some(end) = waiting.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        receive(&mut socket, &mut waiting)?;
    };
    let head = String::from_utf8_lossy(&waiting[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "no stream was opened: {head}");
    assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "no chunks: {head}");
    waiting.drain(..end + 4);
    // So that a client that waits for the end hears when it is called off.
    socket.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
    Some(Stream { socket, waiting, parser: Parser::default() })
}

impl Stream {
    /// The next events, none if nothing came for a moment; `None` at the end, however it came.
    pub(crate) fn read(&mut self) -> Option<Vec<crate::support::sse::Event>> {
        let mut events = Vec::new();
        while let Some(chunk) = next_chunk(&mut self.waiting) {
            if chunk.is_empty() {
                return None;
            }
            events.extend(self.parser.read(&chunk));
        }
        if events.is_empty() {
            receive(&mut self.socket, &mut self.waiting)?;
        }
        Some(events)
    }
}

/// Takes the first chunk off, if all of it is there; an empty one is the last.
fn next_chunk(waiting: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = waiting.windows(2).position(|window| window == b"\r\n")?;
    let size =
        std::str::from_utf8(&waiting[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    let size = size.unwrap_or_else(|| panic!("not a chunk: {:?}", String::from_utf8_lossy(waiting)));
    let end = line + 2 + size;
    if waiting.len() < end + 2 {
        return None;
    }
    let chunk = waiting[line + 2..end].to_vec();
    waiting.drain(..end + 2);
    Some(chunk)
}

/// Reads what is there; `None` at the end.
fn receive(socket: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 << 10];
    match socket.read(&mut buffer) {
        Ok(0) => None,
        Ok(got) => {
            waiting.extend(&buffer[..got]);
            Some(())
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Some(()),
        Err(_) => None,
    }
}
