//! Streams that the backend writes (PROTOCOL 4.3).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use support::backend::Exchange;
use support::outboard::Builder;
use support::{Backend, Outboard, Request, Stream};

fn event_source(path: &str) -> Request {
    Request::get(path).header("Accept", "text/event-stream")
}

/// One that opens streams soon, and breaks silences soon.
fn quick(backend: &Backend) -> Builder {
    Outboard::behind(backend)
        .with_config("[stream]\nopen_after = \"100ms\"\nkeep_alive = \"100ms\"\nretry = \"1s\"\n")
        .with_variable("OUTBOARD__BACKEND__ANSWER_TIMEOUT", "1s")
}

/// A backend that answers when it is told to, and how often it was asked.
fn late(then: impl Fn(&mut Exchange) + Send + Sync + 'static) -> (Backend, Sender<()>, Arc<AtomicUsize>) {
    let (go_on, may_go_on) = channel();
    let (may_go_on, runs) = (Mutex::new(may_go_on), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&runs);
    let backend = Backend::start(move |exchange| {
        if exchange.target() != "/left" {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = may_go_on.lock().unwrap().recv();
        }
        then(exchange);
    });
    (backend, go_on, runs)
}

/// Waits until the answer timeout would have cut the script off.
fn outlast(stream: &mut Stream) {
    stream.read_until(&":\n".repeat(15));
}

#[test]
fn d13_a_script_that_is_slow_to_begin_is_run_once_and_its_client_gets_all_of_it() {
    let (backend, go_on, runs) = late(|exchange| {
        let text: String = (1..=5).map(|n| format!("data: {n}\n\n")).collect();
        exchange.answer("200 OK", &["Content-Type: text/event-stream"], &format!("\u{feff}{text}"));
    });
    let outboard = quick(&backend).start();

    let mut stream = outboard.subscribe("/slow");
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    outlast(&mut stream);
    go_on.send(()).unwrap();

    let seen: Vec<_> = stream.rest().into_iter().map(|event| event.data).collect();
    assert_eq!(seen, ["1", "2", "3", "4", "5"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert!((500..=1500).contains(&stream.retry().unwrap()));
}

#[test]
fn a_late_handoff_holds_the_client_and_keeps_its_promises() {
    let (backend, go_on, _) = late(|exchange| match exchange.target() {
        "/left" => exchange.answer("204 No Content", &[], ""),
        _ => exchange.answer(
            "200 OK",
            &["Outboard-Channel: a", "Outboard-Gone: /left", "Outboard-Subject: s"],
            "data: first\n\n",
        ),
    });
    let outboard = quick(&backend).start();
    let mut stream = outboard.subscribe("/slow");
    outlast(&mut stream);
    outboard.publish("a", "unseen");
    go_on.send(()).unwrap();

    assert_eq!((stream.data(), stream.data()), ("first".into(), "unseen".into()));
    assert_eq!(outboard.publish("a", "live").receivers, 1);
    let live = stream.next();
    assert_eq!(live.data, "live");
    assert!(live.id.contains('-'), "{live:?}");
    stream.read_until(":\n:\n");
    outboard.frames("disconnect: s\n\n");

    assert_eq!(stream.next_or_end(), None);
    let left =
        std::iter::repeat_with(|| backend.next_request()).find(|head| head.starts_with("POST ")).unwrap();
    assert!(left.to_lowercase().contains("outboard-reason: disconnected"), "{left}");
    assert_eq!(outboard.publish("a", "x").receivers, 0);
}

#[test]
fn a_late_refusal_is_an_event_and_the_status_when_the_client_comes_back() {
    for (status, id) in [
        ("403 Forbidden", "outboard-refused-403"),
        ("204 No Content", "outboard-refused-204"),
        ("302 Found", "outboard-refused-302"),
        ("500 No", ""),
        ("429 Too Many Requests", ""),
        ("200 OK", ""),
    ] {
        let (backend, go_on, runs) = late(move |exchange| exchange.answer(status, &["Location: /login"], ""));
        let outboard = quick(&backend).start();
        let mut stream = outboard.subscribe("/slow");
        outlast(&mut stream);
        go_on.send(()).unwrap();

        let event = stream.next();
        assert_eq!(stream.next_or_end(), None, "{status}");

        let code: u16 = status[..3].parse().unwrap();
        assert_eq!((event.name.as_str(), event.data), ("outboard.refused", format!("{{\"status\":{code}}}")));
        assert_eq!(event.id, id, "{status}");
        assert!((1000..=60_000).contains(&stream.retry().unwrap()), "{status}");
        if id.is_empty() {
            continue;
        }
        go_on.send(()).unwrap();
        let again = outboard.send(&event_source("/slow").header("Last-Event-ID", id));
        assert_eq!(again.status, code, "{status}");
        // After a redirect the site is asked, for it knows where to; otherwise it is left alone.
        assert_eq!(runs.load(Ordering::SeqCst), if code == 302 { 2 } else { 1 }, "{status}");
    }
}

#[test]
fn a_client_that_leaves_before_the_late_answer_frees_the_script() {
    let (freed, is_freed) = channel();
    let backend = Backend::start(move |exchange| {
        exchange.wait_until_closed();
        freed.send(()).unwrap();
    });
    let outboard = quick(&backend).start();
    let mut stream = outboard.subscribe("/slow");
    outlast(&mut stream);

    drop(stream);

    is_freed.recv_timeout(support::DEADLINE).unwrap();
}

#[test]
fn a_script_that_never_begins_is_a_504_in_the_stream() {
    let backend = Backend::start(Exchange::wait_until_closed);
    let outboard = quick(&backend).with_variable("OUTBOARD__BACKEND__STREAM_ANSWER_TIMEOUT", "2s").start();
    let mut stream = outboard.subscribe("/slow");

    assert_eq!(stream.data(), "{\"status\":504}");
    assert_eq!(stream.next_or_end(), None);
}

#[test]
fn only_an_event_source_of_the_same_site_is_given_a_head_before_the_site_s() {
    let (backend, _go_on, _) = late(|exchange| exchange.answer("200 OK", &[], "late"));
    let outboard = quick(&backend).start();

    for request in [
        Request::get("/slow"),
        Request::get("/slow").header("Accept", "text/event-stream, */*"),
        Request::new("POST", "/slow", "HTTP/1.1").body("x").header("Accept", "text/event-stream"),
    ] {
        assert_eq!(outboard.send(&request).status, 504);
    }
    for cross in ["Origin: https://other.example", "Sec-Fetch-Site: cross-site", "Origin: null"] {
        let (name, value) = cross.split_once(": ").unwrap();
        let answer = outboard.send(&event_source("/slow").header(name, value));
        // The word to come back, when `answer_timeout` is over.
        assert!(!answer.text().contains("outboard.refused") && answer.text().contains("retry: "), "{cross}");
    }
    let mut own = outboard
        .open(&event_source("/slow").header("Origin", &format!("http://{}", outboard.address())))
        .into_stream();
    outlast(&mut own);
}

#[test]
fn f10_a_silent_stream_gets_comments_and_only_between_lines() {
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let backend = Backend::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n");
        let wait = || may_go_on.lock().unwrap().recv().unwrap_or_default();
        wait();
        exchange.write("data: b");
        wait();
        exchange.write("c\n\n");
        wait();
        exchange.cut();
    });
    let route = "[[event_route]]\npath = \"/for-all\"\nkeep_alive = \"100ms\"\n";
    let outboard = quick(&backend).with_config(route).start();
    for request in [event_source("/silent"), Request::get("/for-all")] {
        let mut stream = outboard.open(&request).into_stream();
        assert_eq!(stream.data(), "a");
        stream.read_until(":\n:\n");
        go_on.send(()).unwrap();
        stream.read_until("data: b");
        go_on.send(()).unwrap();
        assert_eq!(stream.data(), "bc");
        go_on.send(()).unwrap();
    }
}

