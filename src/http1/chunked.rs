//! Chunked bodies (RFC 9112 section 7.1): out of their chunks, and into new ones.

use std::io::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most bytes of a chunk's extensions, which nobody uses but to fill memory.
const MAX_EXTENSION: usize = 1 << 10;
/// The most bytes of all trailers.
const MAX_TRAILERS: usize = 16 << 10;
/// The most lines of trailers.
pub const MAX_TRAILER_LINES: usize = 64;

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadChunk {
    /// Not a hexadecimal number of at most 16 digits.
    #[error("a chunk's size is not a hexadecimal number")]
    Size,
    /// An extension that is too long or holds control characters.
    #[error("a chunk's extension is longer than {MAX_EXTENSION} bytes or no text")]
    Extension,
    /// Something else where CRLF should be.
    #[error("a chunk does not end where its size says")]
    End,
    /// Trailers that cannot be read.
    #[error("the trailers cannot be read, or have more than {MAX_TRAILERS} bytes")]
    Trailers,
}

/// How closely chunks are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// As RFC 9112 has them: a request goes on to a server that could read anything else otherwise.
    Strict,
    /// With blanks behind a size and lines that end without CR, as servers of old write them: an answer is
    /// framed anew, and nobody else reads it as it came.
    Lenient,
}

/// Takes a body out of its chunks, however they are cut into pieces.
#[derive(Debug)]
pub struct Decoder {
    reading: Reading,
    state: State,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In the size, with so many digits read.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the blanks behind the size, of which so many were read: an extension has to follow.
    Blank {
        size: u64,
        read: usize,
    },
    /// Behind the size; of the extension so many bytes were read.
    Extension {
        size: u64,
        read: usize,
    },
    /// Behind the CR of the size's line.
    SizeEnd {
        size: u64,
    },
    /// Within the data, of which so much is left.
    Data {
        left: u64,
    },
    /// Behind the data.
    DataEnd {
        cr: bool,
    },
    /// In the lines behind the last chunk.
    Trailers,
    Done,
}

impl State {
    /// Behind the line with a chunk's size.
    fn behind(size: u64) -> Self {
        if size == 0 { Self::Trailers } else { Self::Data { left: size } }
    }
}

impl Decoder {
    /// Nothing was read yet.
    pub fn new(reading: Reading) -> Self {
        Self { reading, state: State::Size { size: 0, digits: 0 }, trailers: Vec::new() }
    }

    /// Reads on, appends data to `data`, and returns how many bytes of `input` were read: all, unless the
    /// body has ended before.
    ///
    /// # Errors
    /// When the chunks are not what they should be; the decoder is of no use then.
    pub fn decode(&mut self, input: &[u8], data: &mut Vec<u8>) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let size = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                data.extend_from_slice(&input[at..at + size]);
                at += size;
                let left = left - size as u64;
                self.state = if left == 0 { State::DataEnd { cr: false } } else { State::Data { left } };
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once the body has ended; `None` without any.
    ///
    /// # Errors
    /// When they are no header lines.
    pub fn trailers(&mut self) -> Result<Option<HeaderMap>, BadChunk> {
        let lines = std::mem::take(&mut self.trailers);
        if lines.len() <= 2 {
            return Ok(None);
        }
        let mut room = [httparse::EMPTY_HEADER; MAX_TRAILER_LINES];
        let parsed = httparse::parse_headers(&lines, &mut room).map_err(|_| BadChunk::Trailers)?;
        let httparse::Status::Complete((_, lines)) = parsed else { return Err(BadChunk::Trailers) };
        let mut map = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BadChunk::Trailers)?;
            let value = HeaderValue::from_bytes(line.value).map_err(|_| BadChunk::Trailers)?;
            map.append(name, value);
        }
        Ok(Some(map))
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        let lenient = self.reading == Reading::Lenient;
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 16 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeEnd { size },
            (State::Size { size, digits: 1.. }, b'\n') if lenient => State::behind(size),
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size, read: 0 },
            // Some servers of old fill the size's line up with blanks.
            (State::Size { size, digits: 1.. }, b' ' | b'\t') if lenient => {
                State::Extension { size, read: 0 }
            }
            (State::Size { size, digits: 1.. }, b' ' | b'\t') => State::Blank { size, read: 0 },
            (State::Blank { size, read: 0..MAX_EXTENSION }, b';') => State::Extension { size, read: 0 },
            (State::Blank { size, read: read @ 0..MAX_EXTENSION }, b' ' | b'\t') => {
                State::Blank { size, read: read + 1 }
            }
            (State::Size { .. } | State::Blank { .. }, _) => return Err(BadChunk::Size),
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { size, .. }, b'\n') if lenient => State::behind(size),
            (State::Extension { size, read }, byte) => {
                if read == MAX_EXTENSION || (byte.is_ascii_control() && byte != b'\t') {
                    return Err(BadChunk::Extension);
                }
                State::Extension { size, read: read + 1 }
            }
            (State::SizeEnd { size }, b'\n') => State::behind(size),
            (State::DataEnd { cr: false }, b'\r') => State::DataEnd { cr: true },
            (State::DataEnd { cr }, b'\n') if cr || lenient => State::Size { size: 0, digits: 0 },
            (State::SizeEnd { .. } | State::DataEnd { .. }, _) => return Err(BadChunk::End),
            (State::Trailers, byte) => self.trailer(byte)?,
            // Handled by the caller.
            (state @ (State::Data { .. } | State::Done), _) => state,
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, BadChunk> {
        let is_bare = byte == b'\n' && self.trailers.last() != Some(&b'\r');
        if self.trailers.len() == MAX_TRAILERS || is_bare && self.reading == Reading::Strict {
            return Err(BadChunk::Trailers);
        }
        self.trailers.push(byte);
        let before = self.trailers.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let over = before.is_some_and(|before| before.is_empty() || before.ends_with(b"\n"));
        Ok(if over { State::Done } else { State::Trailers })
    }
}

