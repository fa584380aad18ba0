//! An event stream that the backend writes, on its way to a client (PROTOCOL 4.3): in UTF-8 whatever it was written
//! in, and never silent for so long that somebody on the way takes it for dead.

use std::time::{Duration, Instant};

use bytes::Bytes;
use encoding_rs::{Decoder, Encoding};
use http::header::{self, HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::body::{Body, BodyError, Source};
use crate::event::bom::Bom;
use crate::event::encode;
use crate::proxy::headers::Charset;
use crate::subscribe::head;

/// What of ours goes into a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// The silence after which the client gets a comment, if it does.
    pub(super) keep_alive: Option<Duration>,
    /// How many bytes of a comment come first.
    pub(super) pad: usize,
    /// Whether something of ours went before.
    pub(super) begun: bool,
}

/// Makes an event stream with these headers what a client can read.
pub(super) fn passed(headers: &mut HeaderMap, charset: Charset, body: Body, manner: Manner) -> Body {
    let Manner { keep_alive, pad, begun } = manner;
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        // Nothing can be put into it, and nobody knows what is in it.
        return body;
    }
    let decoder = match charset.0.as_deref().map(Encoding::for_label) {
        None => None,
        Some(Some(encoding)) => {
            let (name, value) = encode::HEADERS[0];
            headers.insert(name, HeaderValue::from_static(value));
            Some(encoding.new_decoder())
        }
        // A charset that nobody knows: a comment could be anything in it.
        Some(None) => return body,
    };
    if decoder.is_none() && keep_alive.is_none() && pad == 0 && !begun {
        return body;
    }
    let silence = keep_alive.map(|limit| Silence { limit, since: Instant::now() });
    let bom = (begun || keep_alive.is_some() || pad > 0).then(Bom::default);
    let first = Some(head::padding(pad)).filter(|padding| !padding.is_empty()).map(Bytes::from);
    Body::from_source(Passed { body, first, decoder, silence, bom, place: Place::Start })
}

struct Passed {
    body: Body,
    /// What comes before it.
    first: Option<Bytes>,
    /// If it is not in UTF-8.
    decoder: Option<Decoder>,
    silence: Option<Silence>,
    /// Takes a mark away before which a comment may stand.
    bom: Option<Bom>,
    place: Place,
}

/// When the client last got something, and how long it may get nothing.
struct Silence {
    limit: Duration,
    since: Instant,
}

/// Where in the text the client is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Nothing has come.
    Start,
    /// Behind a line feed: a comment can stand here.
    LineStart,
    /// Within a line, or behind a CR, of which an LF may be the second half.
    Within,
}

impl Silence {
    async fn is_over(silence: Option<&Self>) {
        match silence {
            Some(Self { limit, since }) => tokio::time::sleep(limit.saturating_sub(since.elapsed())).await,
            None => std::future::pending().await,
        }
    }
}

impl Passed {
    /// The client's text for bytes of the backend.
    fn text(&mut self, data: Bytes, last: bool) -> Bytes {
        let data = match &mut self.decoder {
            Some(decoder) => decoded(decoder, &data, last).into(),
            None => data,
        };
        let data = match &mut self.bom {
            Some(bom) => data.slice_ref(bom.strip(&data)),
            None => data,
        };
        self.place = match data.last() {
            None => self.place,
            Some(b'\n') => Place::LineStart,
            Some(_) => Place::Within,
        };
        data
    }
}

impl Source for Passed {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(Frame::data(first)));
        }
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = Silence::is_over(self.silence.as_ref()) => {
                    if let Some(silence) = &mut self.silence {
                        silence.since = Instant::now();
                    }
                    // Within a line nothing can be said: the backend is in the middle of something.
                    if self.place == Place::Within {
                        continue;
                    }
                    return Some(Ok(Frame::data(encode::heartbeat(false))));
                }
            };
            let text = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.text(data, false),
                    Err(trailers) => return Some(Ok(trailers)),
                },
                Some(Err(error)) => return Some(Err(error)),
                None if self.decoder.is_none() => return None,
                None => {
                    let rest = self.text(Bytes::new(), true);
                    self.decoder = None;
                    rest
                }
            };
            if !text.is_empty() {
                if let Some(silence) = &mut self.silence {
                    silence.since = Instant::now();
                }
                return Some(Ok(Frame::data(text)));
            }
        }
    }
}

fn decoded(decoder: &mut Decoder, data: &[u8], last: bool) -> String {
    let room = decoder.max_utf8_buffer_length(data.len()).unwrap_or(data.len().saturating_mul(3) + 16);
    let mut text = String::with_capacity(room);
    // There is room for all of it, so it ends at the first go.
    let _ = decoder.decode_to_string(data, &mut text, last);
    text
}

