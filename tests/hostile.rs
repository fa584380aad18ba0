//! What an outside examiner found: odd, cut and hostile input to the real program.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Backend, DEADLINE, Outboard};

/// Sends `request` as it is, and reads to the end of whatever comes back.
fn exchange(outboard: &Outboard, request: &str) -> String {
    let mut socket = TcpStream::connect(outboard.address()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that is broken off has said what it has said.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_answer_that_breaks_off_at_once_reaches_the_client_as_far_as_it_came() {
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let backend = Backend::start(move |exchange| {
            exchange.write(format!("HTTP/1.1 200 OK\r\n{framing}"));
            exchange.cut();
        });
        let outboard = Outboard::behind(&backend).start();

        let answer = exchange(&outboard, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{framing:?}: {answer:?}");
        assert!(answer.contains("abc"), "{framing:?}: {answer:?}");
        assert!(!answer.ends_with("0\r\n\r\n"), "a cut answer looks whole: {answer:?}");
    }
}

#[test]
fn the_log_says_which_answer_broke_off() {
    let backend = Backend::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        exchange.cut();
    });
    let outboard = Outboard::behind(&backend).start();

    exchange(&outboard, "GET /report?week=7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    let told = outboard
        .process()
        .wait_for("what broke off", |line| line.contains("broke off").then(|| line.to_owned()));
    assert!(told.contains("/report") && told.contains("WARN"), "{told}");
}

#[test]
fn nothing_is_read_behind_a_request_that_is_for_no_host_or_for_several() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).start();
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
        let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

        let answer = exchange(&outboard, &format!("GET / HTTP/1.1\r\n{hosts}\r\n{next}"));

        assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{hosts:?}: {answer:?}");
    }
}

#[test]
fn initial_events_stand_apart_from_what_follows_however_their_lines_end() {
    for (body, expected) in [
        ("data: a\r\rdata: b\r", &["a", "b"][..]),
        ("data: a\r\n\r\ndata: b\r\n", &["a", "b"]),
        ("data: a\n\ndata: b\r", &["a", "b"]),
        ("data: a\n\r\n", &["a"]),
        ("data: a\r\n\r", &["a"]),
        ("\u{feff}data: a\n\n", &["a"]),
        ("\u{feff}", &[]),
        (":\r", &[]),
    ] {
        let backend = Backend::start(move |exchange| {
            exchange.answer("200 OK", &["Content-Type: text/event-stream", "Outboard-Channel: a"], body);
        });
        let outboard = Outboard::behind(&backend).start();
        let mut stream = outboard.subscribe("/any");

        outboard.publish("a", "live");

        for data in expected {
            assert_eq!(&stream.data(), data, "{body:?}");
        }
        assert_eq!(stream.data(), "live", "{body:?}");
    }
}

#[test]
fn a_backend_is_told_of_a_client_that_leaves_during_its_initial_events() {
    let backend = Backend::start(|exchange| {
        if exchange.target() == "/left" {
            return exchange.answer("204 No Content", &[], "");
        }
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\
             Outboard-Channel: a\r\nOutboard-Gone: /left\r\n\r\ndata: first\n\n",
        );
        exchange.wait_until_closed();
    });
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    assert_eq!(stream.data(), "first");
    backend.next_request();

    drop(stream);

    let head = backend.next_request();
    assert!(head.starts_with("POST /left "), "{head}");
    assert!(head.to_lowercase().contains("outboard-reason: client-left"), "{head}");
}

#[test]
fn a_word_to_the_backend_says_that_it_has_no_body() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/left" => exchange.answer("204 No Content", &[], ""),
        _ => exchange.answer("200 OK", &["Outboard-Channel: a", "Outboard-Gone: /left"], ""),
    });
    let outboard = Outboard::behind(&backend).start();
    let stream = outboard.subscribe("/any");
    backend.next_request();

    drop(stream);

    let head = backend.next_request().to_lowercase();
    assert!(head.contains("\r\ncontent-length: 0"), "some servers answer 411 to this: {head}");
}

