//! The handoff (PROTOCOL 4.1), header by header, with a scripted backend.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::backend::Exchange;
use support::{Apache, Backend, DEADLINE, Outboard, Request, folder};

/// A backend that hands every client over with these headers and this body.
fn handing_over(headers: &'static [&'static str], body: &'static str) -> Backend {
    Backend::start(move |exchange| hand_over(exchange, headers, body))
}

fn hand_over(exchange: &mut Exchange, headers: &[&str], body: &str) {
    let all = [&["Content-Type: text/event-stream"], headers].concat();
    exchange.answer("200 OK", &all, body);
}

#[test]
fn the_body_comes_first_and_the_headers_of_the_handoff_never_reach_the_client() {
    let backend = handing_over(
        &[
            "Outboard-Channel: a, b",
            "Outboard-Channel: c",
            "Set-Cookie: x=1",
            "X-Own: kept",
            "Outboard-Subject: s",
        ],
        "data: first\n\n",
    );
    let outboard = Outboard::behind(&backend).start();

    let mut stream = outboard.subscribe("/any");
    for channel in ["a", "b", "c"] {
        assert_eq!(outboard.publish(channel, channel).receivers, 1);
    }

    assert_eq!(stream.data(), "first");
    for channel in ["a", "b", "c"] {
        assert_eq!(stream.data(), channel);
    }
    assert_eq!((stream.header("set-cookie"), stream.header("x-own")), (Some("x=1"), Some("kept")));
    for name in ["outboard-channel", "outboard-subject", "content-length"] {
        assert_eq!(stream.header(name), None, "{name}");
    }
}

#[test]
fn a_body_that_does_not_end_its_last_event_spoils_nothing() {
    let backend = handing_over(&["Outboard-Channel: a", "Outboard-Replay: live"], "data: half");
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");

    outboard.publish("a", "whole");

    let mut seen = stream.data();
    if seen == "half" {
        seen = stream.data();
    }
    assert_eq!(seen, "whole");
}

#[test]
fn a_client_whose_backend_is_not_done_with_the_initial_events_hears_the_drain() {
    let backend = Backend::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nOutboard-Channel: a\r\n");
        exchange.write("Content-Length: 1000\r\n\r\ndata: first\n\ndata: half");
        exchange.wait_until_closed();
    });
    let mut outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    stream.read_until("data: half");
    assert_eq!(outboard.publish("a", "published").receivers, 1);

    let status = outboard.stop();

    assert_eq!(
        (stream.data(), stream.data(), stream.data()),
        ("first".into(), "half".into(), "published".into())
    );
    assert_eq!(stream.next_or_end(), None, "the stream ends in the proper way");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_client_cannot_hand_itself_over() {
    let backend = Backend::start(|exchange| {
        let head = exchange.head.clone();
        exchange.answer("200 OK", &["Content-Type: text/plain"], &head);
    });
    let outboard = Outboard::behind(&backend).start();

    let request =
        Request::get("/").header("Outboard-Channel", "secret").header("Accept", "text/event-stream");
    let answer = outboard.send(&request.header("Grip-Hold", "stream").header("outboard-subject", "root"));

    assert_eq!(answer.status, 200);
    let seen = answer.text().to_lowercase();
    assert!(!seen.contains("secret") && !seen.contains("grip-hold") && !seen.contains("root"), "{seen}");
    assert_eq!(outboard.publish("secret", "x").receivers, 0);
}

#[test]
fn what_a_client_gets_first_is_the_backend_s_choice() {
    for (replay, expected) in [
        ("Outboard-Replay: all", &["1", "2", "3", "live"][..]),
        ("Outboard-Replay: 2", &["2", "3", "live"]),
        ("Outboard-Replay: live", &["live"]),
        ("Outboard-Replay: unseen", &["1", "2", "3", "live"]),
    ] {
        let backend =
            Backend::start(move |exchange| hand_over(exchange, &["Outboard-Channel: a", replay], ""));
        let outboard = Outboard::behind(&backend).start();
        for data in ["1", "2", "3"] {
            outboard.publish("a", data);
        }

        let mut stream = outboard.subscribe("/any");
        outboard.publish("a", "live");

        let seen: Vec<_> = expected.iter().map(|_| stream.data()).collect();
        assert_eq!(seen, expected, "{replay}");
    }
}

