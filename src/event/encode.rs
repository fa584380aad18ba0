//! An event as bytes for clients: made once when it is published, shared by all who get it.
//!
//! Nothing a publisher wrote can end an event early or add a field to it: an [`Event`] holds no
//! line break outside its data, and each line of the data becomes a `data:` line of its own
//! (WHATWG HTML 9.2.6).

use std::fmt::{Display, Write as _};
use std::ops::Range;

use bytes::Bytes;

use super::Event;

/// The headers of every event stream, so that nothing on the way holds it back or keeps it
/// (PROTOCOL 6.1). `X-Accel-Buffering` is nginx's, `no-transform` ends compression.
pub const HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache, no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
];

/// What a silent stream carries now and then. One newline: with a blank line after it, some clients
/// would see an empty message.
pub fn heartbeat(chunked: bool) -> Bytes {
    Bytes::from_static(if chunked { b"2\r\n:\n\r\n" } else { b":\n" })
}

/// The bytes of one event, as an HTTP/1.1 chunk (RFC 9112 section 7.1).
///
/// What makes them a chunk is part of the allocation, so that a client that gets chunks gets it with one
/// write, and any other client a slice of the same.
#[derive(Clone, Debug)]
pub struct Encoded {
    chunk: Bytes,
    /// The length of the chunk-size line.
    size_line: u8,
}

impl Encoded {
    /// Writes `event` with this `id`.
    pub fn new(event: &Event, id: &dyn Display) -> Self {
        Self::of_block(&block(event, Some(id)))
    }

    /// Makes a chunk of the text of one event, as [`block`] writes it: it is never empty, as an empty
    /// chunk would end the body.
    pub fn of_block(block: &str) -> Self {
        let (chunk, size_line) = chunk(block.as_bytes());
        Self { chunk: chunk.into(), size_line }
    }

    /// The bytes as a chunk.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The bytes alone.
    pub fn plain(&self) -> Bytes {
        self.chunk.slice(self.place_of_plain())
    }

    /// The bytes, as a chunk or alone.
    pub fn bytes(&self, chunked: bool) -> Bytes {
        if chunked { self.chunk.clone() } else { self.plain() }
    }

    /// The same, for now.
    pub fn as_slice(&self, chunked: bool) -> &[u8] {
        if chunked { &self.chunk } else { &self.chunk[self.place_of_plain()] }
    }

    fn place_of_plain(&self) -> Range<usize> {
        usize::from(self.size_line)..self.chunk.len() - 2
    }

    /// How many bytes are held.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Never: an encoded event has at least its blank line.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Reads the event back. Its id is the one on the wire, whoever gave it.
    pub fn event(&self) -> Event {
        let plain = self.plain();
        // What we wrote from `str`s is UTF-8.
        let text = std::str::from_utf8(&plain).unwrap_or_default();
        let mut event = Event::default();
        let mut data: Option<String> = None;
        for (field, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            match field {
                "id" => event.id = Some(value.into()),
                "event" => event.name = Some(value.into()),
                "retry" => event.retry = value.parse().ok(),
                _ => match &mut data {
                    None => data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                },
            }
        }
        event.data = data.map(Into::into);
        event
    }
}

/// The text of one event, with an `id:` line if there is one to write.
pub fn block(event: &Event, id: Option<&dyn Display>) -> String {
    let data = event.data().unwrap_or_default();
    let mut block = String::with_capacity(data.len() + 64);
    if let Some(id) = id {
        block.push_str("id: ");
        // Writing to a String cannot fail. Nothing but the id goes through the formatter: this is done for each
        // event.
        let _ = write!(block, "{id}");
        block.push('\n');
    }
    if let Some(name) = event.name() {
        field(&mut block, "event: ", name);
    }
    if let Some(retry) = event.retry() {
        let _ = writeln!(block, "retry: {retry}");
    }
    if event.data().is_some() {
        for line in data.split('\n') {
            field(&mut block, "data: ", line);
        }
    }
    block.push('\n');
    block
}

fn field(block: &mut String, name: &str, value: &str) {
    block.push_str(name);
    block.push_str(value);
    block.push('\n');
}

/// Some bytes of a stream as they go to this kind of client.
pub fn chunk_if(chunked: bool, bytes: &[u8]) -> Bytes {
    if chunked { chunk(bytes).0.into() } else { Bytes::copy_from_slice(bytes) }
}

/// Some bytes as a chunk, and the length of its chunk-size line.
fn chunk(bytes: &[u8]) -> (Vec<u8>, u8) {
    let digits = (usize::BITS - bytes.len().leading_zeros()).div_ceil(4).max(1);
    let size_line = digits as usize + 2;
    let mut chunk = Vec::with_capacity(size_line + bytes.len() + 2);
    // Without a formatter, which would take longer than all the rest.
    let digit = |place: u32| b"0123456789abcdef"[bytes.len() >> (4 * place) & 0xf];
    chunk.extend((0..digits).rev().map(digit));
    chunk.extend_from_slice(b"\r\n");
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    (chunk, size_line as u8)
}

/// The chunk that ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        let mut event = Event::with_data(data);
        event.set_name(name).unwrap();
        event
    }

    #[test]
    fn a_chunk_begins_with_its_size_in_as_many_digits_as_that_needs() {
        for (size, line) in [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (256, "100"), (0x1_a0b0, "1a0b0")]
        {
            let data = "x".repeat(size);

            let chunk = chunk_if(true, data.as_bytes());

            assert_eq!(chunk, format!("{line}\r\n{data}\r\n"));
        }
    }

    #[test]
    fn an_event_is_written_as_a_chunk() {
        let encoded = Encoded::new(&event("progress", "50\n done"), &"e-7");

        assert_eq!(encoded.plain(), "id: e-7\nevent: progress\ndata: 50\ndata:  done\n\n");
        assert_eq!(encoded.chunk(), "2e\r\nid: e-7\nevent: progress\ndata: 50\ndata:  done\n\n\r\n");
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(Encoded::new(&event("", ""), &"e-7").plain(), "id: e-7\ndata: \n\n");
        assert_eq!(Encoded::new(&Event::default(), &"e-7").plain(), "id: e-7\n\n");
    }

    #[test]
    fn an_event_reads_back() {
        for data in ["", "\n", " a\n\n: b\ndata: c\n", "聊天\u{2028}x", "id: 9\nevent: no"] {
            let mut written = event("x y: z", data);
            written.set_retry(5);

            let read = Encoded::new(&written, &"e-7").event();

            assert_eq!((read.name(), read.data()), (written.name(), written.data()));
            assert_eq!((read.id(), read.retry()), (Some("e-7"), Some(5)));
        }
    }
}
