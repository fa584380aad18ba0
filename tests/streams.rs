//! What a client gets (PROTOCOL 6, point by point), read as bytes from the real program.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::net::TcpListener;
use std::thread;

use support::{Backend, Outboard, Reply, Request};

const NEWS: &str =
    "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"none\"\nreplay = \"live\"\n";

/// An outboard with a route `/news` on the channel `news`, and more configuration.
fn with_news(more: &str) -> (Backend, Outboard) {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(NEWS).with_config(more).start();
    (backend, outboard)
}

// ---- 6.1 the head ----------------------------------------------------------------------------

#[test]
fn the_head_and_the_first_bytes_come_before_any_event() {
    let (_backend, outboard) = with_news("");

    let mut stream = outboard.subscribe("/news");

    assert_eq!(stream.status(), 200);
    for (name, value) in [
        ("content-type", Some("text/event-stream; charset=utf-8")),
        ("cache-control", Some("no-cache, no-store, no-transform")),
        ("x-accel-buffering", Some("no")),
        ("x-content-type-options", Some("nosniff")),
        ("content-length", None),
        ("content-encoding", None),
    ] {
        assert_eq!(stream.header(name), value, "{name}");
    }
    assert!(!stream.is_close_delimited(), "HTTP/1.1 gets chunks");
    stream.read_until("retry: ");
    stream.read_until_line_end();
    // No blank line, or clients that count blocks rather than events would see an empty one.
    let hint = stream.retry().unwrap();
    assert_eq!(stream.text(), format!(":\nretry: {hint}\n"));
    assert!((1500..=4500).contains(&hint), "3 s, times a half to one and a half, not {hint}");
}

#[test]
fn an_http_1_0_client_gets_a_stream_that_ends_with_the_connection() {
    let (_backend, outboard) = with_news("");
    let request = Request::new("GET", "/news", "HTTP/1.0").header("Accept", "text/event-stream");

    let mut stream = outboard.open(&request).into_stream();

    assert!(stream.is_close_delimited());
    outboard.publish("news", "one");
    assert_eq!(stream.data(), "one");
    outboard.frames("channel: news\nclose:\n\n");
    assert_eq!(stream.next_or_end(), None);
}

#[test]
fn nothing_published_can_add_a_field_or_an_event() {
    let (_backend, outboard) = with_news("");
    let mut stream = outboard.subscribe("/news");
    let nasty = "one\r\nevent: fake\rid: fake\n\ndata: fake\n: comment\n";

    let body = serde_json::json!({ "data": nasty, "event": "real" }).to_string();
    let request =
        Request::new("POST", "/channels/news", "HTTP/1.1").header("Content-Type", "application/json");
    let answer = request.body(body).send_to_socket(&outboard.socket());
    outboard.publish("news", "end");

    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = stream.next();
    assert_eq!(event.name, "real");
    assert_eq!(event.data, "one\nevent: fake\nid: fake\n\ndata: fake\n: comment\n");
    assert_eq!(stream.data(), "end");
}

#[test]
fn empty_data_a_leading_blank_and_a_long_line_arrive_as_they_are() {
    let (_backend, outboard) = with_news("");
    let mut stream = outboard.subscribe("/news");
    let long = "x".repeat(200_000);

    for data in ["  two blanks", ":colon", "\ttab", &long, "\n", "é😀"] {
        outboard.publish("news", data);
        assert_eq!(stream.data(), data);
    }
}

// ---- 6.3 and 6.4 ids and resuming ------------------------------------------------------------

#[test]
fn a_client_resumes_from_our_id_and_from_the_publisher_s() {
    let (_backend, outboard) = with_news("");
    let first = outboard.publish("news", "one");
    let own = Reply::parse(&outboard.frames("channel: news\nid: own-2\ndata: two\n\n")[0]);
    outboard.publish("news", "three");
    assert_eq!(own.id, "own-2");

    let mut by_ours = outboard.resume("/news", &first.id);
    let mut by_theirs = outboard.resume("/news", "own-2");

    let two = by_ours.next();
    assert_eq!((two.data.as_str(), two.id.as_str()), ("two", "own-2"));
    assert_eq!(by_ours.data(), "three");
    assert_eq!(by_theirs.data(), "three");
    outboard.publish("news", "four");
    assert_eq!(by_ours.data(), "four");
    assert_eq!(by_theirs.data(), "four");
}

#[test]
fn the_last_event_id_may_come_in_the_query_and_the_header_wins() {
    let (_backend, outboard) = with_news("");
    let [one, two] = ["one", "two"].map(|data| outboard.publish("news", data));
    outboard.publish("news", "three");

    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let path = format!("/news?{name}={}", one.id);
        assert_eq!(outboard.subscribe(&path).data(), "two", "{name}");
        assert_eq!(outboard.resume(&path, &two.id).data(), "three", "{name}");
    }
}

