//! Frames: what is published, what is replied, and who waits for whom.

use std::io::Read;
use std::time::{Duration, Instant};

use outboard::broker;

use crate::support::{Publisher, blocking, roomy, serve, serve_with, until};

/// The replies without the ids, which differ from run to run.
fn outline(replies: &str) -> Vec<String> {
    let without_id = |line: &str| match line.split_once(' ') {
        Some(("ok", rest)) => format!("ok ID {}", rest.split_once(' ').unwrap().1),
        _ => line.to_owned(),
    };
    replies.lines().map(without_id).collect()
}

/// The codes of the errors among the replies, and `ok` for the others.
fn codes(replies: &str) -> Vec<&str> {
    replies
        .lines()
        .map(|line| match line.strip_prefix("error ") {
            Some(error) => error.split(' ').next().unwrap(),
            None => line.split(' ').next().unwrap(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_and_its_receipt_is_the_reply() {
    let served = serve();

    let replies = served.say("channel: job-42\nevent: progress\ndata: 50\n\n").await;

    let words: Vec<_> = replies.trim_end().split(' ').collect();
    let (epoch, sequence) = words[1].split_once('-').unwrap();
    assert_eq!([words[0], sequence, words[2], words[3]], ["ok", "1", "0", "accepted"]);
    assert!(!epoch.is_empty());
    assert_eq!(served.data("job-42"), ["50"]);
    assert_eq!(served.events("job-42")[0].name(), Some("progress"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_frame_has_one_reply_in_order() {
    let served = serve();

    let replies = served
        .say(
            "channel: a\n\ndata: 1\n\nreply: on\n\nclose:\n\ndisconnect: alice\n\nid: own\ndata: 2\n\n\
             data: 3\ndedupe: k\n\ndata: 4\ndedupe: k\n\nchanel: b\n\n: comment\n\ndata: 5\n\n",
        )
        .await;

    assert_eq!(
        outline(&replies),
        [
            "ok",
            "ok ID 0 accepted",
            "ok",
            "ok",
            "ok",
            "ok ID 0 accepted",
            "ok ID 0 accepted",
            "ok ID 0 accepted duplicate",
            r#"error unknown-field unknown field "chanel": did you mean "channel"?"#,
            "ok ID 0 accepted",
        ]
    );
    let ids: Vec<_> =
        replies.lines().filter_map(|line| line.strip_prefix("ok ")?.split(' ').next()).collect();
    assert_eq!(ids[1], "own");
    assert_eq!(ids[2], ids[3], "a duplicate names the first one");
    assert_eq!(served.data("a"), ["1", "2", "3", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_code_and_the_connection_goes_on() {
    let served = serve_with(broker::Settings { max_channels: 2, ..roomy() }, |settings| {
        settings.max_event_size = 1000
    });

    let mut frames =
        b"data: 0\n\nchannel: a\nnonsense: 1\n\nchannel: {a}\n\nchannel: a\ndata: \xff\n\nttl: soon\n\n"
            .to_vec();
    frames.extend(format!("data: {}\n\n", "x".repeat(1000)).bytes());
    frames.extend(b"grant: 60\n\ndata: 1\n\nchannel: b\ndata: 2\n\nchannel: c\ndata: 3\n\nchannel: a\ndata: 4\n\ndata: cut off");
    let replies = served.say(frames).await;

    assert_eq!(
        codes(&replies),
        [
            "no-channel",
            "unknown-field",
            "bad-channel",
            "bad-utf8",
            "bad-value",
            "too-large",
            "forbidden",
            "ok",
            "ok",
            "overloaded",
            "ok",
            "incomplete",
        ]
    );
    assert_eq!(served.data("a"), ["1", "4"]);
    assert_eq!(served.api.metrics.published.value(), 3);
    assert_eq!(served.api.metrics.incomplete.value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_can_be_switched_off_and_on() {
    let served = serve();

    let replies = served
        .say("channel: a\nreply: off\ndata: 1\n\ndata: 2\n\nnonsense\n\nreply: on\n\ndata: 3\n\n")
        .await;

    assert_eq!(outline(&replies), ["ok", "ok ID 0 accepted"]);
    assert_eq!(served.data("a"), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_all_the_channels_of_its_frame_under_one_id() {
    let served = serve();

    let replies =
        served.say("channel: a\nchannel: b\ndata: 1\n\nchannel: c\nchannel: no good\ndata: 2\n\n").await;

    assert_eq!(codes(&replies), ["ok", "bad-channel"]);
    assert_eq!((served.data("a"), served.data("b")), (vec!["1".to_owned()], vec!["1".to_owned()]));
    assert_eq!(served.data("c"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_frames_cut_at_any_byte_exactly_the_complete_ones_are_published() {
    let frames = ["data: one\n\n", "event: e\r\ndata: two\r\n\r\n", "id: 3\rdata: three\rdata: !\r\r"];
    let stream = frames.concat();
    let served = serve();

    for cut in 0..=stream.len() {
        let channel = format!("cut-{cut}");
        let replies =
            served.say([b"channel: ", channel.as_bytes(), b"\n\n", &stream.as_bytes()[..cut]].concat()).await;

        let complete = [11, 33, stream.len()].into_iter().filter(|&end| end <= cut).count();
        assert_eq!(served.data(&channel), ["one", "two", "three\n!"][..complete], "cut at {cut}");
        let cut_within = ![0, 11, 33, 34, stream.len()].contains(&cut);
        assert_eq!(replies.contains("error incomplete "), cut_within, "cut at {cut}");
        assert_eq!(replies.lines().count(), 1 + complete + usize::from(cut_within));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_of_ten_thousand_publishers_that_write_and_leave() {
    const PUBLISHERS: usize = 10_000;
    let mut served = serve();

    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = served.path.clone();
            tokio::task::spawn_blocking(move || {
                for n in (writer..PUBLISHERS).step_by(4) {
                    Publisher::connect(&path)
                        .write(format!("channel: all\ndata: {n}\n\ndata: again {n}\n\n"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    served.drain().await;

    let mut data = served.data("all");
    assert_eq!(data.len(), 2 * PUBLISHERS);
    data.sort_unstable();
    data.dedup();
    assert_eq!(data.len(), 2 * PUBLISHERS);
    assert!(!served.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_publishers_that_never_read_lose_nothing_and_hold_up_nobody() {
    const SILENT: usize = 1000;
    const TALKATIVE: usize = 3;
    const EACH: usize = 20_000;
    let mut served = serve();

    let path = served.path.clone();
    let (silent, talkative) = blocking(move || {
        let silent: Vec<_> = (0..SILENT)
            .map(|n| {
                let mut publisher = Publisher::connect(&path);
                publisher.write(format!("channel: silent\ndata: {n}\n\nnonsense\n\n"));
                publisher
            })
            .collect();
        // More replies than the system and we hold together.
        let talkative: Vec<_> = (0..TALKATIVE)
            .map(|_| {
                let mut publisher = Publisher::connect(&path);
                publisher.write("channel: talkative\n\n");
                publisher.write("data: x\n\n".repeat(EACH));
                publisher
            })
            .collect();
        (silent, talkative)
    })
    .await;

    let replies = served.say("channel: another\ndata: 1\n\n").await;
    assert_eq!(codes(&replies), ["ok"]);
    until("all events are there", async || {
        served.data("silent").len() == SILENT && served.data("talkative").len() == TALKATIVE * EACH
    })
    .await;
    drop(silent);

    // Who begins to read at last gets whole lines, as many as were kept.
    let held = blocking(move || {
        talkative
            .into_iter()
            .map(|mut publisher| {
                publisher.end();
                publisher.rest()
            })
            .collect::<Vec<_>>()
    })
    .await;
    for replies in held {
        assert!(replies.ends_with(" accepted\n"));
        assert!(replies.len() > 256 << 10, "{} bytes of replies", replies.len());
        assert!(replies.lines().count() < EACH);
    }
    served.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_at_once_keep_their_own_order() {
    const WRITERS: usize = 8;
    const EACH: usize = 2000;
    let served = serve();

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let path = served.path.clone();
            tokio::task::spawn_blocking(move || {
                let mut publisher = Publisher::connect(&path);
                let frames: String = (0..EACH).map(|n| format!("data: {writer} {n}\n\n")).collect();
                publisher.write("channel: all\n\n");
                assert_eq!(publisher.line(), "ok\n");
                let reader = {
                    let mut replies = Publisher(publisher.0.try_clone().unwrap());
                    std::thread::spawn(move || replies.rest())
                };
                // Cuts that have nothing to do with the frames.
                for chunk in frames.as_bytes().chunks(61 + writer) {
                    publisher.write(chunk);
                }
                publisher.end();
                reader.join().unwrap()
            })
        })
        .collect();
    for writer in writers {
        let replies = writer.await.unwrap();
        let sequences: Vec<u64> =
            replies.lines().map(|line| line.split([' ', '-']).nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(sequences.len(), EACH);
        assert!(sequences.is_sorted(), "receipts come in the order written");
    }

    let data = served.data("all");
    assert_eq!(data.len(), WRITERS * EACH);
    for writer in 0..WRITERS {
        let own = data.iter().filter_map(|data| data.strip_prefix(&format!("{writer} ")));
        assert!(own.map(|n| n.parse::<usize>().unwrap()).eq(0..EACH), "writer {writer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_is_passed_over_and_the_next_one_is_published() {
    let served = serve();

    let mut frames = b"channel: a\ndata: ".to_vec();
    frames.resize(16 << 20, b'x');
    frames.extend(b"\nchannel: b\n\ndata: behind it\n\n");
    let replies = served.say(frames).await;

    assert_eq!(codes(&replies), ["too-large", "ok"]);
    assert_eq!(
        (served.data("a"), served.data("b")),
        (vec!["behind it".to_owned()], vec!["behind it".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_publishes_what_was_sent_before_it_and_ends() {
    let mut served = serve();
    let (mut idle, mut waiting) = (served.connect(), served.connect());
    idle.write("channel: a\ndata: 1\n\n");
    assert!(idle.line().starts_with("ok "));
    idle.write("data: 2\n\ndata: cut");
    waiting.write("cha");

    served.drain().await;

    assert_eq!(served.data("a"), ["1", "2"]);
    let (idle, waiting) = blocking(move || (idle.rest(), waiting.rest())).await;
    assert_eq!(codes(&idle), ["ok", "incomplete"]);
    assert_eq!(codes(&waiting), ["incomplete"]);
    assert!(!served.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_never_reads_does_not_hold_up_the_end() {
    const EVENTS: usize = 20_000;
    let mut served = serve();
    let mut silent = served.connect();
    let silent = blocking(move || {
        silent.write("channel: a\n\n");
        silent.write("data: x\n\n".repeat(EVENTS));
        silent
    })
    .await;

    let begun = Instant::now();
    served.drain().await;

    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(served.data("a").len(), EVENTS);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_publishers_than_there_is_room_for_wait_their_turn() {
    let served = serve_with(roomy(), |settings| settings.max_publishers = 2);
    let (mut first, second) = (served.connect(), served.connect());
    first.write("channel: a\ndata: 1\n\n");
    assert!(first.line().starts_with("ok "));

    let mut third = served.connect();
    third.write("channel: a\ndata: 3\n\n");
    drop(second);

    assert!(blocking(move || third.line()).await.starts_with("ok "));
    assert_eq!(served.data("a"), ["1", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_leaves_without_a_word_is_no_event_and_no_error() {
    let mut served = serve();

    drop(served.connect());
    let mut quiet = served.connect();
    quiet.end();
    let mut nothing = Vec::new();
    quiet.0.read_to_end(&mut nothing).unwrap();

    served.drain().await;
    assert_eq!(nothing, b"");
    assert_eq!((served.api.metrics.refused.value(), served.api.metrics.incomplete.value()), (0, 0));
}