#[test]
fn a_client_does_not_say_through_whom_it_came() {
    let backend = Backend::start(|exchange| {
        let head = exchange.head.clone();
        exchange.answer("200 OK", &[], &head);
    });
    let outboard = Outboard::behind(&backend).start();

    let seen =
        exchange(&outboard, "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 forged\r\nConnection: close\r\n\r\n");

    assert!(!seen.contains("Via:"), "{seen}");
    assert!(!seen.contains("forged"), "{seen}");
}

#[test]
fn the_log_says_when_silent_publishers_have_taken_all_the_room() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_variable("OUTBOARD__PUBLISH__MAX_PUBLISHERS", "3").start();
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(outboard.socket()).unwrap()).collect();

    let mut patient = UnixStream::connect(outboard.socket()).unwrap();
    patient.write_all(b"channel: a\ndata: 1\n\n").unwrap();

    let waiting = outboard
        .process()
        .wait_for("what is wrong", |line| line.contains("max_publishers").then(|| line.to_owned()));
    drop(silent);

    let mut reply = [0; 3];
    patient.set_read_timeout(Some(DEADLINE)).unwrap();
    patient.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"ok ");
    assert!(waiting.contains("WARN") && waiting.contains("publish.sock"), "{waiting}");
}

#[test]
fn a_recheck_that_a_route_s_auth_asked_for_asks_the_auth_again() {
    let asked = AtomicUsize::new(0);
    let backend =
        Backend::start(move |exchange| match (exchange.target(), asked.fetch_add(1, Ordering::SeqCst)) {
            ("/may?who=7", 0..3) => exchange.answer("204 No Content", &["Outboard-Recheck: 1"], ""),
            ("/may?who=7", _) => exchange.answer("403 Forbidden", &[], ""),
            _ => exchange.answer("404 Not Found", &[], ""),
        });
    let outboard = Outboard::behind(&backend)
        .with_config(
            "[[event_route]]\npath = \"/events\"\nchannels = [\"a\"]\nauth = \"/may?who={query.who}\"",
        )
        .start();

    let mut stream = outboard.subscribe("/events?who=7");

    assert_eq!(stream.rest().len(), 0);
    for _ in 0..4 {
        let head = backend.next_request();
        assert!(head.starts_with("GET /may?who=7 "), "{head}");
        assert!(head.to_lowercase().contains("outboard-channel: a"), "{head}");
    }
}

#[test]
fn a_backend_is_told_who_left_a_route_and_which_channels() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/may" => exchange.answer("204 No Content", &["Outboard-Gone: /left"], ""),
        _ => exchange.answer("204 No Content", &[], ""),
    });
    let outboard = Outboard::behind(&backend)
        .with_config(
            "[[event_route]]\npath = \"/events\"\nchannels = [\"a\", \"b\"]\nauth = \"/may\"\nsubject = \"u{query.who}\"",
        )
        .start();
    let stream = outboard.subscribe("/events?who=7");
    backend.next_request();

    drop(stream);

    let head = backend.next_request().to_lowercase();
    assert!(head.starts_with("post /left "), "{head}");
    assert!(head.contains("outboard-channel: a, b") && head.contains("outboard-subject: u7"), "{head}");
}

#[test]
fn a_handoff_before_the_end_of_its_request_keeps_its_initial_events() {
    let backend = Backend::start(|exchange| {
        exchange.answer(
            "200 OK",
            &["Content-Type: text/event-stream", "Outboard-Channel: a"],
            "data: first\n\n",
        );
    });
    let outboard = Outboard::behind(&backend).start();
    let mut socket = TcpStream::connect(outboard.address()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();

    let unfinished = "POST /any HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    socket.write_all(unfinished.as_bytes()).unwrap();

    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("data: first") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the initial events come");
        heard.extend_from_slice(&byte);
    }
}

