//! What is promised about clients that are held (PROTOCOL 4.1): the site is asked again whether they may stay,
//! and told when they are gone.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::backend::Exchange;
use support::{Backend, Outboard, Request, Stream, folder};

fn hand_over(exchange: &mut Exchange, headers: &[&str]) {
    exchange.answer("200 OK", &[&["Content-Type: text/event-stream"], headers].concat(), "");
}

/// A backend whose first answer hands the client over, and whose others are `then`.
fn at_first(
    headers: &'static [&'static str],
    then: impl Fn(&mut Exchange, usize) + Send + Sync + 'static,
) -> Backend {
    let asked = AtomicUsize::new(0);
    Backend::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => hand_over(exchange, headers),
        number => then(exchange, number),
    })
}

/// Replaces a part of its configuration file and sends HUP; returns once the new one counts.
fn reload(outboard: &Outboard, from: &str, to: &str) {
    let file = outboard.folder().join("outboard.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace(from, to);
    folder::write(outboard.folder(), "outboard.toml", &text);
    outboard.process().signal(Signal::HUP);
    outboard.process().wait_for("reloaded", |line| line.contains("reloaded").then_some(()));
}

#[test]
fn r6_the_same_channels_in_another_order_are_the_same_answer() {
    let backend = at_first(&["Outboard-Channel: a, b", "Outboard-Recheck: 1"], |exchange, number| {
        let order = ["Outboard-Channel: b, a", "Outboard-Channel: b, a, b"][number % 2];
        hand_over(exchange, &[order, "Outboard-Recheck: 1"]);
    });
    let outboard = Outboard::behind(&backend).start();

    let mut stream = outboard.subscribe("/any");
    (0..4).for_each(|_| drop(backend.next_request()));

    assert_eq!(outboard.publish("a", "still here").receivers, 1);
    assert_eq!(stream.data(), "still here");
}

#[test]
fn another_set_of_channels_or_another_subject_is_a_no() {
    for changed in [
        &["Outboard-Channel: a", "Outboard-Subject: s"][..],
        &["Outboard-Channel: a, b, c", "Outboard-Subject: s"],
        &["Outboard-Channel: a, b", "Outboard-Subject: t"],
        &["Outboard-Channel: a, b"],
        &[],
    ] {
        let backend = at_first(
            &["Outboard-Channel: a, b", "Outboard-Subject: s", "Outboard-Recheck: 1"],
            move |exchange, _| hand_over(exchange, changed),
        );
        let outboard = Outboard::behind(&backend).start();

        let mut stream = outboard.subscribe("/any");

        assert_eq!(stream.next_or_end(), None, "{changed:?}");
    }
}

#[test]
fn no_answer_is_not_a_no_until_the_grace_is_over_and_a_no_is_one_at_once() {
    for failure in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "408 Request Timeout",
        "429 Too Many Requests",
        "425 Too Early",
        "",
    ] {
        let backend =
            at_first(&["Outboard-Channel: a", "Outboard-Recheck: 1"], move |exchange, number| match number {
                1..=3 if failure.is_empty() => exchange.cut(),
                1..=3 => exchange.answer(failure, &[], ""),
                4 => hand_over(exchange, &["Outboard-Channel: a"]),
                _ => exchange.answer("403 Forbidden", &[], ""),
            });
        let outboard = Outboard::behind(&backend).start();

        let mut stream = outboard.subscribe("/any");
        (0..5).for_each(|_| drop(backend.next_request()));
        outboard.publish("a", "still here");

        assert_eq!(stream.data(), "still here", "{failure}");
        assert_eq!(stream.next_or_end(), None, "{failure}");
    }
}