#[test]
fn what_one_subscriber_has_got_is_not_unseen_for_the_next() {
    let backend = handing_over(&["Outboard-Channel: a"], "");
    let outboard = Outboard::behind(&backend).start();
    outboard.publish("a", "early");
    let mut first = outboard.subscribe("/any");
    assert_eq!(first.data(), "early");

    let mut second = outboard.subscribe("/any");
    outboard.publish("a", "live");

    assert_eq!(second.data(), "live");
}

#[test]
fn a_subject_s_streams_end_together() {
    let backend = Backend::start(|exchange| {
        let subject = format!("Outboard-Subject: {}", &exchange.target()[1..]);
        hand_over(exchange, &["Outboard-Channel: a", &subject], "");
    });
    let outboard = Outboard::behind(&backend).start();
    let mut alice = [outboard.subscribe("/alice"), outboard.subscribe("/alice")];
    let mut bob = outboard.subscribe("/bob");

    let replies = outboard.frames("disconnect: alice\n\nchannel: a\ndata: x\n\n");

    assert!(replies[0].starts_with("ok") && replies[1].starts_with("ok"), "{replies:?}");
    for stream in &mut alice {
        assert_eq!(stream.next_or_end(), None);
    }
    assert_eq!(bob.data(), "x");
    assert_eq!(outboard.publish("a", "y").receivers, 1);
}

#[test]
fn a_disconnected_subject_gets_what_was_published_before_and_nothing_after() {
    let backend =
        handing_over(&["Outboard-Channel: a", "Outboard-Subject: alice", "Outboard-Replay: live"], "");
    let outboard = Outboard::behind(&backend).start();

    // Together in one write, so that delivery has no time between them.
    for _ in 0..100 {
        let mut stream = outboard.subscribe("/any");
        outboard.frames("channel: a\ndata: goodbye\n\ndisconnect: alice\n\nchannel: a\ndata: secret\n\n");

        let seen: Vec<_> = stream.rest().into_iter().map(|event| event.data).collect();
        assert_eq!(seen, ["goodbye"]);
    }
}

#[test]
fn a_client_that_the_backend_no_longer_accepts_is_let_go_at_the_recheck() {
    let asked = AtomicUsize::new(0);
    let backend = Backend::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => hand_over(exchange, &["Outboard-Channel: a", "Outboard-Recheck: 1"], "data: greeting\n\n"),
        _ => exchange.answer("403 Forbidden", &[], "no more"),
    });
    let outboard = Outboard::behind(&backend).start();
    let request =
        Request::get("/any?q=1").header("Accept", "text/event-stream").header("Cookie", "session=7");

    let mut stream = outboard.open(&request).into_stream();

    let events = stream.rest();
    assert_eq!(events.len(), 1, "the greeting is not repeated: {events:?}");
    for _ in 0..3 {
        let head = backend.next_request();
        assert!(head.starts_with("GET /any?q=1 "), "{head}");
        assert!(head.to_lowercase().contains("cookie: session=7"), "the same request again: {head}");
    }
}

#[test]
fn a_backend_slower_than_its_recheck_is_not_asked_twice_at_a_time() {
    let asked = AtomicUsize::new(0);
    let backend = Backend::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => {
            hand_over(exchange, &["Outboard-Channel: a", "Outboard-Recheck: 1", "Outboard-Keep-Alive: 1"], "")
        }
        _ => exchange.wait_until_closed(),
    });
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    backend.next_request();
    backend.next_request();

    // Two seconds of silence, in each of which a recheck came due.
    stream.read_until(":\n:\n:\n");

    assert_eq!(backend.requests_so_far(), Vec::<String>::new());
}

