//! Which of the two languages a connection speaks, from its first line.

use std::io;
use std::os::fd::AsFd;

use tokio::net::UnixStream;

use super::stop_sending;
use crate::drain::Draining;

/// The longest request line; what goes on for longer is not HTTP to us.
const MAX_LINE: usize = 16 << 10;

/// A language of the publish socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Language {
    /// Blocks of the event-stream format.
    Frames,
    /// HTTP/1.x.
    Http,
}

/// Reads until the language is clear, and returns what was read; `None` if the publisher left
/// without a word. A publisher may take its time: it may open the socket long before its first event.
pub(super) async fn language(stream: &UnixStream, draining: &Draining) -> Option<(Language, Vec<u8>)> {
    let mut read = Vec::new();
    let mut stopping = false;
    loop {
        tokio::select! {
            ready = stream.readable() => ready.ok()?,
            () = draining.begun(), if !stopping => {
                stopping = true;
                stop_sending(stream.as_fd());
            }
        }
        match stream.try_read_buf(&mut read) {
            Ok(0) if read.is_empty() => return None,
            Ok(0) => return Some((Language::Frames, read)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // The publisher has left, and what it sent has been read.
            Err(_) if read.is_empty() => return None,
            Err(_) => return Some((Language::Frames, read)),
        }
        if let Some(language) = tell(&read) {
            return Some((language, read));
        }
    }
}

/// The language of a connection that begins with `bytes`; `None` if it could still be either.
fn tell(bytes: &[u8]) -> Option<Language> {
    match begins_with_request_line(bytes) {
        Some(true) => Some(Language::Http),
        Some(false) => Some(Language::Frames),
        None => (bytes.len() > MAX_LINE).then_some(Language::Frames),
    }
}

/// Whether `METHOD TARGET HTTP/1.x` comes first (RFC 9112 section 3); `None` if the bytes are too few to tell.
fn begins_with_request_line(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    for is_allowed in [is_in_method, is_in_target] {
        let end = rest.iter().position(|&b| !is_allowed(b))?;
        if end == 0 || rest[end] != b' ' {
            return Some(false);
        }
        rest = &rest[end + 1..];
    }
    begins_with_version(rest)
}

fn begins_with_version(bytes: &[u8]) -> Option<bool> {
    const NAME: &[u8] = b"HTTP/1.";
    let known = bytes.len().min(NAME.len());
    if bytes[..known] != NAME[..known] {
        return Some(false);
    }
    if !bytes.get(NAME.len())?.is_ascii_digit() {
        return Some(false);
    }
    let end = bytes.get(NAME.len() + 1)?;
    Some(matches!(end, b'\r' | b'\n'))
}

/// RFC 9110 section 5.6.2.
fn is_in_method(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_in_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::drain;

    #[test]
    fn a_request_line_is_http() {
        for line in
            ["POST /channels/a HTTP/1.1\r\n", "GET / HTTP/1.0\n", "get http://x/ HTTP/1.1\r\nHost: x\r\n"]
        {
            assert_eq!(tell(line.as_bytes()), Some(Language::Http), "{line}");
        }
    }

    #[test]
    fn anything_else_is_frames_as_soon_as_that_is_clear() {
        for begin in [
            "channel:",
            ":",
            "\n",
            "\r",
            "data\n",
            "data \n",
            "\u{feff}",
            " ",
            "GET  ",
            "GET / \n",
            "GET /\n",
            "GET / F",
            "GET / HTTP/2",
            "GET / HTTP/1.x",
            "GET / HTTP/1.1x",
            "{",
        ] {
            assert_eq!(tell(begin.as_bytes()), Some(Language::Frames), "{begin:?}");
            let before = begin.len() - begin.chars().last().unwrap().len_utf8();
            assert_eq!(
                tell(&begin.as_bytes()[..before]),
                None,
                "{begin:?} was clear before its last character"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_frames() {
        assert_eq!(tell(&[b'x'; MAX_LINE]), None);
        assert_eq!(tell(&[b'x'; MAX_LINE + 1]), Some(Language::Frames));
    }

    #[tokio::test]
    async fn the_end_of_input_decides_too() {
        for (sent, language_then_read) in [
            ("", None),
            ("POST", Some((Language::Frames, b"POST".to_vec()))),
            (":", Some((Language::Frames, b":".to_vec()))),
        ] {
            let (_drain, draining) = drain::drain();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent.as_bytes()).await.unwrap();
            drop(theirs);

            assert_eq!(language(&ours, &draining).await, language_then_read);
        }
    }

    #[tokio::test]
    async fn a_drain_ends_the_wait_for_a_silent_publisher() {
        let (drain, draining) = drain::drain();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        drain.start();

        assert_eq!(language(&ours, &draining).await, None);
    }
}
