//! What clients are told when the site fails (PROTOCOL 6.9), and what `auth` decides (PROTOCOL 4.2).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use support::{Backend, Outboard, Request, Response};

/// An event route whose channels come from the client's request.
const EVENTS: &str =
    "[[event_route]]\npath = \"/events\"\nchannels = [\"{query.stream}\"]\nauth = \"/may-listen\"\n";

fn event_source(path: &str) -> Request {
    Request::get(path).header("Accept", "text/event-stream")
}

/// The hint of an answer that asks an `EventSource` to come back.
fn hint(answer: &Response) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.headers.get("content-type").unwrap().starts_with("text/event-stream"));
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix("retry: "));
    line.unwrap_or_else(|| panic!("no hint in {text:?}")).parse().unwrap()
}

#[test]
fn f2_only_an_event_source_is_asked_to_come_back_and_everybody_else_gets_the_site_s_own_failure() {
    let backend = Backend::start(|exchange| {
        let status = exchange.target()[1..].replace('-', " ");
        exchange.answer(
            &status,
            &["Content-Type: application/json", "X-Own: 1", "Retry-After: 7"],
            "{\"why\":1}",
        );
    });
    let outboard = Outboard::behind(&backend).start();

    for status in
        ["500 No", "503 Service Unavailable", "429 Too Many Requests", "408 Request Timeout", "425 Too Early"]
    {
        let path = format!("/{}", status.replace(' ', "-"));
        assert!(hint(&outboard.send(&event_source(&path))) >= 7000, "{status}");
        for other in [
            Request::new("POST", &path, "HTTP/1.1")
                .body("{}")
                .header("Accept", "application/json, text/event-stream"),
            Request::new("POST", &path, "HTTP/1.1").body("").header("Accept", "text/event-stream"),
            Request::new("PUT", &path, "HTTP/1.1").body("x").header("Accept", "text/event-stream"),
            Request::new("DELETE", &path, "HTTP/1.1").header("Accept", "application/json, text/event-stream"),
            Request::get(&path).header("Accept", "text/event-stream;q=0"),
            Request::get(&path).header("Accept", "text/event-stream, application/json"),
            Request::get(&path).header("Accept", "text/event-stream").body("x"),
        ] {
            let answer = outboard.send(&other);

            assert_eq!(answer.status, status[..3].parse::<u16>().unwrap(), "{status}");
            assert_eq!(answer.text(), "{\"why\":1}");
            assert_eq!(
                (answer.headers.get("x-own"), answer.headers.get("retry-after")),
                (Some("1"), Some("7"))
            );
        }
    }
}

#[test]
fn f2_a_site_that_hangs_up_or_is_down_is_a_502_with_retry_after_for_all_but_event_sources() {
    let backend = Backend::start(support::backend::Exchange::cut);
    let hanging_up = Outboard::behind(&backend).start();
    let down = Outboard::behind("http://127.0.0.1:9").start();

    for outboard in [&hanging_up, &down] {
        let post = Request::new("POST", "/rpc", "HTTP/1.1").body("{}");
        let answer = outboard.send(&post.header("Accept", "application/json, text/event-stream"));

        assert_eq!((answer.status, answer.headers.get("retry-after")), (502, Some("5")));
        assert!(answer.headers.get("content-type").unwrap().starts_with("application/json"));
        assert!((3000..=4500).contains(&hint(&outboard.send(&event_source("/rpc")))));
    }
}

#[test]
fn a_route_may_have_failures_passed_to_event_sources_too() {
    let route = "[[event_route]]\npath = \"/raw\"\non_failure = \"pass\"\n";
    let backend = Backend::start(|exchange| match exchange.target() {
        "/raw" if exchange.method() == "GET" => exchange.answer("500 No", &["X-Own: 1"], "why"),
        "/raw" => exchange.answer("200 OK", &[], "posted"),
        _ => exchange.answer("500 No", &[], ""),
    });
    let outboard = Outboard::behind(&backend).with_config(route).start();

    let answer = outboard.send(&event_source("/raw"));

    assert_eq!((answer.status, answer.text(), answer.headers.get("x-own")), (500, "why".into(), Some("1")));
    assert_eq!(outboard.send(&Request::new("POST", "/raw", "HTTP/1.1").body("x")).text(), "posted");
    hint(&outboard.send(&event_source("/other")));
}

