//! Streams of every shape, cut at random and silent at random cuts: whatever comments are put in, two parsers that
//! know nothing of ours read the same events as without them.

#[path = "../../../tests/durability/dice.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the tests beside it throw them too")]
mod dice;
#[path = "../../../tests/durability/results.rs"]
#[allow(clippy::duplicate_mod, reason = "other long runs write their results too")]
mod results;
#[path = "../../../tests/support/sse.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests beside it read with it too")]
mod sse;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use http::header::{self, HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt;

use self::dice::Dice;
use super::{Manner, passed};
use crate::body::{Body, BodyError, Source};
use crate::proxy::headers::Charset;

/// A stream with pauses.
struct Pieces(VecDeque<Piece>);

enum Piece {
    Silence,
    Bytes(Bytes),
}

impl Source for Pieces {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        loop {
            match self.0.pop_front()? {
                Piece::Silence => silence().await,
                Piece::Bytes(bytes) => return Some(Ok(Frame::data(bytes))),
            }
        }
    }
}

/// Ends once it was looked at twice: the clock, which is at nothing, has been heard in between.
async fn silence() {
    let mut looked = 0;
    std::future::poll_fn(|_| {
        looked += 1;
        if looked > 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A stream and the charset that it is in: `None` if it says nothing.
struct Stream {
    label: Option<&'static str>,
    bytes: Bytes,
}

impl Stream {
    fn random(dice: &mut Dice) -> Self {
        const ENDS: [&str; 3] = ["\n", "\r\n", "\r"];
        const WORDS: [(Option<&str>, &[&str]); 4] = [
            (None, &["a", "data: x", ":", " ", "J\u{fc}rgen", "你好", "🎉", "\u{feff}", "\u{2028}", "0"]),
            (Some("iso-8859-1"), &["a", ": ", "J\u{fc}rgen", "na\u{ef}ve", "50"]),
            (Some("shift_jis"), &["a", "日本語", "ソ", "表示", ":"]),
            (Some("gbk"), &["a", "聊天", "你好", "data: ", " "]),
        ];
        let (label, words) = WORDS[dice.below(WORDS.len())];
        // One kind of line end, as most have, or any.
        let usual = dice.below(ENDS.len() + 1);
        let mut text = String::new();
        if label.is_none() && dice.one_in(4) {
            text.push('\u{feff}');
        }
        for _ in 0..1 + dice.below(30) {
            let value: String = (0..dice.below(5)).map(|_| words[dice.below(words.len())]).collect();
            let number = dice.below(1000);
            text.push_str(&match dice.below(14) {
                0..=4 => format!("data: {value}"),
                5 => "data".to_owned(),
                6 => format!("event: {value}"),
                7 => format!("id: {number}"),
                8 => format!("retry: {number}"),
                9 => format!(": {value}"),
                10 => format!("odd{number}: {value}"),
                _ => String::new(),
            });
            text.push_str(ENDS.get(usual).unwrap_or_else(|| &ENDS[dice.below(ENDS.len())]));
        }
        if dice.one_in(3) {
            text.push_str("data: not ended");
        }
        let bytes = charset(label).encode(&text).0.into_owned().into();
        Self { label, bytes }
    }

    /// What its client would read if nobody were silent.
    fn text(&self) -> String {
        charset(self.label).decode_without_bom_handling(&self.bytes).0.into_owned()
    }

    /// The stream in pieces, with silences between some of them.
    fn cut(&self, dice: &mut Dice) -> Body {
        let cuts = 1 + dice.below(12);
        let mut places: Vec<_> = (0..cuts).map(|_| dice.below(self.bytes.len() + 1)).collect();
        // Line ends are where something can go wrong: half of the cuts are at one.
        for place in places.iter_mut().skip(cuts / 2) {
            let rest = &self.bytes[*place..];
            *place += rest.iter().position(|byte| b"\r\n".contains(byte)).map_or(0, |at| at + dice.below(2));
        }
        places.sort_unstable();
        let mut pieces = VecDeque::new();
        let mut from = 0;
        for place in places.into_iter().chain([self.bytes.len()]) {
            if place > from {
                pieces.push_back(Piece::Bytes(self.bytes.slice(from..place)));
            }
            if !dice.one_in(4) {
                pieces.push_back(Piece::Silence);
            }
            from = place;
        }
        Body::from_source(Pieces(pieces))
    }
}

fn charset(label: Option<&str>) -> &'static Encoding {
    label.map_or(UTF_8, |label| Encoding::for_label(label.as_bytes()).unwrap())
}

type Event = (String, String, String);

/// The events that two parsers read, piece by piece, and how many comments of ours.
fn read(pieces: &[Bytes]) -> ([Vec<Event>; 2], usize) {
    let (mut ours, mut theirs) = (sse::Parser::default(), sse_parse::SseParser::new());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for piece in pieces {
        first.extend(ours.read(piece).into_iter().map(|event| (event.name, event.data, event.id)));
        theirs.feed(piece);
        while let Some(event) = theirs.next_event() {
            second.push((event.event, event.data, event.id));
        }
    }
    let comments = ours.comments.iter().filter(|comment| comment.is_empty()).count();
    ([first, second], comments)
}

/// Cuts a stream so many times; how many comments were put in.
async fn compare(stream: Stream, splits: usize, mut dice: Dice) -> usize {
    let text = stream.text();
    let ([expected, second], own) = read(&[Bytes::from(text.clone())]);
    assert_eq!(expected, second, "the parsers differ about {text:?}");
    let mut put_in = 0;
    for _ in 0..splits {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let label = Charset(stream.label.map(|label| label.as_bytes().into()));
        let begun = dice.one_in(2);
        let manner = Manner { keep_alive: Some(Duration::ZERO), pad: 0, begun };
        let mut body = passed(&mut headers, label, stream.cut(&mut dice), manner);
        let mut pieces = vec![Bytes::from_static(if begun { b":\nretry: 3000\n" } else { b"" })];
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }

        let ([first, second], comments) = read(&pieces);

        assert_eq!(first, expected, "{pieces:?}");
        assert_eq!(second, expected, "{pieces:?}");
        put_in += comments - own - usize::from(begun);
    }
    put_in
}

#[test]
fn comments_that_are_put_in_change_no_event_wherever_a_stream_is_cut() {
    let streams = results::number("OUTBOARD_STREAMS", 200);
    let seed = dice::seed();
    let mut dice = Dice::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();

    let comments: usize = runtime.block_on(async {
        let compared: Vec<_> =
            (0..streams).map(|_| tokio::spawn(compare(Stream::random(&mut dice), 10, dice.fork()))).collect();
        let mut comments = 0;
        for compared in compared {
            comments += compared.await.unwrap();
        }
        comments
    });

    let lines = [
        format!("{streams} streams in UTF-8, ISO-8859-1, Shift_JIS and GBK, {} random splits", streams * 10),
        format!("{comments} comments put in; 0 events changed, lost or made, by two parsers"),
    ];
    assert!(comments > streams, "{comments} comments in {streams} streams");
    results::report("Comments put into streams", seed, &lines);
}
