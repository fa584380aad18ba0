//! An event as bytes for clients: made once when it is published, shared by all who get it.
//!
//! Nothing a publisher wrote can end an event early or add a field to it: an [`Event`] holds no
//! line break outside its data, and each line of the data becomes a `data:` line of its own
//! (WHATWG HTML 9.2.6).

use std::fmt::{Display, Write as _};
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Epoch, Event};

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
    /// The chunk, behind a few bytes that were kept free for a longer number.
    bytes: Bytes,
    /// Where the chunk begins.
    begin: u8,
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
        Self { bytes: chunk.into(), begin: 0, size_line }
    }

    /// The bytes as a chunk.
    pub fn chunk(&self) -> Bytes {
        self.bytes.slice(usize::from(self.begin)..)
    }

    /// The bytes alone.
    pub fn plain(&self) -> Bytes {
        self.bytes.slice(self.place_of_plain())
    }

    /// The bytes, as a chunk or alone.
    pub fn bytes(&self, chunked: bool) -> Bytes {
        if chunked { self.chunk() } else { self.plain() }
    }

    /// The same, for now.
    pub fn as_slice(&self, chunked: bool) -> &[u8] {
        if chunked { &self.bytes[usize::from(self.begin)..] } else { &self.bytes[self.place_of_plain()] }
    }

    fn place_of_plain(&self) -> Range<usize> {
        usize::from(self.begin) + usize::from(self.size_line)..self.bytes.len() - 2
    }

    /// How many bytes the chunk has.
    pub fn len(&self) -> usize {
        self.bytes.len() - usize::from(self.begin)
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

/// An event that is written out but for its number, which is not known before the log takes it. Whatever
/// the event's size, a few bytes are written then: others may wait for the log meanwhile.
#[derive(Debug)]
pub struct Unnumbered {
    /// Room for the chunk-size line and the id, then the rest of the chunk.
    bytes: Vec<u8>,
    /// How much room there is.
    room: usize,
    epoch: Option<Epoch>,
}

/// The most digits of a number for which room is kept; beyond, the event is written anew.
const MOST_DIGITS: usize = 12;

impl Unnumbered {
    /// Writes `event`, which is to be an event of the log `epoch`. Its own id, if it has one, stands for the
    /// number.
    pub fn new(event: &Event, epoch: &Epoch) -> Self {
        let epoch = if event.id().is_none() { Some(epoch.clone()) } else { None };
        let length = length_of_fields(event);
        let id = epoch.as_ref().map_or(0, |epoch| ID.len() + epoch.as_str().len() + 1 + MOST_DIGITS + 1);
        let room = digits_of(length + id) + 2 + id;
        let mut bytes = Vec::with_capacity(room + length + 2);
        bytes.resize(room, 0);
        fields(event, |text| bytes.extend_from_slice(text.as_bytes()));
        bytes.extend_from_slice(b"\r\n");
        Self { bytes, room, epoch }
    }

    /// About how many bytes it will have.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: see [`Encoded::is_empty`].
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The event with its number.
    pub fn number(self, sequence: u64) -> Encoded {
        let Self { mut bytes, room, epoch } = self;
        let mut id: SmallVec<[u8; 48]> = SmallVec::new();
        if let Some(epoch) = &epoch {
            id.extend_from_slice(ID.as_bytes());
            id.extend_from_slice(epoch.as_str().as_bytes());
            id.push(b'-');
            id.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
            id.push(b'\n');
        }
        let length = id.len() + bytes.len() - 2 - room;
        let size_line = size_line(length);
        let begin = room.checked_sub(size_line.len() + id.len());
        let Some(begin) = begin.filter(|&begin| begin <= usize::from(u8::MAX)) else {
            return Self::without_room(&id, &bytes[room..bytes.len() - 2]);
        };
        bytes[begin..begin + size_line.len()].copy_from_slice(&size_line);
        bytes[begin + size_line.len()..room].copy_from_slice(&id);
        Encoded { bytes: bytes.into(), begin: begin as u8, size_line: size_line.len() as u8 }
    }

    /// The slow way: what was written is written again behind an id that is longer than was thought of.
    fn without_room(id: &[u8], rest: &[u8]) -> Encoded {
        let (chunk, size_line) = chunk(&[id, rest].concat());
        Encoded { bytes: chunk.into(), begin: 0, size_line }
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
    written(event, None, |text| block.push_str(text));
    block
}

/// What stands before an id.
const ID: &str = "id: ";

/// An event's fields, its own id among them if it has one, and the line that ends it.
fn fields(event: &Event, put: impl FnMut(&str)) {
    written(event, event.id(), put);
}

fn written(event: &Event, id: Option<&str>, mut put: impl FnMut(&str)) {
    let mut field = |name: &str, value: &str| {
        put(name);
        put(value);
        put("\n");
    };
    if let Some(id) = id {
        field(ID, id);
    }
    if let Some(name) = event.name() {
        field("event: ", name);
    }
    if let Some(retry) = event.retry() {
        field("retry: ", itoa::Buffer::new().format(retry));
    }
    if let Some(data) = event.data() {
        for line in data.split('\n') {
            field("data: ", line);
        }
    }
    put("\n");
}

/// How many bytes [`fields`] writes.
fn length_of_fields(event: &Event) -> usize {
    let line = |name: &str, value: Option<&str>| value.map_or(0, |value| name.len() + value.len() + 1);
    let retry =
        event.retry().map_or(0, |retry| "retry: ".len() + itoa::Buffer::new().format(retry).len() + 1);
    let data = event.data().map_or(0, |data| {
        let lines = memchr::memchr_iter(b'\n', data.as_bytes()).count() + 1;
        data.len() + 1 + "data: ".len() * lines
    });
    line(ID, event.id()) + line("event: ", event.name()) + retry + data + 1
}

/// Some bytes of a stream as they go to this kind of client.
pub fn chunk_if(chunked: bool, bytes: &[u8]) -> Bytes {
    if chunked { chunk(bytes).0.into() } else { Bytes::copy_from_slice(bytes) }
}

/// Some bytes as a chunk, and the length of its chunk-size line.
fn chunk(bytes: &[u8]) -> (Vec<u8>, u8) {
    let size_line = size_line(bytes.len());
    let mut chunk = Vec::with_capacity(size_line.len() + bytes.len() + 2);
    chunk.extend_from_slice(&size_line);
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    (chunk, size_line.len() as u8)
}

/// The line before a chunk of so many bytes. Without a formatter, which would take longer than all the rest.
fn size_line(length: usize) -> SmallVec<[u8; 18]> {
    let digit = |place: usize| b"0123456789abcdef"[length >> (4 * place) & 0xf];
    let mut line: SmallVec<[u8; 18]> = (0..digits_of(length)).rev().map(digit).collect();
    line.extend_from_slice(b"\r\n");
    line
}

/// How many hexadecimal digits a number has.
fn digits_of(number: usize) -> usize {
    ((usize::BITS - number.leading_zeros()).div_ceil(4)).max(1) as usize
}

/// The chunk that ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

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
    fn an_event_whose_number_is_not_known_yet_is_the_same_once_it_is() {
        let epoch = Epoch::from_word("abcdefghijkl");
        let mut full = event("x y: z", "a\n\n\u{20ac} b\n");
        full.set_retry(1500);
        let mut own = full.clone();
        own.set_id("own-7").unwrap();
        let long = event("", &"x".repeat(70_000));
        for event in [Event::default(), event("", ""), full, own.clone(), long] {
            for sequence in [0, 7, 99, 1_000_000, 999_999_999_999, 1_000_000_000_000, u64::MAX] {
                let position = Position { epoch: epoch.clone(), sequence };
                let expected = match event.id() {
                    Some(id) => Encoded::new(&event, &id),
                    None => Encoded::new(&event, &position),
                };

                let encoded = Unnumbered::new(&event, &epoch).number(sequence);

                assert_eq!(encoded.chunk(), expected.chunk());
                assert_eq!((encoded.plain(), encoded.len()), (expected.plain(), expected.len()));
                assert_eq!(encoded.as_slice(true), &expected.chunk()[..]);
            }
        }
        let of_another_kind = Unnumbered::new(&event("", "x"), &Epoch::from_word(&"e".repeat(300)));
        assert!(of_another_kind.number(7).plain().starts_with(b"id: eee"));
        let own = Unnumbered::new(&own, &epoch);
        assert_eq!(own.bytes.len(), own.bytes.capacity(), "no room is kept that is not needed");
    }

    #[test]
    fn to_give_an_event_its_number_copies_nothing_of_it() {
        let unnumbered = Unnumbered::new(&event("", &"x".repeat(1 << 20)), &Epoch::random());
        let place = unnumbered.bytes.as_ptr_range();

        let encoded = unnumbered.number(1);

        assert!(place.contains(&encoded.as_slice(true).as_ptr()));
        assert!(encoded.len() > 1 << 20);
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