#[test]
fn one_id_resumes_all_channels_of_a_stream_in_one_order() {
    let route = "[[event_route]]\npath = \"/both\"\nchannels = [\"a\", \"b\"]\nauth = \"none\"\n";
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let start = outboard.publish("a", "0");
    for number in 1..=20 {
        let channel = if number % 3 == 0 { "b" } else { "a" };
        outboard.publish(channel, &number.to_string());
        outboard.publish("elsewhere", "not for this stream");
    }

    let mut stream = outboard.resume("/both", &start.id);

    for number in 1..=20 {
        assert_eq!(stream.data(), number.to_string());
    }
}

#[test]
fn an_event_for_two_channels_of_a_stream_arrives_once_and_counts_the_client_once() {
    let route = "[[event_route]]\npath = \"/both\"\nchannels = [\"a\", \"b\"]\nauth = \"none\"\n";
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let mut stream = outboard.subscribe("/both");

    let reply = Reply::parse(&outboard.frames("channel: a\nchannel: b\ndata: both\n\n")[0]);
    outboard.publish("a", "next");

    assert_eq!(reply.receivers, 1);
    assert_eq!(stream.data(), "both");
    assert_eq!(stream.data(), "next");
}

// ---- 6.5 gaps --------------------------------------------------------------------------------