#[test]
fn a_site_that_answers_nothing_for_the_whole_grace_loses_its_client_and_is_told_why() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/left" => exchange.answer("204 No Content", &[], ""),
        "/may-stay" => exchange.answer("503 Service Unavailable", &[], ""),
        _ => hand_over(
            exchange,
            &["Outboard-Channel: a", "Outboard-Recheck: 1 /may-stay", "Outboard-Gone: /left"],
        ),
    });
    let outboard = Outboard::behind(&backend).with_config("[stream]\nrecheck_grace = \"3s\"\n").start();

    let mut stream = outboard.subscribe("/any");
    let opened = Instant::now();

    assert_eq!(stream.next_or_end(), None);
    assert!(opened.elapsed() >= Duration::from_millis(3500), "{:?}", opened.elapsed());
    let left = std::iter::repeat_with(|| backend.next_request())
        .find(|head| head.starts_with("POST /left "))
        .unwrap();
    assert!(left.to_lowercase().contains("outboard-reason: unconfirmed"), "{left}");
}

#[test]
fn a_recheck_may_ask_for_a_path_of_its_own_with_the_cookies_that_the_client_has_since() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/may-stay?who=7" => hand_over(exchange, &["Outboard-Channel: a", "Set-Cookie: session=3; Path=/"]),
        _ => hand_over(
            exchange,
            &[
                "Outboard-Channel: a",
                "Outboard-Recheck: 1 /may-stay?who=7",
                "Set-Cookie: session=2; HttpOnly",
                "Set-Cookie: gone=; Max-Age=0",
                "Set-Cookie: elsewhere=1; Path=/admin",
            ],
        ),
    });
    let outboard = Outboard::behind(&backend).start();
    let request = Request::new("POST", "/any?x=1", "HTTP/1.1")
        .body("body")
        .header("Cookie", "session=1; theme=dark; gone=1");

    let mut stream = outboard.open(&request.header("Accept", "text/event-stream")).into_stream();

    assert!(backend.next_request().starts_with("POST /any?x=1 "));
    for _ in 0..2 {
        let head = backend.next_request();
        assert!(head.starts_with("GET /may-stay?who=7 "), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("\r\ncookie: theme=dark; session=2"), "{head}");
        assert!(head.contains("\r\nx-original-uri: /any?x=1"), "{head}");
        assert!(!head.contains("\r\ncontent-length"), "{head}");
    }
    outboard.publish("a", "still here");
    assert_eq!(stream.data(), "still here");
    outboard.process().wait_for("the cookie", |line| line.contains("sets a cookie").then_some(()));
    let said = outboard.log().lines().filter(|line| line.contains("sets a cookie")).count();
    assert_eq!(said, 1, "{}", outboard.log());
}

#[test]
fn a_post_that_hands_over_with_a_recheck_needs_a_path_to_be_asked_for() {
    let backend =
        Backend::start(|exchange| hand_over(exchange, &["Outboard-Channel: a", "Outboard-Recheck: 60"]));
    let outboard = Outboard::behind(&backend).start();

    let answer = outboard.send(&Request::new("POST", "/any", "HTTP/1.1").body("body"));

    assert_eq!(answer.status, 502);
    outboard.process().wait_for("what to write", |line| line.contains("/may-stay.cgi").then_some(()));
}

#[test]
fn r7_a_reload_reaches_clients_that_are_held() {
    let answer = |exchange: &mut Exchange| match exchange.method() {
        "POST" => exchange.answer("204 No Content", &[], ""),
        _ => hand_over(exchange, &["Outboard-Channel: a", "Outboard-Recheck: 1", "Outboard-Gone: /left"]),
    };
    let (old, new) = (Backend::start(answer), Backend::start(answer));
    let outboard = Outboard::behind(&old).start();
    let stream = outboard.subscribe("/any");
    old.next_request();

    reload(&outboard, old.address(), new.address());
    // One may have been on its way.
    old.requests_so_far();
    (0..2).for_each(|_| assert!(new.next_request().starts_with("GET /any ")));
    drop(stream);

    let left = std::iter::repeat_with(|| new.next_request()).find(|head| head.starts_with("POST ")).unwrap();
    assert!(left.starts_with("POST /left "), "{left}");
    assert_eq!(old.requests_so_far(), Vec::<String>::new());
}

/// So many clients, each with a number in its path.
fn crowd(outboard: &Outboard, count: usize) -> Vec<Stream> {
    (0..count).map(|number| outboard.subscribe(&format!("/{number}"))).collect()
}