#[test]
fn f22_retry_after_is_the_least_that_a_client_waits() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(300));
    let by_date = format!("Retry-After: {date}");
    let backend = Backend::start(move |exchange| match exchange.target() {
        "/date" => exchange.answer("503 Service Unavailable", &[&by_date], ""),
        "/may-listen" => exchange.answer("429 Too Many Requests", &["Retry-After: 120"], ""),
        _ => exchange.answer("429 Too Many Requests", &["Retry-After: 120"], ""),
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    for (path, least, most) in
        [("/seconds", 120_000, 180_000), ("/date", 200_000, 450_000), ("/events?stream=a", 120_000, 180_000)]
    {
        let hints: Vec<_> = (0..20).map(|_| hint(&outboard.send(&event_source(path)))).collect();

        assert!(hints.iter().all(|hint| (least..=most).contains(hint)), "{path}: {hints:?}");
        assert!(hints.iter().any(|hint| *hint != hints[0]), "{path} is not spread: {hints:?}");
    }
}

#[test]
fn f34_the_hint_grows_with_the_fault_s_age_by_path_and_begins_anew_with_a_success() {
    let works = std::sync::Arc::new(AtomicBool::new(false));
    let answers = std::sync::Arc::clone(&works);
    let backend = Backend::start(move |exchange| match answers.load(Ordering::SeqCst) {
        false => exchange.answer("500 No", &[], ""),
        true => exchange.answer("200 OK", &["Content-Type: text/event-stream"], "data: x\n\n"),
    });
    let outboard = Outboard::behind(&backend).with_config("[stream]\nretry = \"100ms\"\n").start();
    // Who comes back as often as it is asked to finds the hint doubled, whatever stands behind the question mark.
    let mut hints = Vec::new();
    while hints.last().is_none_or(|&hint| hint < 800) {
        let answer = outboard.send(&event_source(&format!("/a?{}", hints.len())));
        hints.push(hint(&answer));
        assert!(hints.len() < 10_000, "it never grows");
    }

    assert!(hint(&outboard.send(&event_source("/b"))) <= 150, "another path has no such age");
    works.store(true, Ordering::SeqCst);
    outboard.send(&event_source("/a"));
    works.store(false, Ordering::SeqCst);
    assert!(hint(&outboard.send(&event_source("/a"))) <= 150);
    assert!((100..=150).contains(&hints[0]), "{hints:?}");
}

#[test]
fn who_is_asked_to_come_back_from_another_origin_is_let_read_that() {
    let outboard = Outboard::behind("http://127.0.0.1:9").start();

    let answer = outboard.send(&event_source("/any").header("Origin", "https://app.example"));

    hint(&answer);
    assert_eq!(answer.headers.get("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.headers.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(outboard.send(&event_source("/any")).headers.get("access-control-allow-origin"), None);
}

#[test]
fn other_methods_than_get_pass_to_the_site_on_an_event_route_s_path() {
    let backend = Backend::start(|exchange| {
        let method = exchange.method().to_owned();
        exchange.answer("200 OK", &[], &method);
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = Request::new(method, "/events?stream=a", "HTTP/1.1").body("x");
        assert_eq!(outboard.send(&request.header("Accept", "text/event-stream")).text(), method);
    }
}

#[test]
fn f24_a_page_and_a_stream_at_one_address_both_depend_on_accept() {
    let backend = Backend::start(|exchange| match exchange.target() {
        "/may-listen" => exchange.answer("204 No Content", &["Outboard-Channel: a"], ""),
        _ => exchange.answer("200 OK", &["Content-Type: text/html", "Cache-Control: max-age=60"], "page"),
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    let page = outboard.send(&Request::get("/events?stream=a").header("Accept", "text/html,*/*;q=0.8"));
    let stream = outboard.subscribe("/events?stream=a");
    let other = outboard.get("/other");
    let head = Request::new("HEAD", "/events?stream=a", "HTTP/1.1");
    let head = outboard.send(&head.header("Accept", "text/event-stream"));

    assert_eq!((page.text(), page.headers.get("vary")), ("page".into(), Some("Accept")));
    assert_eq!(stream.header("vary"), Some("Accept"));
    assert_eq!(other.headers.get("vary"), None);
    assert_eq!(head.headers.get("vary"), Some("Accept"));
}

#[test]
fn the_cookies_of_an_auth_answer_reach_the_client() {
    let backend = Backend::start(|exchange| {
        let headers = ["Outboard-Channel: a", "Set-Cookie: session=2; Path=/", "X-Other: 1"];
        exchange.answer("204 No Content", &headers, "");
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    let stream = outboard.subscribe("/events?stream=a");

    assert_eq!(stream.header("set-cookie"), Some("session=2; Path=/"));
    assert_eq!(stream.header("x-other"), None);
}

#[test]
fn n5_what_a_client_asks_for_grants_nothing_unless_the_auth_answer_names_it() {
    let backend = Backend::start(|exchange| {
        let channels = match exchange.header("cookie") {
            Some("user=joe") => "Outboard-Channel: user-joe, news, uninvited",
            Some("user=nobody") => "Outboard-Subject: nobody",
            _ => return exchange.answer("403 Forbidden", &[], ""),
        };
        exchange.answer("204 No Content", &[channels], "");
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();
    let open = |streams: &str, cookie: &str| {
        outboard.open(&event_source(&format!("/events?{streams}")).header("Cookie", cookie))
    };

    let _joe = open("stream=user-anna&stream=user-joe", "user=joe").into_stream();

    assert_eq!(outboard.publish("user-joe", "x").receivers, 1);
    for channel in ["user-anna", "news", "uninvited"] {
        assert_eq!(outboard.publish(channel, "x").receivers, 0, "{channel}");
    }
    for (streams, cookie) in [("stream=user-anna", "user=joe"), ("stream=user-nobody", "user=nobody")] {
        assert_eq!(open(streams, cookie).into_response().status, 403, "{streams}");
    }
}

#[test]
fn channels_that_the_configuration_names_need_no_naming() {
    let route =
        "[[event_route]]\npath = \"/news\"\nchannels = [\"news\", \"sport\"]\nauth = \"/may-listen\"\n";
    let backend = Backend::start(|exchange| match exchange.header("cookie") {
        Some("fan") => exchange.answer("204 No Content", &["Outboard-Channel: sport, other"], ""),
        _ => exchange.answer("204 No Content", &[], ""),
    });
    let outboard = Outboard::behind(&backend).with_config(route).start();

    let _all = outboard.subscribe("/news");
    let _fan = outboard.open(&event_source("/news").header("Cookie", "fan")).into_stream();

    let receivers = ["news", "sport", "other"].map(|channel| outboard.publish(channel, "x").receivers);
    assert_eq!(receivers, [1, 2, 0]);
}

#[test]
fn s10_an_auth_answer_that_is_cut_is_never_a_yes() {
    let backend = Backend::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nOutboard-Channel: a\r\nContent-Length: 100\r\n\r\nyes");
        exchange.cut();
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    hint(&outboard.send(&event_source("/events?stream=a")));
    let answer = outboard.get("/events?stream=a");

    assert_eq!(answer.status, 502);
    assert_eq!(outboard.publish("a", "x").receivers, 0);
}

/// An event route whose `auth` answers as the request wishes.
const ANSWERED_AS: &str =
    "[[event_route]]\npath = \"/events\"\nchannels = [\"{query.stream}\"]\nauth = \"/{query.how}\"\n";

fn wait_for_log(outboard: &Outboard, words: &str) {
    outboard.process().wait_for(words, |log| log.contains(words).then_some(()));
}

#[test]
fn s10_an_auth_answer_whose_end_is_not_seen_is_no_answer_however_long_or_slow_it_is() {
    let backend = Backend::start(|exchange| {
        let head = "HTTP/1.1 200 OK\r\nOutboard-Channel: a\r\n";
        let long = "x".repeat(100 << 10);
        match exchange.target() {
            "/cut-late" => exchange.write(format!("{head}Content-Length: 1000000\r\n\r\n{long}")),
            "/without-last-chunk" => {
                exchange.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n19000\r\n{long}\r\n"));
            }
            "/too-long" => {
                let length = 2 << 20;
                exchange.write(format!("{head}Content-Length: {length}\r\n\r\n{}", "x".repeat(length)));
            }
            _ => {
                exchange.write(format!("{head}Content-Length: 3\r\n\r\nye"));
                exchange.wait_until_closed();
            }
        }
        exchange.cut();
    });
    let outboard = Outboard::behind(&backend).with_config(ANSWERED_AS).start();

    let path = |how: &str| format!("/events?stream=a&how={how}");
    for (how, status, word) in [
        ("cut-late", 502, "broke off in the middle of its answer; its own log may say why"),
        ("without-last-chunk", 502, "broke off in the middle of its answer; its own log may say why"),
        ("too-long", 502, "had sent 1048576 bytes"),
        ("too-slow", 504, "did not end it within 5s"),
    ] {
        assert_eq!(outboard.get(&path(how)).status, status, "{how}");
        wait_for_log(&outboard, word);
    }
    for how in ["cut-late", "without-last-chunk", "too-long", "too-slow"] {
        hint(&outboard.send(&event_source(&path(how))));
    }
    assert_eq!(outboard.publish("a", "x").receivers, 0);
}

#[test]
fn s10_an_auth_answer_that_has_come_to_its_end_is_one_whatever_its_body() {
    let backend = Backend::start(|exchange| {
        let channels = "Outboard-Channel: long, no-content, closes";
        match exchange.target() {
            "/long" => exchange.answer("200 OK", &[channels], &"x".repeat(100 << 10)),
            "/no-content" => {
                exchange
                    .write(format!("HTTP/1.1 204 No Content\r\n{channels}\r\nContent-Length: 100\r\n\r\n"));
            }
            // An old server says by closing that this is all: nobody can tell it from one that was cut.
            _ => exchange.write(format!("HTTP/1.0 200 OK\r\n{channels}\r\n\r\nyes")),
        }
        exchange.cut();
    });
    let outboard = Outboard::behind(&backend).with_config(ANSWERED_AS).start();

    for how in ["long", "no-content", "closes"] {
        let path = format!("/events?stream={how}&how={how}");
        let _stream = outboard.subscribe(&path);
        assert_eq!(outboard.publish(how, "x").receivers, 1, "{how}");
        assert_eq!(outboard.send(&Request::new("HEAD", &path, "HTTP/1.1")).status, 200, "{how}");
    }
}

#[test]
fn s10_a_recheck_s_answer_that_is_cut_late_is_asked_again_and_a_no_that_is_cut_is_one() {
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let backend = Backend::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        1 => {
            let long = "x".repeat(100 << 10);
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{long}"));
            exchange.cut();
        }
        2 => {
            exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno");
            exchange.cut();
        }
        _ => exchange.answer("204 No Content", &["Outboard-Recheck: 1"], ""),
    });
    let outboard = Outboard::behind(&backend).with_config(route).start();

    let mut stream = outboard.subscribe("/news");
    wait_for_log(&outboard, "it is not known whether a client may go on listening");

    assert_eq!(stream.rest().len(), 0);
    assert_eq!(backend.requests_so_far().len(), 3);
}

#[test]
fn s10_a_channel_that_is_not_utf_8_is_refused() {
    let backend = Backend::start(|exchange| exchange.answer("204 No Content", &["Outboard-Channel: a"], ""));
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    for query in ["stream=x%ff", "stream=x%fe", "stream=a&stream=%c3"] {
        let answer = outboard.send(&event_source(&format!("/events?{query}")));
        assert_eq!(answer.status, 400, "{query}");
    }
}
