//! The events that a backend sends along with a handoff, ahead of all others.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::given::Given;
use crate::body::Body;
use crate::broker::Anchor;
use crate::drain::Draining;
use crate::event::bom::Bom;
use crate::event::encode;
use crate::socket::Socket;

/// How a client is written to while its initial events come in.
pub(super) struct Manner {
    /// Whether its bytes go in HTTP/1.1 chunks.
    pub(super) chunked: bool,
    /// How long it may take nothing.
    pub(super) stall: Duration,
    /// Silence of the backend after which it has written all, and a comment is sent.
    pub(super) pause: Duration,
}

/// The text of a backend's answer. The last event in it ends there, whatever the backend wrote, so that the
/// next one stands alone; and behind it stands the place at which its client was taken over, unless the backend
/// gave an id itself: then that stands for the place.
pub(super) struct Text {
    body: Body,
    bom: Bom,
    end: Ending,
    given: Given,
    /// The place; `None` while there is no log.
    anchor: Option<Anchor>,
    /// Whether it came to its end, and was something.
    is_whole: bool,
    is_empty: bool,
}

/// What comes next of a text.
pub(super) enum Part {
    /// More of it, which is something.
    More(Bytes),
    /// Its end, with what is missing there.
    End(Bytes),
}

impl Text {
    /// `anchor` is where its client is taken over.
    pub(super) fn of(body: Body, anchor: Option<Anchor>) -> Self {
        let (bom, end, given) = Default::default();
        Self { body, bom, end, given, anchor, is_whole: false, is_empty: true }
    }