#[test]
fn the_head_of_a_handed_over_stream_is_told_as_it_would_be_sent() {
    let backend = Backend::start(|exchange| {
        let headers = ["Content-Type: text/event-stream", "Outboard-Channel: a", "ETag: \"1\"", "X-Own: 2"];
        exchange.answer("200 OK", &headers, "");
    });
    let outboard = Outboard::behind(&backend).start();

    let head =
        exchange(&outboard, "HEAD /any HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").to_lowercase();

    assert!(head.contains("\r\ncontent-type: text/event-stream; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\nx-own: 2\r\n"), "{head}");
    for not_told in ["content-length", "etag", "outboard-channel"] {
        assert!(!head.contains(not_told), "{not_told}: {head}");
    }
}

#[test]
fn a_handoff_whose_answer_never_ends_holds_the_client_all_the_same() {
    let backend = Backend::start(|exchange| {
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nOutboard-Channel: a\r\n\
             Outboard-Keep-Alive: 1\r\n\r\ndata: first\n\ndata: half",
        );
        exchange.wait_until_closed();
    });
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    assert_eq!(stream.data(), "first");

    outboard.publish("a", "live");

    assert_eq!(stream.data(), "half");
    assert_eq!(stream.data(), "live");
    outboard.process().wait_for("why", |line| line.contains("does not end its answer").then_some(()));
}

/// The answer of a site that must not be asked.
fn answered_here(request: &str) -> String {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).start();
    let answer = exchange(&outboard, request);
    assert_eq!(backend.requests_so_far(), [""; 0], "{request:?} went on to the site");
    answer
}

#[test]
fn options_that_no_proxy_may_pass_on_are_answered_here() {
    for target in ["*", "/", "http://a"] {
        let answer = answered_here(&format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
        ));

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {answer}");
        assert!(answer.contains("\r\nContent-Length: 0\r\n"), "{target}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nallow: get, "), "{target}: {answer}");
    }
}

#[test]
fn a_request_that_is_refused_is_told_which_of_its_faults_it_was() {
    for (request, status, told) in [
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "has a space in it, which must be written as %20"),
        ("GET /a HTTP/1.1\nHost: a\n\n", 400, "does not end in CRLF"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", 413, "larger than"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 413, "larger than"),
    ] {
        let answer = answered_here(request);

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains(told), "{request:?}: {answer}");
    }
}

#[test]
fn the_api_asks_for_one_host_as_the_site_does() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).start();
    for (hosts, status) in
        [("", 400), ("Host: a\r\nHost: b\r\n", 400), ("Host: a b\r\n", 400), ("Host: localhost\r\n", 200)]
    {
        let next = "GET /channels HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut socket = UnixStream::connect(outboard.socket()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(format!("GET /channels HTTP/1.1\r\n{hosts}\r\n{next}").as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {answer}");
        let answers = if status == 200 { 2 } else { 1 };
        assert_eq!(answer.matches("HTTP/1.1 ").count(), answers, "{hosts:?}: {answer}");
    }
}

/// What a process holds in memory of its own, in KiB.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_that_a_storm_of_large_heads_took_is_given_back() {
    const CONNECTIONS: usize = 200;
    let backend = Backend::start(|exchange| exchange.answer("200 OK", &["Connection: close"], "ok"));
    let outboard = Outboard::behind(&backend).start();
    let pid = outboard.process().id();
    let lines: String = (0..15).map(|n| format!("X-{n}: {}\r\n", "y".repeat(4000))).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}");
    let mut most = 0;

    for _ in 0..5 {
        let mut storm: Vec<_> =
            (0..CONNECTIONS).map(|_| TcpStream::connect(outboard.address()).unwrap()).collect();
        for socket in &mut storm {
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket.write_all(head.as_bytes()).unwrap();
        }
        for socket in &mut storm {
            socket.write_all(b"\r\n").unwrap();
        }
        for socket in &mut storm {
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        }
        most = most.max(memory_of(pid));
    }

    let deadline = std::time::Instant::now() + 2 * DEADLINE;
    while memory_of(pid) > most / 2 {
        assert!(std::time::Instant::now() < deadline, "{most} KiB at most, and still {}", memory_of(pid));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