#[test]
fn on_an_event_route_the_recheck_asks_what_auth_asked_and_a_2xx_lets_the_client_stay() {
    let asked = AtomicUsize::new(0);
    let backend = Backend::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => exchange.answer("204 No Content", &["Outboard-Recheck: 1"], ""),
        _ => exchange.answer("403 Forbidden", &[], "no more"),
    });
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();

    let mut stream = outboard.subscribe("/news");
    let events = stream.rest();

    assert_eq!(events.len(), 0, "nothing was published: {events:?}");
    for _ in 0..3 {
        let head = backend.next_request().to_lowercase();
        assert!(head.starts_with("get /may-listen "), "{head}");
        assert!(head.contains("outboard-channel: news"), "{head}");
    }
}

#[test]
fn on_an_event_route_the_backend_hears_of_which_channel_and_subject_a_client_has_left() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/left" => exchange.answer("204 No Content", &[], ""),
        _ => exchange.answer("204 No Content", &["Outboard-Gone: /left"], ""),
    });
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\nsubject = \"reader\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let stream = outboard.subscribe("/news");
    backend.next_request();

    drop(stream);

    let head = backend.next_request().to_lowercase();
    assert!(head.starts_with("post /left "), "{head}");
    assert!(head.contains("outboard-channel: news"), "{head}");
    assert!(head.contains("outboard-subject: reader"), "{head}");
}

#[test]
fn the_backend_is_told_once_when_a_client_has_left() {
    let backend = Backend::start(|exchange| {
        if exchange.target().starts_with("/left") {
            exchange.answer("204 No Content", &[], "");
        } else {
            hand_over(exchange, &["Outboard-Channel: a", "Outboard-Gone: /left?job=42"], "");
        }
    });
    let outboard = Outboard::behind(&backend).start();
    let stream = outboard.subscribe("/any");
    backend.next_request();

    drop(stream);

    let head = backend.next_request();
    assert!(head.starts_with("POST /left?job=42 "), "{head}");
    assert_eq!(outboard.publish("a", "x").receivers, 0);
    assert_eq!(backend.requests_so_far(), Vec::<String>::new());
}

#[test]
fn retry_and_keep_alive_are_the_backend_s_choice() {
    let backend = handing_over(&["Outboard-Channel: a", "Outboard-Retry: 800", "Outboard-Keep-Alive: 1"], "");
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    let opened = Instant::now();

    stream.read_until(":\n:\n");

    assert!(opened.elapsed() < Duration::from_secs(12).min(DEADLINE), "sooner than the default of 15 s");
}

#[test]
fn r29_the_hint_of_a_handoff_is_spread_from_a_half_to_one_and_a_half() {
    let backend = handing_over(&["Outboard-Channel: a", "Outboard-Retry: 800"], "");
    let outboard = Outboard::behind(&backend).start();

    let hints: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = outboard.subscribe("/any");
            stream.read_until("retry: ");
            stream.read_until("\n");
            stream.retry().unwrap()
        })
        .collect();

    assert!(hints.iter().all(|hint| (400..=1200).contains(hint)), "{hints:?}");
    // Forty numbers from all of it lie in one half of it once in 10^11 times.
    assert!(hints.iter().any(|&hint| hint < 800) && hints.iter().any(|&hint| hint > 800), "{hints:?}");
}

#[test]
fn a_handoff_that_makes_no_sense_is_the_backend_s_fault_and_the_log_says_what_to_write() {
    for (header, hint) in [
        ("Outboard-Chanel: a", "Outboard-Channel"),
        ("Outboard-Replay: yesterday", "unseen"),
        ("Outboard-Recheck: soon", "Outboard-Recheck"),
    ] {
        let headers = ["Outboard-Channel: a", header];
        let backend = Backend::start(move |exchange| hand_over(exchange, &headers, ""));
        let outboard = Outboard::behind(&backend).start();

        let answer = outboard.get("/any");

        assert_eq!(answer.status, 502, "{header}");
        let hint = hint.to_lowercase();
        outboard.process().wait_for(&hint, |line| line.to_lowercase().contains(&hint).then_some(()));
    }
}

