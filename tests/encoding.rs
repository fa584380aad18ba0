//! The bytes that clients get, read by two parsers that know nothing of ours: what comes out is what
//! was published, and nothing else, however it is cut on the way.

#![allow(clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use outboard::event::Event;
use outboard::event::encode::{Encoded, chunk_if};
use proptest::prelude::*;
use sse_parse::SseParser;
use support::sse::Parser;

/// Text made of what could break a line, a field or a parser, and of anything else.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", ":", ": ", " ", "data: x", "id: 9", "event: e", "retry: 1", "\0",
            "\u{feff}", "\u{2028}", "\u{85}", "聊天", "\t",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n', '\0'], "")
}

/// As a page reads it: each line break is LF.
fn as_read(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn two_parsers_read_out_what_was_published(
        events in prop::collection::vec((nasty(), nasty(), prop::option::of("[!-~]{1,12}")), 1..5),
        cut in 1usize..40,
    ) {
        let mut bytes = b":\nretry: 3000\n".to_vec();
        let mut published = Vec::new();
        for (number, (name, data, own_id)) in events.into_iter().enumerate() {
            let name = one_line(&name);
            let id = own_id.unwrap_or_else(|| format!("epoch-{number}"));
            let mut event = Event::with_data(&data);
            event.set_name(&name).unwrap();
            bytes.extend_from_slice(&Encoded::new(&event, &id).plain());
            bytes.extend_from_slice(b":\n");
            let name = if name.is_empty() { "message".to_owned() } else { name };
            published.push((name, as_read(&data), id));
        }

        let (mut ours, mut theirs) = (Parser::default(), SseParser::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            first.extend(ours.read(piece).into_iter().map(|event| (event.name, event.data, event.id)));
            theirs.feed(piece);
            while let Some(event) = theirs.next_event() {
                second.push((event.event, event.data, event.id));
            }
        }

        prop_assert_eq!(&first, &published);
        prop_assert_eq!(&second, &published);
    }

    #[test]
    fn a_chunk_is_as_long_as_it_says(data in nasty()) {
        let encoded = Encoded::new(&Event::with_data(&data), &"e-1");

        prop_assert_eq!(encoded.chunk(), chunk_if(true, &encoded.plain()));
        let chunk = encoded.chunk();
        let end = chunk.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&chunk[..end]).unwrap(), 16).unwrap();
        prop_assert_eq!(&chunk[end + 2..end + 2 + size], &encoded.plain()[..]);
        prop_assert_eq!(&chunk[end + 2 + size..], b"\r\n");
    }
}