#[cfg(test)]
mod splits;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[&'static [u8]]) -> Body {
        Body::from_source(Pieces(pieces.to_vec().into()))
    }

    /// Bytes that come piece by piece; an empty piece is a silence for ever.
    struct Pieces(std::collections::VecDeque<&'static [u8]>);

    impl Source for Pieces {
        async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
            match self.0.front().copied() {
                Some(b"") => std::future::pending().await,
                _ => Some(Ok(Frame::data(Bytes::from_static(self.0.pop_front()?)))),
            }
        }
    }

    async fn all(mut body: Body) -> String {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    fn typed(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[tokio::test]
    async fn f11_a_stream_in_another_charset_is_utf_8_for_the_client_whatever_pieces_it_comes_in() {
        for (label, pieces, expected) in [
            ("iso-8859-1", &[&b"data: J\xfcrgen\n\n"[..]][..], "data: Jürgen\n\n"),
            ("windows-1252", &[b"data: \x80\n\n"], "data: €\n\n"),
            ("shift_jis", &[b"data: \x93", b"\xfa\n\n"], "data: 日\n\n"),
            ("utf-16le", &[b"\xff", b"\xfed\0", b"a", b"\0\n\0"], "da\n"),
            ("iso-8859-1", &[b"data: cut \xe4"], "data: cut ä"),
        ] {
            let mut headers = typed("text/event-stream");
            let charset = Charset(Some(label.into()));

            let body = passed(&mut headers, charset, stream(pieces), Manner::default());

            assert_eq!(all(body).await, expected, "{label}");
            assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
        }
    }

    #[tokio::test]
    async fn a_stream_in_an_unknown_charset_or_a_coding_is_left_as_it_is() {
        let mut headers = typed("text/event-stream; charset=martian");
        let body =
            passed(&mut headers, Charset(Some("martian".into())), stream(&[b"x\xc3\xa4"]), Manner::default());
        assert_eq!(all(body).await, "xä");
        assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream; charset=martian");

        let mut headers = typed("text/event-stream; charset=iso-8859-1");
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let charset = Charset(Some("iso-8859-1".into()));
        let body = passed(
            &mut headers,
            charset,
            stream(&[b"coded"]),
            Manner { keep_alive: Some(Duration::ZERO), pad: 100, begun: false },
        );
        assert_eq!(all(body).await, "coded");
    }

    #[tokio::test]
    async fn a_comment_stands_at_the_beginning_of_a_line_and_nowhere_else() {
        for (pieces, silent, then) in [
            (&[&b""[..]][..], "", true),
            (&[b"data: a\n\n", b""], "data: a\n\n", true),
            (&[b"data: a\n", b""], "data: a\n", true),
            (&[b"data: a\r\n", b""], "data: a\r\n", true),
            (&[b"data: a\r", b""], "data: a\r", false),
            (&[b"data: a", b""], "data: a", false),
        ] {
            let mut headers = typed("text/event-stream");
            let limit = Duration::from_millis(5);
            let mut body = passed(
                &mut headers,
                Charset(None),
                stream(pieces),
                Manner { keep_alive: Some(limit), ..Manner::default() },
            );
            let mut seen = String::new();

            let reading = async {
                while seen.len() < silent.len() + 2 {
                    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
                    seen.push_str(std::str::from_utf8(&frame).unwrap());
                }
            };
            let ended = tokio::time::timeout(Duration::from_millis(100), reading).await;

            assert_eq!(ended.is_ok(), then, "{pieces:?}");
            assert_eq!(seen, if then { format!("{silent}:\n") } else { silent.into() });
        }
    }

    #[tokio::test]
    async fn a_mark_behind_something_of_ours_goes_and_otherwise_stays() {
        for (begun, expected) in [(true, "data: a\n\n"), (false, "\u{feff}data: a\n\n")] {
            let mut headers = typed("text/event-stream");
            let pieces: &[&'static [u8]] = &[b"\xef\xbb", b"\xbfdata: a\n\n"];

            let body =
                passed(&mut headers, Charset(None), stream(pieces), Manner { begun, ..Manner::default() });

            assert_eq!(all(body).await, expected);
        }
    }

    /// The events that a parser finds, and the hint.
    fn events(text: &[u8]) -> Vec<(String, String, String)> {
        let mut parser = sse_parse::SseParser::new();
        parser.feed(text);
        let mut events = Vec::new();
        while let Some(event) = parser.next_event() {
            events.push((event.event.to_string(), event.data.to_string(), event.id.to_string()));
        }
        events
    }

    #[test]
    fn f10_comments_between_any_pieces_of_a_stream_change_nothing_of_its_events() {
        let mut random = 7_u64;
        let mut pick = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % most
        };
        let lines =
            ["data: a", "data:b", "data", "event: x", "id: 7", ": said", "retry: 5", "", "", "other: 1"];
        let mut comments = 0;
        for _ in 0..1000 {
            let end = ["\n", "\r\n", "\r"][pick(3)];
            let text: String = (0..pick(20)).flat_map(|_| [lines[pick(lines.len())], end]).collect();
            for _ in 0..10 {
                let body = Body::empty();
                let mut passed = Passed {
                    body,
                    first: None,
                    decoder: None,
                    silence: None,
                    bom: Some(Bom::default()),
                    place: Place::Start,
                };
                let (mut rest, mut said) = (text.as_bytes(), Vec::new());
                while !rest.is_empty() {
                    if passed.place != Place::Within && pick(2) == 0 {
                        said.extend_from_slice(&encode::heartbeat(false));
                        comments += 1;
                    }
                    let (piece, behind) = rest.split_at(1 + pick(rest.len()));
                    said.extend_from_slice(&passed.text(Bytes::copy_from_slice(piece), false));
                    rest = behind;
                }

                assert_eq!(
                    events(&said),
                    events(text.as_bytes()),
                    "{text:?} as {:?}",
                    String::from_utf8_lossy(&said)
                );
            }
        }
        assert!(comments > 1000, "{comments}");
    }
}