#[test]
fn a_hundred_handoffs_leave_no_connection_to_the_backend_behind() {
    let backend = handing_over(&["Outboard-Channel: a"], "");
    // A third connection in use would have to wait for ever.
    let outboard = Outboard::behind(&backend).with_variable("OUTBOARD__BACKEND__MAX_STREAMS", "2").start();

    let mut streams: Vec<_> = (0..100).map(|_| outboard.subscribe("/any")).collect();

    assert_eq!(outboard.publish("a", "to all").receivers, 100);
    for stream in &mut streams {
        assert_eq!(stream.data(), "to all");
    }
}

#[test]
fn f14_initial_events_that_apache_compresses_reach_the_client() {
    let outboard = Outboard::prepare();
    let lines = "LoadModule brotli_module /usr/lib/apache2/modules/mod_brotli.so\n\
        <Location /gzip.sh>\nSetOutputFilter DEFLATE\n</Location>\n\
        <Location /br.sh>\nSetOutputFilter BROTLI_COMPRESS\n</Location>\n";
    let apache = Apache::with_site_and(&outboard.socket(), lines);
    let script = "#!/bin/sh\nprintf 'Content-Type: text/event-stream; charset=iso-8859-1\\n'\n\
        printf 'Outboard-Channel: a\\nSet-Cookie: x=1\\n\\ndata: M\\374ller\\n\\n: %0300d\\n' 0\n";
    let outboard = outboard.in_front_of(&apache).start();
    for (coding, accepts) in [("gzip", "gzip, deflate"), ("br", "gzip, br")] {
        let path = format!("/{coding}.sh");
        folder::write_script(&apache.www(), &path[1..], script);
        let request = Request::get(&path).header("Accept", "*/*").header("Accept-Encoding", accepts);
        let direct = request.send(&apache.address());
        assert_eq!(direct.headers.get("content-encoding"), Some(coding), "{}", apache.log());

        let mut stream = outboard.open(&request).into_stream();

        assert_eq!(stream.data(), "Müller", "{coding}");
        assert_eq!((stream.header("content-encoding"), stream.header("set-cookie")), (None, Some("x=1")));
        outboard.publish("a", "live");
        assert_eq!(stream.data(), "live");
    }
}

#[test]
fn f14_a_coding_that_nobody_here_reads_is_a_502_that_names_it() {
    let backend = handing_over(&["Outboard-Channel: a", "Content-Encoding: zstd"], "data: first\n\n");
    let outboard = Outboard::behind(&backend).start();

    assert_eq!(outboard.get("/any").status, 502);

    outboard.process().wait_for("the coding", |line| line.contains("zstd").then_some(()));
}

#[test]
fn behind_a_body_without_an_id_stands_the_place_at_which_its_client_was_taken_over() {
    for body in ["data: first\n\n", "data: first", "data: first\r\n"] {
        let backend = Backend::start(move |exchange| {
            hand_over(exchange, &["Outboard-Channel: a", "Outboard-Replay: live"], body);
        });
        let outboard = Outboard::behind(&backend).start();
        outboard.publish("a", "before");
        let mut stream = outboard.subscribe("/any");
        stream.read_until("id: ");
        stream.read_until_line_end();
        let text = stream.text();
        let id = text.split("id: ").nth(1).unwrap().trim().to_owned();
        drop(stream);
        outboard.publish("a", "missed");

        let mut stream = outboard.resume("/any", &id);

        let seen: Vec<_> = (0..2).map(|_| stream.next()).map(|event| (event.name, event.data)).collect();
        let message = |data: &str| ("message".to_owned(), data.to_owned());
        assert_eq!(seen, [message("first"), message("missed")], "{text}");
    }
}

#[test]
fn an_id_in_the_body_stands_for_the_place_at_which_its_client_was_taken_over() {
    let backend = handing_over(
        &["Outboard-Channel: a, b", "Outboard-Replay: live"],
        "id: 41\ndata: first\n\nid: 42\ndata: second\n\n",
    );
    let outboard = Outboard::behind(&backend).start();
    outboard.publish("a", "before");
    let mut stream = outboard.subscribe("/any");
    assert_eq!((stream.data(), stream.data()), ("first".into(), "second".into()));
    assert_eq!(stream.text().matches("id: ").count(), 2, "none of ours: {}", stream.text());
    drop(stream);
    outboard.publish("b", "missed");

    for (id, expected) in [("42", &["first", "second", "missed"][..]), ("41", &["first", "second", "missed"])]
    {
        let mut stream = outboard.resume("/any", id);
        for data in expected {
            let event = stream.next();
            assert_eq!((event.name.as_str(), event.data.as_str()), ("message", *data), "{id}");
        }
    }
    assert_eq!(outboard.resume("/any", "43").next().name, "outboard.gap", "nobody knows this one");
}

