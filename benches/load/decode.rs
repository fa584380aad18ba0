//! Reads an event stream off an HTTP/1.1 connection, as cheaply as it can be done honestly: the
//! chunks are decoded, since nobody promised that an event and a chunk begin together.

use memchr::{memchr, memmem};

/// What one read brought to light.
pub(crate) trait Sink {
    /// A line of the stream, without its end.
    fn line(&mut self, line: &[u8]);
}

/// Where a connection stands.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    phase: Phase,
    /// Bytes of the chunk still to come.
    left: usize,
    /// A head, a chunk's size or a line that the last read cut off.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Head,
    Size,
    Chunk,
    ChunkEnd,
    /// Without chunks, until the connection ends.
    Plain,
    Ended,
    Refused,
}

const LONGEST_HEAD: usize = 16 * 1024;

impl Decoder {
    /// Takes what was read, and hands the lines of the stream to `sink`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while !bytes.is_empty() {
            bytes = match self.phase {
                Phase::Head => self.head(bytes),
                Phase::Size => self.size(bytes),
                Phase::Chunk => {
                    let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                    self.lines(now, sink);
                    self.left -= now.len();
                    if self.left == 0 {
                        self.phase = Phase::ChunkEnd;
                        self.left = 2;
                    }
                    later
                }
                Phase::ChunkEnd => {
                    let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                    self.left -= now.len();
                    if self.left == 0 {
                        self.phase = Phase::Size;
                    }
                    later
                }
                Phase::Plain => {
                    self.lines(bytes, sink);
                    &[]
                }
                Phase::Ended | Phase::Refused => &[],
            };
        }
    }

    /// Whether the head has come, and says 200.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Head | Phase::Refused)
    }

    /// Whether the answer was anything but a 200.
    pub(crate) fn is_refused(&self) -> bool {
        self.phase == Phase::Refused
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.rest, b"\r\n\r\n") else {
            if self.rest.len() > LONGEST_HEAD {
                self.phase = Phase::Refused;
            }
            return &[];
        };
        let head = self.rest[..end].to_ascii_lowercase();
        self.phase = if !head.starts_with(b"http/1.1 200") {
            let status = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            eprintln!("load: a stream was refused: {}", String::from_utf8_lossy(status));
            Phase::Refused
        } else if memmem::find(&head, b"transfer-encoding: chunked").is_some() {
            Phase::Size
        } else {
            Phase::Plain
        };
        // Not kept: ten thousand of them would be memory that the generator does not need.
        self.rest = Vec::new();
        &bytes[end + 4 - before..]
    }

    fn size<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.rest.extend_from_slice(bytes);
            return &[];
        };
        self.left = hexadecimal(&self.rest) << (4 * digits(&bytes[..end])) | hexadecimal(&bytes[..end]);
        self.rest.clear();
        self.phase = if self.left == 0 { Phase::Ended } else { Phase::Chunk };
        &bytes[end + 1..]
    }

    fn lines(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while let Some(end) = memchr(b'\n', bytes) {
            if self.rest.is_empty() {
                sink.line(&bytes[..end]);
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                sink.line(&self.rest);
                self.rest.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count()
}

fn hexadecimal(text: &[u8]) -> usize {
    text.iter()
        .map_while(|byte| (*byte as char).to_digit(16))
        .fold(0, |value, digit| (value << 4) | digit as usize)
}
