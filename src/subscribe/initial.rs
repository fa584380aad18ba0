//! The events that a backend sends along with a handoff, ahead of all others.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::Body;
use crate::event::encode;
use crate::listen::Socket;

/// Writes a stream's opening and the body of the answer that handed the client over. The last event
/// in it ends there, whatever the backend wrote, so that the next one stands alone. A backend that
/// pauses for longer than `pause` has written all: the client waits for what is published.
///
/// # Errors
/// When the client is gone, or has taken nothing for `stall`.
pub(super) async fn write(
    socket: &mut Socket,
    opening: &[u8],
    mut body: Body,
    framed: bool,
    stall: Duration,
    pause: Duration,
) -> io::Result<()> {
    write_in_time(socket, opening, stall).await?;
    let mut scrap = [0; 256];
    let mut bom = Bom::default();
    let mut end = Ending::default();
    loop {
        let frame = tokio::select! {
            frame = tokio::time::timeout(pause, body.frame()) => frame,
            read = socket.read(&mut scrap) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => continue,
            },
        };
        let Ok(frame) = frame else {
            tracing::warn!(
                ?pause,
                "a backend hands a client over and does not end its answer; the client is held from here on"
            );
            break;
        };
        // A backend that breaks off has said what it has said: the client is still held.
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else { continue };
        let text = bom.strip(&data);
        if text.is_empty() {
            continue;
        }
        end.follow(text);
        write_in_time(socket, &encode::frame(text, framed), stall).await?;
    }
    let missing = end.missing();
    if !missing.is_empty() {
        write_in_time(socket, &encode::frame(missing, framed), stall).await?;
    }
    Ok(())
}

/// Writes all of it, or fails after `stall`.
pub(super) async fn write_in_time(socket: &mut Socket, bytes: &[u8], stall: Duration) -> io::Result<()> {
    tokio::time::timeout(stall, socket.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Takes a byte order mark off the front: behind our opening it would spoil the first line.
#[derive(Debug, Default)]
struct Bom {
    seen: usize,
}

impl Bom {
    const BYTES: &[u8] = b"\xef\xbb\xbf";

    /// What is left of the next bytes. The mark may come in pieces; a piece that turns out to be none
    /// is dropped, since no text in UTF-8 goes on from there.
    fn strip<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Some(&expected), Some((&first, rest))) = (Self::BYTES.get(self.seen), bytes.split_first())
        {
            if first != expected {
                self.seen = Self::BYTES.len();
                break;
            }
            self.seen += 1;
            bytes = rest;
        }
        bytes
    }
}

/// How far the text is from the end of an event (WHATWG HTML 9.2.5: lines end in CRLF, LF or CR).
#[derive(Debug, Default)]
struct Ending {
    /// Whether a line has begun.
    in_line: bool,
    /// Whether a field stands in the event that has begun. With comments alone there is none, and a
    /// blank line would make some clients see an empty message.
    has_field: bool,
    /// Whether the last byte was a CR, of which an LF behind it is the second half.
    after_cr: bool,
}

impl Ending {
    fn follow(&mut self, text: &[u8]) {
        for &byte in text {
            let second_half = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.has_field &= self.in_line;
                    self.in_line = false;
                }
                _ => {
                    self.has_field |= !self.in_line && byte != b':';
                    self.in_line = true;
                }
            }
        }
    }

    /// What ends the event.
    fn missing(&self) -> &'static [u8] {
        match (self.in_line, self.has_field) {
            (false, false) => b"",
            (true, false) => b"\n",
            (false, true) if !self.after_cr => b"\n",
            (_, true) => b"\n\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn just_as_much_is_added_as_ends_the_last_event() {
        for (text, missing) in [
            ("", ""),
            ("data: a\n\n", ""),
            ("data: a\r\r", ""),
            ("data: a\r\n\r\n", ""),
            ("data: a\n\r\n", ""),
            ("data: a\r\n\r", ""),
            ("data: a\n", "\n"),
            ("data: a\r\n", "\n"),
            ("data: a\r", "\n\n"),
            ("data: a", "\n\n"),
            ("data: a\n\n\ndata: b\r", "\n\n"),
            (": hello", "\n"),
            (": hello\n", ""),
            (": hello\r", ""),
            ("data: a\n: hello", "\n\n"),
            ("data: a\n\n: hello\n", ""),
        ] {
            let mut at_once = Ending::default();
            at_once.follow(text.as_bytes());
            let mut by_byte = Ending::default();
            text.as_bytes().iter().for_each(|&byte| by_byte.follow(&[byte]));

            assert_eq!(at_once.missing(), missing.as_bytes(), "{text:?}");
            assert_eq!(by_byte.missing(), missing.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_goes_even_in_pieces() {
        for pieces in [&["\u{feff}data"[..].as_bytes()][..], &[b"\xef", b"\xbb", b"\xbfda", b"ta"]] {
            let mut bom = Bom::default();

            let left: Vec<u8> = pieces.iter().flat_map(|piece| bom.strip(piece)).copied().collect();

            assert_eq!(left, b"data");
        }
        assert_eq!(Bom::default().strip(b"data"), b"data");
        let mut later = Bom::default();
        assert_eq!(later.strip(b"d"), b"d");
        assert_eq!(later.strip(b"\xef\xbb\xbf"), b"\xef\xbb\xbf", "further on it is text");
    }
}