#[test]
fn a_handoff_may_answer_a_post() {
    let backend = Backend::start(|exchange| {
        let body = format!("data: {}\n\n", String::from_utf8_lossy(&exchange.body));
        hand_over(exchange, &["Outboard-Channel: a"], &body);
    });
    let outboard = Outboard::behind(&backend).start();

    let request = Request::new("POST", "/any", "HTTP/1.1").header("Accept", "text/event-stream").body("q=1");
    let mut stream = outboard.open(&request).into_stream();

    assert_eq!(stream.data(), "q=1");
    assert_eq!(outboard.publish("a", "live").receivers, 1);
    assert_eq!(stream.data(), "live");
}

#[test]
fn f32_a_cgi_script_sees_the_length_of_a_body_that_comes_in_chunks() {
    let outboard = Outboard::prepare();
    let apache = Apache::with_site(&outboard.socket());
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s:' \"$CONTENT_LENGTH\"\n\
        head -c \"${CONTENT_LENGTH:-0}\"\n";
    folder::write_script(&apache.www(), "length.sh", script);
    let outboard = outboard
        .in_front_of(&apache)
        .with_variable("OUTBOARD__BACKEND__BUFFER_REQUESTS", "1KiB")
        .with_variable("OUTBOARD__BACKEND__LARGER_REQUESTS", "refuse")
        .start();
    let post = || Request::new("POST", "/length.sh", "HTTP/1.1");

    assert_eq!(outboard.send(&post().chunks(&["hello, ", "world"])).text(), "12:hello, world");
    assert_eq!(outboard.send(&post().chunks(&[&"x".repeat(1024)])).text().len(), 5 + 1024);
    assert_eq!(outboard.send(&post().chunks(&["x", &"x".repeat(1024)])).status, 411);
}

#[test]
fn f32_a_larger_body_passes_as_it_comes_unless_the_operator_says_otherwise() {
    let backend = Backend::start(|exchange| {
        let said = exchange.header("transfer-encoding").unwrap_or("none").to_owned();
        exchange.answer("200 OK", &["Content-Type: text/plain", "Connection: close"], &said);
    });
    let outboard =
        Outboard::behind(&backend).with_variable("OUTBOARD__BACKEND__BUFFER_REQUESTS", "1KiB").start();
    let request = Request::new("POST", "/any", "HTTP/1.1").chunks(&["x", &"x".repeat(1024)]);

    assert_eq!(outboard.send(&request).text(), "chunked");
}

#[test]
fn f33_the_streams_of_a_route_begin_with_as_much_padding_as_it_says() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/held" => hand_over(exchange, &["Outboard-Channel: a"], "data: first\n\n"),
        _ => hand_over(exchange, &[], "\u{feff}data: first\n\n"),
    });
    let routes =
        ["/held", "/passed"].map(|path| format!("[[event_route]]\npath = \"{path}\"\npad = \"2KiB\"\n"));
    let own = "[[event_route]]\npath = \"/own\"\nchannels = [\"b\"]\nauth = \"none\"\npad = \"2KiB\"\n";
    let outboard = Outboard::behind(&backend).with_config(&format!("{}{own}", routes.concat())).start();
    outboard.publish("b", "first");

    for path in ["/held", "/passed", "/own"] {
        let mut stream = outboard.subscribe(path);
        assert_eq!(stream.data(), "first", "{path}");
        let padding = stream.text().split('\n').next().unwrap().len() + 1;
        assert_eq!((stream.text().starts_with(':'), padding), (true, 2048), "{path}");
    }
}