/// The gap that a client with this id is told of, as JSON.
fn gap(outboard: &Outboard, last_event_id: &str) -> serde_json::Value {
    let event = outboard.resume("/news", last_event_id).next();
    assert_eq!(event.name, "outboard.gap", "{event:?}");
    let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(gap["requested"], last_event_id);
    assert!(gap["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{gap}");
    gap
}

#[test]
fn an_id_from_another_log_or_from_nowhere_is_a_gap() {
    let (_backend, outboard) = with_news("");
    let only = outboard.publish("news", "one");

    for id in ["abcdefghijkl-7", "what is this", "17"] {
        let gap = gap(&outboard, id);
        assert_eq!(
            (gap["oldest"].as_str(), gap["newest"].as_str()),
            (Some(&*only.id), Some(&*only.id)),
            "{id}"
        );
    }
}

#[test]
fn a_trimmed_history_is_a_gap_and_then_what_is_left() {
    let (_backend, outboard) = with_news("[history]\nmax_events = 3\n");
    let first = outboard.publish("news", "0");
    for number in 1..=9 {
        outboard.publish("news", &number.to_string());
    }
    gap(&outboard, &first.id);

    let mut stream = outboard.resume("/news", &first.id);
    let seen: Vec<_> = (0..4).map(|_| stream.data()).collect();

    assert_eq!(seen[1..], ["7", "8", "9"]);
}

#[test]
fn an_id_still_held_is_no_gap_even_at_the_edge() {
    let (_backend, outboard) = with_news("[history]\nmax_events = 3\n");
    let replies: Vec<_> = (0..5).map(|number| outboard.publish("news", &number.to_string())).collect();

    // 1 has been trimmed, but everything after it is held.
    let mut stream = outboard.resume("/news", &replies[1].id);

    assert_eq!(stream.data(), "2");
}

// ---- 6.6 closed channels ---------------------------------------------------------------------

#[test]
fn a_closed_channel_ends_the_stream_after_the_last_event_and_then_says_204() {
    let (_backend, outboard) = with_news("");
    let before = outboard.publish("news", "before");
    let mut stream = outboard.subscribe("/news");

    outboard.frames("channel: news\ndata: last\nclose:\n\n");

    let last = stream.next();
    assert_eq!(last.data, "last");
    assert_eq!(stream.next_or_end(), None);
    assert_eq!(outboard.resume("/news", &last.id).status(), 204);
    let mut late = outboard.resume("/news", &before.id);
    assert_eq!(late.status(), 200, "who has not seen all gets the rest first");
    assert_eq!(late.rest().pop().unwrap().data, "last");
}

#[test]
fn a_later_publish_opens_a_closed_channel_again() {
    let (_backend, outboard) = with_news("");
    let last = outboard.publish("news", "last");
    outboard.frames("channel: news\nclose:\n\nclose:\n\n");
    assert_eq!(outboard.resume("/news", &last.id).status(), 204);

    outboard.publish("news", "again");

    assert_eq!(outboard.resume("/news", &last.id).data(), "again");
}

// ---- 6.8 silence and slow clients ------------------------------------------------------------

#[test]
fn silence_is_broken_by_a_comment_of_one_line() {
    let (_backend, outboard) = with_news("[stream]\nkeep_alive = \"1s\"\n");
    let mut stream = outboard.subscribe("/news");
    stream.read_until("retry: ");
    stream.read_until_line_end();
    let opening = stream.text();

    stream.read_until(&format!("{opening}:\n:\n"));

    outboard.publish("news", "still here");
    assert_eq!(stream.data(), "still here");
}

#[test]
fn everyone_in_a_crowd_hears_that_the_stream_still_lives() {
    let (_backend, outboard) = with_news("[stream]\nkeep_alive = \"1s\"\n");
    let mut crowd: Vec<_> = (0..200).map(|_| outboard.subscribe("/news")).collect();

    for stream in &mut crowd {
        stream.read_until("retry: ");
        stream.read_until_line_end();
        let opening = stream.text();
        stream.read_until(&format!("{opening}:\n:\n"));
    }

    assert_eq!(outboard.publish("news", "still here").receivers, 200);
    crowd.iter_mut().for_each(|stream| assert_eq!(stream.data(), "still here"));
}

#[test]
fn a_stream_whose_events_are_held_back_hears_that_it_still_lives() {
    let rule = "[[channel]]\nmatch = \"news\"\nkeep = \"latest\"\nmax_rate = \"1/h\"\n";
    let (_backend, outboard) = with_news(&format!("{rule}[stream]\nkeep_alive = \"1s\"\n"));
    let mut stream = outboard.subscribe("/news");
    outboard.publish("news", "first");
    assert_eq!(stream.data(), "first");
    let before = stream.text();

    let reader = thread::spawn(move || stream.read_until(&format!("{before}:\n")));
    while !reader.is_finished() {
        outboard.publish("news", "held back");
    }

    reader.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_harms_nobody() {
    let (_backend, outboard) = with_news("[history]\nmax_events = 20\n[stream]\nstall = \"5m\"\n");
    let mut idle = outboard.subscribe("/news");
    let mut reader = outboard.subscribe("/news");
    let event = "x".repeat(100_000);

    // Until it has fallen off the end of the history, the publisher counts two.
    let mut published = 0;
    while outboard.publish("news", &format!("{published} {event}")).receivers == 2 {
        assert_eq!(reader.data().split(' ').next(), Some(published.to_string().as_str()));
        published += 1;
        assert!(published < 2000, "a client that never reads is kept for ever");
    }

    // Whole events only, in order, up to where it was cut off.
    let mut got = 0;
    while let Some(event) = idle.next_until_cut() {
        assert_eq!(event.data.split(' ').next(), Some(got.to_string().as_str()));
        got += 1;
    }
    assert!(got < published, "it did not get everything");
}

// ---- 6.9 passing faults ----------------------------------------------------------------------

#[test]
fn a_backend_that_is_down_does_not_end_an_eventsource() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let outboard = Outboard::behind(url.as_str()).start();

    let page = outboard.get("/page");
    let mut stream = outboard.subscribe("/page");

    assert!([502, 503].contains(&page.status), "{}", page.status);
    assert!(page.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.rest(), []);
    assert!(stream.retry().is_some_and(|hint| hint > 0), "{:?}", stream.text());
    outboard.process().wait_for("which backend", |line| line.contains(&nobody.to_string()).then_some(()));
}

#[test]
fn a_backend_that_cannot_say_who_may_listen_does_not_end_an_eventsource() {
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let backend = Backend::start(|exchange| exchange.answer("500 Internal Server Error", &[], "oops"));
    let broken = Outboard::behind(&backend).with_config(route).start();
    let nobody = Outboard::behind("http://127.0.0.1:9").with_config(route).start();

    for outboard in [broken, nobody] {
        let mut stream = outboard.subscribe("/news");
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.rest(), []);
        assert!(stream.retry().is_some(), "{:?}", stream.text());
        assert_eq!(outboard.publish("news", "secret").receivers, 0);
    }
}

#[test]
fn a_decision_is_passed_on_as_such() {
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let backend = Backend::start(move |exchange| exchange.answer(status, &[], "no"));
        let outboard = Outboard::behind(&backend).with_config(route).start();

        assert_eq!(outboard.subscribe("/news").status().to_string(), status[..3]);
    }
}

#[test]
fn more_streams_than_there_is_room_for_are_asked_to_come_back() {
    let (_backend, outboard) = with_news("[stream]\nmax_subscribers = 2\n");
    let _two = [outboard.subscribe("/news"), outboard.subscribe("/news")];

    let mut third = outboard.subscribe("/news");

    assert_eq!(third.status(), 200);
    assert_eq!(third.rest(), []);
    assert!(third.retry().is_some());
    assert_eq!(outboard.publish("news", "x").receivers, 2);
}