#[test]
fn f11_a_stream_in_another_charset_arrives_as_utf_8_and_says_so() {
    let backend = Backend::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=iso-8859-1\r\n");
        if exchange.target() == "/handoff" {
            exchange.write("Outboard-Channel: a\r\n");
        }
        exchange.write("Content-Length: 14\r\n\r\ndata: J");
        exchange.write(b"\xfcrgen\n\n");
    });
    let outboard = Outboard::behind(&backend).start();

    for path in ["/passed", "/handoff"] {
        let mut stream = outboard.subscribe(path);

        assert_eq!(stream.data(), "Jürgen", "{path}");
        assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"), "{path}");

        let head = outboard.send(&Request::new("HEAD", path, "HTTP/1.1"));
        assert_eq!(head.headers.get("content-type"), stream.header("content-type"), "HEAD {path}");
    }
}

#[test]
fn f8_streams_that_the_site_writes_take_no_page_s_connection() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/page" => exchange.answer("200 OK", &[], "page"),
        "/may-listen" => exchange.answer("204 No Content", &[], ""),
        _ => {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n");
            exchange.wait_until_closed();
        }
    });
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend)
        .with_config(route)
        .with_variable("OUTBOARD__BACKEND__MAX_CONNECTIONS", "2")
        .with_variable("OUTBOARD__BACKEND__MAX_STREAMS", "6")
        .with_variable("OUTBOARD__BACKEND__CONNECT_TIMEOUT", "200ms")
        .start();

    // Some ask for them as a browser would, and some as nobody could know.
    let mut streams: Vec<_> = (0..3).map(|_| outboard.subscribe("/stream")).collect();
    streams.extend((0..3).map(|_| outboard.open(&Request::get("/stream")).into_stream()));
    streams.iter_mut().for_each(|stream| assert_eq!(stream.data(), "a"));

    assert_eq!(outboard.get("/page").text(), "page");
    let _news = outboard.subscribe("/news");
    assert_eq!(outboard.publish("news", "x").receivers, 1);
    let one_more = outboard.send(&event_source("/stream"));
    assert!(one_more.text().contains("retry: "), "there is room for six: {}", one_more.text());
    drop(streams);
    let freed = std::iter::repeat_with(|| outboard.open(&event_source("/stream")))
        .find(|answer| answer.headers.get("content-length").is_none());
    assert_eq!(freed.unwrap().into_stream().data(), "a");
}