    /// What comes next. A backend that pauses for as long as a comment takes to be due has written all, and gets
    /// its comment: the client waits for what is published. May be dropped while it waits, and called again.
    pub(super) async fn next(&mut self, pause: Duration) -> Part {
        loop {
            let Ok(frame) = tokio::time::timeout(pause, self.body.frame()).await else {
                tracing::warn!(
                    ?pause,
                    "a backend hands a client over and does not end its answer; the client is held from here on"
                );
                let rest = self.rest();
                return Part::End(if rest.is_empty() { Bytes::from_static(b":\n") } else { rest });
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                None => return Part::End(self.rest()),
                Some(Err(error)) => {
                    tracing::warn!(
                        %error,
                        "a backend hands a client over and breaks off in its answer; the client is held all the same"
                    );
                    return Part::End(self.missing());
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            let text = self.bom.strip(&data);
            // An empty chunk would be the last one.
            if !text.is_empty() {
                self.is_empty = false;
                self.end.follow(text);
                self.given.follow(text);
                self.place_ids();
                return Part::More(data.slice_ref(text));
            }
        }
    }

    /// What ends the last event of a text that does not come to its end: without an id of ours, so that a client that
    /// is cut off asks for all of it again.
    pub(super) fn missing(&self) -> Bytes {
        Bytes::from_static(self.end.missing())
    }

    /// What stands behind a text that has come to its end.
    fn rest(&mut self) -> Bytes {
        self.is_whole = true;
        self.given.end_line();
        self.place_ids();
        match &self.anchor {
            Some(anchor) if self.wants_id() => self.end.missing_with(&anchor.id().to_string()).into(),
            _ => self.missing(),
        }
    }

    fn wants_id(&self) -> bool {
        self.is_whole && !self.is_empty && self.given.last().is_none()
    }

    /// From the moment on at which a client has an id, it stands for its place.
    fn place_ids(&mut self) {
        if let Some(anchor) = &self.anchor {
            anchor.stands_for(self.given.take().iter().map(String::as_str));
        }
    }

    /// Says where its client is, of a text that was given before there was a log; with what is to be written then.
    pub(super) fn find_place(&mut self, anchor: Anchor) -> String {
        let id = self.wants_id().then(|| Ending::default().missing_with(&anchor.id().to_string()));
        self.anchor = Some(anchor);
        self.place_ids();
        id.unwrap_or_default()
    }
}

/// Writes a stream's opening and the body of the answer that handed the client over, and returns what is
/// to be written next. A backend that still writes when the drain begins has written all.
///
/// # Errors
/// When the client is gone, or has taken nothing for too long.
pub(super) async fn write(
    socket: &mut Socket,
    opening: Bytes,
    text: &mut Text,
    manner: Manner,
    draining: Draining,
) -> io::Result<Bytes> {
    let Manner { chunked, stall, pause } = manner;
    let mut unsent = opening;
    let mut scrap = [0; 256];
    let missing = loop {
        tokio::select! {
            biased;
            () = draining.begun() => break text.missing(),
            written = write_in_time(socket, &mut unsent, stall) => written?,
        }
        let part = tokio::select! {
            biased;
            () = draining.begun() => break text.missing(),
            part = text.next(pause) => part,
            read = socket.read(&mut scrap) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => continue,
            },
        };
        match part {
            Part::More(text) => unsent = encode::chunk_if(chunked, &text),
            Part::End(missing) => break missing,
        }
    };
    match missing.is_empty() {
        true => Ok(unsent),
        false => Ok([unsent, encode::chunk_if(chunked, &missing)].concat().into()),
    }
}

/// Takes what it has written off the front of `bytes`, even if it does not come to its end.
pub(super) async fn write_in_time(socket: &mut Socket, bytes: &mut Bytes, stall: Duration) -> io::Result<()> {
    let write = socket.write_all_buf(bytes);
    tokio::time::timeout(stall, write).await.map_err(|_| io::ErrorKind::TimedOut)?
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

    /// What ends the event, and has an id as the last one.
    fn missing_with(&self, id: &str) -> String {
        let is_cut = self.in_line || (self.has_field && self.after_cr);
        format!("{}id: {id}\n\n", if is_cut { "\n" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Poll;

    use tokio::net::UnixStream;

    use super::*;
    use crate::body::BodyError;
    use crate::drain::drain;

    /// A body that says something and then nothing more, and does not end.
    struct Hesitant(Option<&'static str>);

    impl http_body::Body for Hesitant {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            self.0
                .take()
                .map_or(Poll::Pending, |text| Poll::Ready(Some(Ok(http_body::Frame::data(text.into())))))
        }
    }

    #[tokio::test]
    async fn the_silence_of_a_backend_that_does_not_end_is_broken_by_a_comment() {
        for (text, then) in [("data: a\n\n", ":\n"), ("data: a", "\n\n")] {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let mut socket = Socket::Unix(ours);
            let (_drain, draining) = drain();
            let manner = Manner { chunked: false, stall: Duration::MAX, pause: Duration::from_millis(1) };
            let mut text = Text::of(Body::stream(Hesitant(Some(text))), None);

            let unsent = write(&mut socket, Bytes::new(), &mut text, manner, draining).await.unwrap();

            assert_eq!(unsent, then);
        }
    }

    #[tokio::test]
    async fn what_a_client_has_not_taken_when_the_drain_begins_is_left_to_be_written() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);
        let (drain, draining) = drain();
        let manner = Manner { chunked: true, stall: Duration::MAX, pause: Duration::MAX };
        let opening = Bytes::from(vec![b'x'; 1 << 20]);
        let mut first = [0];

        let mut text = Text::of(Body::empty(), None);
        let writing = write(&mut socket, opening, &mut text, manner, draining);
        let reading = async {
            theirs.read_exact(&mut first).await.unwrap();
            drain.start();
            Ok::<_, Infallible>(())
        };
        let (unsent, _) = tokio::join!(writing, reading);
        drop(socket);
        let mut taken = Vec::new();
        theirs.read_to_end(&mut taken).await.unwrap();

        assert_eq!(1 + taken.len() + unsent.unwrap().len(), 1 << 20);
    }

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
}