#[test]
fn asked_to_end_outboard_ends_its_streams_and_then_itself() {
    let (_backend, mut outboard) = with_news("");
    let mut stream = outboard.subscribe("/news");
    outboard.publish("news", "one");
    assert_eq!(stream.data(), "one");

    let status = outboard.stop();

    assert_eq!(stream.next_or_end(), None, "the stream ends in the proper way");
    assert_eq!(status.code(), Some(0));
    assert!(!outboard.socket().exists(), "the publish socket is gone");
}

// ---- the count -------------------------------------------------------------------------------

#[test]
fn a_client_that_leaves_is_no_longer_counted() {
    let (_backend, outboard) = with_news("");
    let streams = [(); 3].map(|()| outboard.subscribe("/news"));
    assert_eq!(outboard.publish("news", "one").receivers, 3);

    drop(streams);

    // It is noticed on the read side; how soon is up to the kernel.
    let mut tries = 0;
    while outboard.publish("news", "two").receivers > 0 {
        tries += 1;
        assert!(tries < 10_000, "clients that left are still counted");
    }
}

#[test]
fn an_outboard_that_crashed_is_followed_by_one_that_takes_its_socket_and_tells_of_the_gap() {
    let (_backend, mut outboard) = with_news("");
    let before = outboard.publish("news", "before");

    outboard.crash_and_restart();

    outboard.publish("news", "after");
    let mut stream = outboard.resume("/news", &before.id);
    assert_eq!(stream.next().name, "outboard.gap");
    assert_eq!(stream.data(), "after");
}

#[test]
fn a_client_that_takes_the_place_of_one_that_just_left_gets_everything_once() {
    let route =
        "[[event_route]]\npath = \"/all\"\nchannels = [\"news\"]\nauth = \"none\"\nreplay = \"all\"\n";
    let (_backend, outboard) = with_news(route);
    let frames: String = (0..300).map(|n| format!("data: {n} {}\n\n", "x".repeat(200))).collect();
    outboard.frames(format!("channel: news\n{frames}"));

    let address = outboard.address().to_owned();
    let open = || support::outboard::subscribe(&address, "/all", None);
    let come_and_go = || {
        for _ in 0..40 {
            // Gone while much still waits for it, so that its turn comes when it is gone.
            let gone: Vec<_> = (0..4).map(|_| open()).collect();
            drop(gone);
            let mut stream = open();
            for n in 0..300 {
                assert_eq!(stream.data().split(' ').next(), Some(n.to_string().as_str()));
            }
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(come_and_go))));
}

#[test]
fn in_a_crowd_those_who_leave_and_those_who_do_not_read_take_nothing_from_the_others() {
    const EACH: usize = 20;
    let (_backend, outboard) = with_news("[stream]\nstall = \"5m\"\n");
    let (mut readers, mut leavers, mut sleepers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..EACH {
        // One of each kind in turn, so that in the order of delivery they stand among each other.
        for kind in [&mut readers, &mut leavers, &mut sleepers] {
            kind.push(outboard.subscribe("/news"));
        }
    }
    let number = |data: String| data.split(' ').next().and_then(|number| number.parse::<usize>().ok());

    // In all more bytes than the socket of one who does not read can hold.
    for n in 0..3 * EACH {
        outboard.publish("news", &format!("{n} {}", "x".repeat(20_000)));
        readers.iter_mut().for_each(|reader| assert_eq!(number(reader.data()), Some(n)));
        drop(leavers.pop());
    }

    for mut sleeper in sleepers {
        (0..3 * EACH).for_each(|n| assert_eq!(number(sleeper.data()), Some(n)));
    }
}

#[test]
fn r13_streams_that_are_held_keep_nobody_away() {
    let backend = Backend::greeting();
    let outboard =
        Outboard::behind(&backend).with_config(NEWS).with_config("[limits]\nmax_connections = 5\n").start();

    let streams: Vec<_> = (0..40).map(|_| outboard.subscribe("/news")).collect();

    assert_eq!(outboard.get("/page").text(), "hello\n");
    assert_eq!(outboard.publish("news", "x").receivers, streams.len());
}

#[test]
fn r31_a_reader_that_reads_gets_all_of_a_burst_that_is_longer_than_what_is_kept() {
    let (_backend, outboard) = with_news("");
    const COUNT: usize = 20_000;
    let mut stream = outboard.subscribe("/news");
    let burst: String = (0..COUNT).map(|n| format!("channel: news\ndata: {n}\n\n")).collect();

    thread::scope(|scope| {
        let reader = scope.spawn(move || (0..COUNT).all(|n| stream.data() == n.to_string()));
        outboard.frames(&burst);
        assert!(reader.join().unwrap(), "each event came, once and in its order");
    });
}