/// Appends `data` as a chunk; no data is no chunk, for an empty one would be the last.
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    encode_size(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(LINE_END);
}

/// What follows the data of a chunk.
pub(super) const LINE_END: &[u8] = b"\r\n";

/// Appends what precedes the data of a chunk of this size, which is not empty.
pub(super) fn encode_size(size: usize, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "{size:x}\r\n");
}

/// Appends the last chunk and the trailers.
pub fn encode_end(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, the trailers, and what came behind.
    type Decoded = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    fn decode(input: &[u8], piece: usize) -> Result<Decoded, BadChunk> {
        read(Reading::Strict, input, piece)
    }

    fn read(reading: Reading, input: &[u8], piece: usize) -> Result<Decoded, BadChunk> {
        let (mut decoder, mut data, mut rest) = (Decoder::new(reading), Vec::new(), Vec::new());
        for piece in input.chunks(piece) {
            let read = decoder.decode(piece, &mut data)?;
            rest.extend_from_slice(&piece[read..]);
        }
        if !decoder.is_done() {
            return Err(BadChunk::End);
        }
        Ok((data, decoder.trailers()?, rest))
    }

    proptest! {
        #[test]
        fn what_goes_into_chunks_comes_out_of_them_in_any_pieces(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            piece in 1_usize..40,
            rest in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                encode(part, &mut wire);
            }
            encode_end(None, &mut wire);
            wire.extend_from_slice(&rest);

            prop_assert_eq!(decode(&wire, piece), Ok((parts.concat(), None, rest)));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'f'), Just(b';'), any::<u8>()], 0..60),
            piece in 1_usize..9,
        ) {
            let _ = decode(&bytes, piece);
            let _ = read(Reading::Lenient, &bytes, piece);
        }
    }

    #[test]
    fn sizes_have_extensions_blanks_and_either_case() {
        let wire = b"3;name=value\r\nabc\r\nA \t;x\r\n0123456789\r\n000\r\n\r\n";

        let (data, trailers, rest) = decode(wire, 1).unwrap();

        assert_eq!((data, trailers, rest), (b"abc0123456789".to_vec(), None, Vec::new()));
    }

    #[test]
    fn an_answers_chunks_may_be_those_of_an_old_server() {
        for wire in
            [&b"3  \r\nabc\r\n0 \r\n\r\n"[..], b"3\nabc\n0\n\n", b"3\r\nabc\n0\r\n\n", b"3;x\nabc\n0\n\r\n"]
        {
            let text = String::from_utf8_lossy(wire);
            let rest = [wire, b"HTTP"].concat();
            let decoded = read(Reading::Lenient, &rest, 1).unwrap();
            assert_eq!(decoded, (b"abc".to_vec(), None, b"HTTP".to_vec()), "{text:?}");
            assert!(decode(wire, 1).is_err(), "{text:?}");
        }
        let (_, trailers, _) = read(Reading::Lenient, b"0\nX: y\n\n", 1).unwrap();
        assert_eq!(trailers.unwrap()["x"], "y");
    }

    #[test]
    fn trailers_are_read() {
        let (_, trailers, rest) = decode(b"0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\nGET", 3).unwrap();

        let trailers = trailers.unwrap();
        assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
        assert_eq!(rest, b"GET");
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(MAX_EXTENSION + 1));
        for (wire, wrong) in [
            (&b"\r\n"[..], BadChunk::Size),
            (b"0x1\r\na\r\n", BadChunk::Size),
            (b"-1\r\na\r\n", BadChunk::Size),
            (b" 1\r\na\r\n", BadChunk::Size),
            (b"1 2\r\na\r\n", BadChunk::Size),
            (b"1 \r\na\r\n", BadChunk::Size),
            (b"11111111111111111\r\na", BadChunk::Size),
            (b"1\na\r\n", BadChunk::Size),
            (b"1\r\nab\r\n", BadChunk::End),
            (b"1\r\na\n", BadChunk::End),
            (b"1\r\r\na", BadChunk::End),
            (b"1;a\nb\r\n", BadChunk::Extension),
            (long.as_bytes(), BadChunk::Extension),
            (b"0\r\nX: y\n\r\n", BadChunk::Trailers),
            (b"0\r\nX : y\r\n\r\n", BadChunk::Trailers),
        ] {
            assert_eq!(decode(wire, 5).unwrap_err(), wrong, "{:?}", String::from_utf8_lossy(wire));
        }
        let endless = [b"0\r\n".to_vec(), b"X: y\r\n".repeat(10_000)].concat();
        assert_eq!(decode(&endless, 1000).unwrap_err(), BadChunk::Trailers);
    }
}
