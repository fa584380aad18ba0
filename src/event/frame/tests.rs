use proptest::prelude::*;

use super::*;

const LIMIT: usize = 256 << 10;

/// The results of a connection that carried `bytes`, and of its end.
fn decode(bytes: &[u8]) -> (Vec<Result<Frame, FrameError>>, Result<(), FrameError>) {
    decode_cut([bytes], LIMIT)
}

fn decode_cut<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    limit: usize,
) -> (Vec<Result<Frame, FrameError>>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(limit);
    let mut results = Vec::new();
    for mut read in reads {
        while let Some(result) = decoder.decode(&mut read) {
            results.push(result);
        }
        assert!(read.is_empty());
    }
    (results, decoder.finish())
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (results, end) = decode(bytes);
    assert_eq!(end, Ok(()));
    results.into_iter().map(|result| result.expect("a frame")).collect()
}

/// `CODE TEXT` of the one error in `bytes`.
fn error(bytes: &[u8]) -> String {
    let (mut results, _) = decode(bytes);
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0).expect_err("an error").to_string()
}

/// Each result in short: the channels and data of a frame, or the code of an error.
fn outline(bytes: &[u8]) -> Vec<String> {
    let short = |frame: Frame| {
        let channels: Vec<_> = frame.channels.iter().map(Channel::as_str).collect();
        let data = frame.event.as_ref().and_then(Event::data).unwrap_or("-");
        format!("{} <- {data}", channels.join("+"))
    };
    decode(bytes)
        .0
        .into_iter()
        .map(|result| result.map_or_else(|error| error.code.as_str().to_owned(), short))
        .collect()
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

#[test]
fn the_first_example_of_the_protocol_is_one_event() {
    let frames = frames(b"channel: job-42\ndata: 50\n\n");

    let event = Some(Event::with_data("50"));
    assert_eq!(frames, [Frame { channels: vec![channel("job-42")], event, ..Frame::default() }]);
}

#[test]
fn a_frame_carries_what_its_fields_say() {
    let frames = frames(
        b"channel: a\nevent: tick\nid: 7\nretry: 1500\ndata: x\ndata:  y\ndata\nttl: 60\ndedupe: k 1\n\
          close: please\ndisconnect: alice\ndisconnect: bob\nreply: off\n: ignored\n\n",
    );

    let mut event = Event::with_data("x\n y\n");
    event.set_name("tick").unwrap();
    event.set_id("7").unwrap();
    event.set_retry(1500);
    let expected = Frame {
        channels: vec![channel("a")],
        event: Some(event),
        close: true,
        ttl: Some(Duration::from_secs(60)),
        dedupe: Some("k 1".into()),
        disconnect: vec![Subject::parse("alice").unwrap(), Subject::parse("bob").unwrap()],
        reply: Some(false),
    };
    assert_eq!(frames, [expected]);
}

#[test]
fn lf_crlf_and_cr_end_lines_alike() {
    let expected = frames(b"channel: a\ndata: 1\ndata: 2\n\ndata: 3\n\n");

    assert_eq!(expected.len(), 2);
    assert_eq!(frames(b"channel: a\r\ndata: 1\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n"), expected);
    assert_eq!(frames(b"channel: a\rdata: 1\rdata: 2\r\rdata: 3\r\r"), expected);
    assert_eq!(frames(b"channel: a\rdata: 1\r\ndata: 2\n\rdata: 3\r\r\n"), expected);
}

#[test]
fn a_cr_ends_its_line_at_once() {
    let mut decoder = Decoder::new(LIMIT);

    assert!(decoder.decode(&mut &b"channel: a\r\ndata: 1\r\n\r"[..]).is_some());
    assert!(decoder.decode(&mut &b"\n"[..]).is_none());
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn a_byte_order_mark_is_ignored_where_the_connection_begins_and_nowhere_else() {
    assert_eq!(outline(b"\xef\xbb\xbfchannel: a\ndata: 1\n\n"), ["a <- 1"]);
    assert_eq!(outline(b"\xef\xbb\xbf: only a comment\n\n"), [""; 0]);
    assert_eq!(outline(b"\xef\xbb\xbf\xef\xbb\xbfchannel: a\n\n"), ["unknown-field"]);
    assert_eq!(outline(b"channel: a\n\n\xef\xbb\xbfdata: 1\n\n"), ["a <- -", "unknown-field"]);
}

#[test]
fn comments_and_blank_lines_are_not_frames() {
    assert_eq!(frames(b"\n\r\n\r: hello\n\n:\n\n\n"), []);
    assert_eq!(outline(b": a\nchannel: a\n: b\ndata: 1\n:c\n\n"), ["a <- 1"]);
    assert_eq!(outline(b"channel: a\n: \xff not UTF-8\ndata: 1\n\n"), ["a <- 1"]);
}

#[test]
fn a_comment_is_of_any_length() {
    let bytes = [b"channel: a\n:".as_slice(), &[b'x'; LIMIT * 3], b"\ndata: 1\n\n"].concat();

    assert_eq!(outline(&bytes), ["a <- 1"]);
}

#[test]
fn a_channel_holds_until_another_is_named() {
    let outline = outline(
        b"channel: a\n\ndata: 1\n\ndata: 2\nchannel: b\nchannel: c\nchannel: b\n\ndata: 3\n\nchannel: d\ndata: 4\n\n",
    );

    assert_eq!(outline, ["a <- -", "a <- 1", "b+c <- 2", "b+c <- 3", "d <- 4"]);
}

#[test]
fn after_a_channel_that_was_refused_nothing_goes_to_the_one_before() {
    assert_eq!(
        outline(b"channel: a\n\nchannel: b c\ndata: 1\n\ndata: 2\n\nchannel: d\ndata: 3\n\n"),
        ["a <- -", "bad-channel", "no-channel", "d <- 3"]
    );
    assert_eq!(
        outline(b"channel: a\n\nchannel: b\nchannel: \xff\n\ndata: 2\n\n"),
        ["a <- -", "bad-utf8", "no-channel"]
    );
    assert_eq!(
        outline(b"channel: a\n\ntypo: 1\nchannel:\nchannel: b\n\ndata: 2\n\n"),
        ["a <- -", "unknown-field", "no-channel"]
    );
}

#[test]
fn a_frame_refused_for_another_reason_still_names_its_channel() {
    assert_eq!(
        outline(b"channel: a\n\nttl: soon\nchannel: b\ndata: 1\n\ndata: 2\n\n"),
        ["a <- -", "bad-value", "b <- 2"]
    );
}

#[test]
fn one_frame_names_at_most_64_channels() {
    let mut bytes: Vec<u8> = (0..64).flat_map(|n| format!("channel: c{n}\n").into_bytes()).collect();
    bytes.extend(b"channel: c0\n\n");
    assert_eq!(frames(&bytes)[0].channels.len(), 64);

    bytes.truncate(bytes.len() - 1);
    bytes.extend(b"channel: c64\n\ndata: 1\n\n");
    assert_eq!(outline(&bytes), ["bad-channel", "no-channel"]);
}

#[test]
fn data_may_be_empty_but_an_event_name_needs_data() {
    assert_eq!(outline(b"channel: a\nevent: x\ndata:\n\n"), ["a <- "]);
    assert_eq!(outline(b"channel: a\ndata\ndata\n\n"), ["a <- \n"]);
    assert_eq!(
        error(b"channel: a\nevent: x\n\n"),
        "bad-value `event`: a browser ignores an event without data: add a `data:` line, it may be empty"
    );
}

#[test]
fn an_id_or_a_retry_alone_is_an_event_without_data() {
    let frames = frames(b"channel: a\nid: 7\n\nretry: 10\n\nid:\n\n");

    let events: Vec<_> = frames.into_iter().map(|frame| frame.event).collect();
    let event = |id: &str, retry: Option<u64>| {
        let mut event = Event::default();
        event.set_id(id).unwrap();
        retry.into_iter().for_each(|retry| event.set_retry(retry));
        Some(event)
    };
    assert_eq!(events, [event("7", None), event("", Some(10)), None]);
}

#[test]
fn only_what_publishes_needs_a_channel() {
    let text = "no-channel no channel is named: write `channel: NAME` in this frame or in one before it";

    for bytes in ["data: 1\n\n", "close:\n\n", "id: 1\n\n", "retry: 1\n\n"] {
        assert_eq!(error(bytes.as_bytes()), text);
    }
    assert_eq!(frames(b"disconnect: alice\n\nreply: on\n\nchannel: a\n\n").len(), 3);
}

#[test]
fn an_unknown_field_is_named_and_the_one_that_was_meant() {
    assert_eq!(
        error(b"chanel: a\ndata: 1\n\n"),
        r#"unknown-field unknown field "chanel": did you mean "channel"?"#
    );
    assert_eq!(
        error(b"channel: a\n data: 1\n\n"),
        r#"unknown-field unknown field " data": write "data" without blanks around it, or `lenient: on` before it"#
    );
}

#[test]
fn what_browsers_skip_is_left_out_and_counted_once_lenience_is_asked_for() {
    let script = "lenient: on\nchannel: a\n\n    data: 1\n\tdata:  two\n    : a comment\n    \n\
                  X-Old: 1\nretry: 3000ms\ndata: 3\n\nM\u{fc}ll: 1\ndata: 4\n\n";
    let mut decoder = Decoder::new(LIMIT);
    let mut bytes = script.as_bytes();
    let mut data = Vec::new();

    while let Some(result) = decoder.decode(&mut bytes) {
        let event = result.unwrap().event;
        data.extend(event.and_then(|event| event.data().map(str::to_owned)));
    }

    assert_eq!(data, ["1\n two", "3", "4"]);
    assert_eq!(decoder.take_left_out(), 3);
    assert_eq!(decoder.take_left_out(), 0);
}

#[test]
fn lenience_ends_where_it_is_taken_back_and_never_covers_a_slip() {
    assert_eq!(
        outline(
            b"lenient: on\nchannel: a\nfoo: 1\n\nchanel: b\ndata: 1\n\nlenient: off\n\nfoo: 1\ndata: 2\n\n"
        ),
        ["a <- -", "unknown-field", "a <- -", "unknown-field"]
    );
    assert_eq!(
        outline(b"foo: 1\nlenient: on\n\nfoo: 1\nchannel: a\ndata: 2\n\n"),
        ["unknown-field", "a <- 2"]
    );
}

#[test]
fn an_id_may_have_blanks_inside() {
    let frames = frames(b"channel: a\nid: 2010-06-08 12:00:00\ndata: x\n\n");

    assert_eq!(frames[0].event.as_ref().unwrap().id(), Some("2010-06-08 12:00:00"));
}

#[test]
fn nobody_publishes_to_what_is_outboards_own() {
    assert_eq!(
        error(b"channel: @share/x\ndata: 1\n\n"),
        "forbidden a channel whose name begins with `@` is outboard's own: choose another name"
    );
    assert_eq!(
        outline(b"channel: a\n\nchannel: @b\ndata: 1\n\ndata: 2\n\n"),
        ["a <- -", "forbidden", "no-channel"]
    );
}

#[test]
fn a_value_that_its_field_cannot_have_is_refused() {
    for (line, text) in [
        ("ttl: 1.5", "`ttl`: \"1.5\" is not a number of seconds from 0 to 4294967295"),
        ("ttl:", "`ttl`: \"\" is not a number of seconds from 0 to 4294967295"),
        ("retry: +5", "`retry`: \"+5\" is not a number of milliseconds from 0 to 4294967295"),
        ("retry: 4294967296", "`retry`: \"4294967296\" is not a number of milliseconds from 0 to 4294967295"),
        ("dedupe:", "`dedupe`: a key has 1 to 255 bytes and no control characters"),
        ("dedupe: a\tb", "`dedupe`: a key has 1 to 255 bytes and no control characters"),
        ("reply: yes", "`reply`: write `on` or `off`, not \"yes\""),
        ("disconnect:", "`disconnect`: a subject is 1 to 255 bytes without control characters"),
        ("event: a\0", "`event`: an event name cannot contain CR, LF or NUL"),
        ("id: a\tb", "`id`: an id consists of printable ASCII: '\\t' is not allowed in it"),
        ("id:  7", "`id`: an id does not begin or end with a blank: write it without"),
        (
            "retry: 3000ms",
            "`retry`: \"3000ms\" is not a number of milliseconds from 0 to 4294967295: \
             write `retry: 3000`, or `lenient: on` before it",
        ),
        ("lenient: yes", "`lenient`: write `on` or `off`, not \"yes\""),
    ] {
        let frame = format!("channel: a\ndata: 1\n{line}\n\n");
        assert_eq!(error(frame.as_bytes()), format!("bad-value {text}"));
    }
    let long_key = format!("channel: a\ndata: 1\ndedupe: {}\n\n", "k".repeat(256));
    assert!(error(long_key.as_bytes()).starts_with("bad-value `dedupe`"));
}

#[test]
fn what_counts_for_an_event_needs_one() {
    assert_eq!(
        error(b"channel: a\nttl: 5\n\n"),
        "bad-value `ttl`: it counts for the event of its own frame, and this one has none: add a `data:` line"
    );
    assert_eq!(frames(b"channel: a\nclose:\ndedupe: k\n\n").len(), 1);
}

#[test]
fn grants_are_refused_as_not_available() {
    assert!(error(b"channel: a\ngrant: 60\n\n").starts_with("forbidden `grant` is not available"));
}

#[test]
fn a_frame_gives_one_error_whatever_else_is_wrong_with_it() {
    assert_eq!(
        outline(b"nonsense\nmore: nonsense\nttl: x\n\xff\nchannel: a\n\ndata: 1\n\n"),
        ["unknown-field", "a <- 1"]
    );
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let frame = |limit| decode_cut([b"channel: a\r\n: comment\r\ndata: 12345\r\n\r\n".as_slice()], limit).0;

    assert!(frame(23)[0].is_ok());
    assert_eq!(frame(22)[0].as_ref().unwrap_err().code, Code::TooLarge);
}

#[test]
fn a_frame_that_is_too_large_is_passed_over_and_its_channel_is_still_read() {
    for filler in ["data: x\n".repeat(LIMIT), format!("data: {}\n", "x".repeat(LIMIT * 4))] {
        let bytes = format!("channel: a\n\n{filler}channel: b\n\ndata: 2\n\n");

        assert_eq!(outline(bytes.as_bytes()), ["a <- -", "too-large", "b <- 2"]);
    }
}

#[test]
fn an_endless_line_is_not_held() {
    let mut decoder = Decoder::new(LIMIT);

    for _ in 0..1000 {
        assert!(decoder.decode(&mut [b'x'; 4096].as_slice()).is_none());
    }

    assert!(decoder.held() < 4096, "{} bytes are held", decoder.held());
}

#[test]
fn a_frame_cut_off_by_the_end_of_the_connection_is_incomplete() {
    let end = |bytes: &[u8]| decode(bytes).1.err().map(|error| error.to_string());

    let incomplete =
        Some("incomplete the connection ended before the blank line that ends a frame".to_owned());
    assert_eq!(end(b"channel: a\ndata: 1\n"), incomplete);
    assert_eq!(end(b"channel: a\n\nda"), incomplete);
    assert_eq!(end(b"\xef\xbb"), incomplete);
    assert_eq!(end(b"channel: a\n\n: bye"), None);
    assert_eq!(end(b"\xef\xbb\xbf"), None);
    assert_eq!(
        end(b"chanel: a\n").unwrap(),
        r#"unknown-field unknown field "chanel": did you mean "channel"?"#
    );
}

#[test]
fn of_a_stream_cut_at_any_byte_exactly_the_complete_frames_appear() {
    let parts =
        ["channel: a\nevent: e\ndata: 1\n\n", "data: 2\r\ndata: zwei\r\n\r\n", "id: 3\ndata: \u{4e09}\n\n"];
    let stream = parts.concat();
    let whole = frames(stream.as_bytes());
    assert_eq!(whole.len(), 3);

    for cut in 0..=stream.len() {
        let (results, end) = decode(&stream.as_bytes()[..cut]);

        // The second frame is complete with the CR of its blank line.
        let complete = [29, 51, stream.len()].iter().filter(|&&needed| needed <= cut).count();
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, whole[..complete], "cut at {cut}");
        assert_eq!(end.is_ok(), [0, 29, 51, 52, stream.len()].contains(&cut), "cut at {cut}");
    }
}

/// Connections made of what people write, of what they get wrong, and of noise.
fn connection() -> impl Strategy<Value = Vec<u8>> {
    let line_end = prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 2 => Just("\r"), 1 => Just("")];
    let field = prop_oneof![
        8 => Just("data"), 4 => Just("channel"), 2 => Just("event"), 2 => Just("id"), 1 => Just("retry"),
        1 => Just("ttl"), 1 => Just("dedupe"), 1 => Just("close"), 1 => Just("disconnect"), 1 => Just("reply"),
        1 => Just("grant"), 2 => Just(""), 1 => Just("Data"), 3 => Just("lenient"), 1 => Just("foo"),
        1 => Just("\t: "), 1 => Just(" data"), 1 => Just("\u{feff}data"),
    ];
    let value = prop_oneof![
        6 => "[a-z0-9]{0,3}".prop_map(String::into_bytes),
        2 => "[ -~]{0,12}".prop_map(String::into_bytes),
        1 => Just(b"on".to_vec()), 1 => Just(b"off".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
        1 => (250usize..600).prop_map(|length| vec![b'x'; length]),
    ];
    let colon = prop_oneof![6 => Just(": "), 2 => Just(":"), 1 => Just("")];
    let line = (field, colon, value, line_end.clone()).prop_map(|(name, colon, value, end)| {
        [name.as_bytes(), colon.as_bytes(), &value, end.as_bytes()].concat()
    });
    let piece = prop_oneof![
        12 => line,
        6 => line_end.prop_map(|end| end.as_bytes().repeat(2)),
        1 => proptest::collection::vec(any::<u8>(), 0..16),
    ];
    let begin =
        prop_oneof![4 => Just(&b""[..]), 1 => Just(&b"\xef\xbb\xbf"[..]), 1 => Just(&b"\xef\xbb"[..])];
    (begin, proptest::collection::vec(piece, 0..40))
        .prop_map(|(begin, pieces)| [begin.to_vec(), pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_in_any_cut_read_as_the_model_reads_the_whole(
        bytes in connection(),
        cuts in proptest::collection::vec(1usize..40, 1..20),
        limit in prop_oneof![Just(LIMIT), 0usize..700],
    ) {
        let mut rest = bytes.as_slice();
        let mut sizes = cuts.iter().cycle();
        let reads = std::iter::from_fn(|| {
            let size = (*sizes.next()?).min(rest.len());
            let (read, behind) = rest.split_at(size);
            rest = behind;
            (!read.is_empty()).then_some(read)
        });

        let (cut, cut_end) = decode_cut(reads, limit);
        let (whole, whole_end) = decode_cut([bytes.as_slice()], limit);
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(&cut_end, &whole_end);

        let (model, model_end) = super::model::read(&bytes, limit);
        let codes: Vec<_> = whole.into_iter().map(|result| result.map_err(|error| error.code)).collect();
        prop_assert_eq!(codes, model);
        prop_assert_eq!(whole_end.err().map(|error| error.code), model_end);
    }

    #[test]
    fn no_more_is_held_than_about_the_limit(bytes in connection(), limit in 0usize..700) {
        let mut decoder = Decoder::new(limit);

        for byte in bytes {
            let _ = decoder.decode(&mut [byte].as_slice());

            // The data so far and the line last read, each with what a growing buffer reserves, and
            // the beginning of a line that is too long.
            prop_assert!(decoder.held() <= 4 * limit + 1100, "{} bytes are held", decoder.held());
        }
    }

    #[test]
    fn an_error_is_one_line_of_printable_text(bytes in connection()) {
        for error in decode(&bytes).0.into_iter().filter_map(Result::err) {
            prop_assert!(!error.text.contains(char::is_control));
            prop_assert!(error.text.len() < 400);
        }
    }
}