#[test]
fn r8_a_drain_tells_the_site_of_every_client_that_is_gone() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let backend = Backend::start(move |exchange| match exchange.method() {
        "POST" => {
            counted.fetch_add(1, Ordering::SeqCst);
            exchange.answer("204 No Content", &[], "");
        }
        _ => hand_over(exchange, &["Outboard-Channel: a", "Outboard-Gone: /left"]),
    });
    let mut outboard =
        Outboard::behind(&backend).with_variable("OUTBOARD__BACKEND__MAX_CONNECTIONS", "8").start();
    let streams = crowd(&outboard, 100);

    let status = outboard.stop();

    assert_eq!(status.code(), Some(0));
    assert_eq!(told.load(Ordering::SeqCst), 100);
    drop(streams);
}

#[test]
fn r8_a_drain_says_how_many_the_site_could_not_be_told_of() {
    let backend = Backend::start(|exchange| match exchange.method() {
        "POST" => exchange.wait_until_closed(),
        _ => hand_over(exchange, &["Outboard-Channel: a", "Outboard-Gone: /left"]),
    });
    let mut outboard = Outboard::behind(&backend).start();
    let streams = crowd(&outboard, 20);

    outboard.stop();

    let log = outboard.log();
    assert!(log.contains("could not be told") && log.contains("clients=20"), "{log}");
    drop(streams);
}

#[test]
fn questions_and_notices_that_get_no_answer_leave_room_for_pages_and_for_auth() {
    let backend = Backend::start(|exchange| {
        let is_first = exchange.header("x-original-uri").is_none();
        match exchange.target() {
            "/left" | "/may-stay" => exchange.wait_until_closed(),
            "/may-listen" => exchange.answer("204 No Content", &["Outboard-Channel: news"], ""),
            "/page" => exchange.answer("200 OK", &[], "page"),
            _ if is_first => hand_over(
                exchange,
                &["Outboard-Channel: a", "Outboard-Recheck: 1 /may-stay", "Outboard-Gone: /left"],
            ),
            _ => exchange.cut(),
        }
    });
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend)
        .with_config(route)
        .with_variable("OUTBOARD__BACKEND__MAX_CONNECTIONS", "8")
        .start();
    let mut streams = crowd(&outboard, 40);
    drop(streams.split_off(20));
    // As many of each as there is room for are on their way, and the rest waits.
    let (mut rechecks, mut gone) = (0, 0);
    while rechecks < 4 || gone < 2 {
        let head = backend.next_request();
        rechecks += usize::from(head.starts_with("GET /may-stay "));
        gone += usize::from(head.starts_with("POST /left "));
    }

    assert_eq!(outboard.get("/page").text(), "page");
    let mut news = outboard.subscribe("/news");
    outboard.publish("news", "came through");

    assert_eq!(news.data(), "came through");
    assert_eq!(outboard.publish("a", "x").receivers, 20, "nobody ends because nobody was asked");
}

#[test]
fn a_disconnect_that_comes_while_the_site_is_asked_lets_nobody_in() {
    let (arrived, has_arrived) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let backend = Backend::start(move |exchange| {
        arrived.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        hand_over(exchange, &["Outboard-Channel: a", "Outboard-Subject: alice"]);
    });
    let route = "[[event_route]]\npath = \"/route\"\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();

    for path in ["/any", "/route"] {
        let request = Request::get(path).header("Accept", "text/event-stream");
        std::thread::scope(|scope| {
            let address = outboard.address().to_owned();
            let opened = scope.spawn(move || request.open(&address).into_response());
            has_arrived.recv().unwrap();
            outboard.frames("disconnect: alice\n\n");
            go_on.send(()).unwrap();

            let answer = opened.join().unwrap();
            assert!(
                answer.text().contains("retry: "),
                "{path}: it ends, and comes back to be asked about again"
            );
        });
        assert_eq!(outboard.publish("a", "secret").receivers, 0, "{path}");
    }
}
