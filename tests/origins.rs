//! Pages of other origins on event routes (PROTOCOL 4.2, 4.3.1 and 7: `origins`).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use support::{Backend, Outboard, Request, Response};

const APP: &str = "https://app.example";

const LISTED: &str = "[[event_route]]\npath = \"/events\"\nchannels = [\"a\"]\nauth = \"/may-listen\"\n\
                      origins = [\"https://app.example\", \"https://other.example:443\"]\n";
const UNLISTED: &str = "[[event_route]]\npath = \"/events\"\nchannels = [\"a\"]\nauth = \"/may-listen\"\n";

fn backend() -> Backend {
    Backend::start(|exchange| match (exchange.method().to_owned().as_str(), exchange.header("cookie")) {
        ("OPTIONS", _) => exchange.answer("200 OK", &[], "the site's own"),
        (_, Some("user=joe")) => exchange.answer("204 No Content", &[], ""),
        (_, Some("user=broken")) => exchange.answer("500 No", &[], ""),
        _ => exchange.answer("403 Forbidden", &[], ""),
    })
}

fn event_source(cookie: &str) -> Request {
    Request::get("/events").header("Accept", "text/event-stream").header("Cookie", cookie)
}

fn vary(answer: &Response) -> bool {
    answer.headers.0.iter().any(|(name, value)| name.eq_ignore_ascii_case("vary") && value == "Origin")
}

#[test]
fn a_page_of_a_listed_origin_may_read_streams_refusals_and_the_word_to_come_back() {
    let backend = backend();
    let outboard = Outboard::behind(&backend).with_config(LISTED).start();

    for origin in [APP, "https://other.example"] {
        let stream = outboard.open(&event_source("user=joe").header("Origin", origin)).into_stream();
        assert_eq!(stream.header("access-control-allow-origin"), Some(origin));
        assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
        for (cookie, status) in [("user=anna", 403), ("user=broken", 200)] {
            let answer = outboard.send(&event_source(cookie).header("Origin", origin));
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers.get("access-control-allow-origin"), Some(origin), "{cookie}");
            assert_eq!(answer.headers.get("access-control-allow-credentials"), Some("true"));
            assert!(vary(&answer), "{cookie}");
        }
    }
}

#[test]
fn a_request_of_another_site_s_page_that_carries_cookies_is_refused_unless_its_origin_is_listed() {
    let backend = backend();
    let listed = Outboard::behind(&backend).with_config(LISTED).start();
    let unlisted = Outboard::behind(&backend).with_config(UNLISTED).start();
    let refused = |outboard: &Outboard, lines: &[(&str, &str)]| {
        let request =
            lines.iter().fold(event_source("user=joe"), |request, (name, value)| request.header(name, value));
        let answer = outboard.send(&request);
        assert_eq!(answer.status, 403, "{lines:?}");
        assert_eq!(answer.headers.get("access-control-allow-origin"), None);
    };

    for lines in [
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "https://app.example.evil")],
    ] {
        refused(&listed, lines);
        refused(&unlisted, lines);
    }
    refused(&unlisted, &[("Sec-Fetch-Site", "cross-site"), ("Origin", APP)]);
    assert!(backend.requests_so_far().is_empty(), "nobody was asked");

    let own = format!("http://{}", unlisted.address());
    for (name, value) in
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-site"), ("Origin", &*own)]
    {
        unlisted.open(&event_source("user=joe").header(name, value)).into_stream();
    }
    listed
        .open(&event_source("user=joe").header("Sec-Fetch-Site", "cross-site").header("Origin", APP))
        .into_stream();
}

#[test]
fn a_preflight_for_a_get_is_answered_and_every_other_options_passes() {
    let backend = backend();
    let listed = Outboard::behind(&backend).with_config(LISTED).start();
    let unlisted = Outboard::behind(&backend).with_config(UNLISTED).start();
    let preflight = |origin: &str, method: &str| {
        Request::new("OPTIONS", "/events", "HTTP/1.1")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", "last-event-id")
    };

    let answer = listed.send(&preflight(APP, "GET"));
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers.get("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.headers.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.headers.get("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.headers.get("access-control-allow-headers"), Some("last-event-id"));
    let answer = listed.send(&preflight("https://evil.example", "GET"));
    assert_eq!((answer.status, answer.headers.get("access-control-allow-origin")), (403, None));
    assert!(backend.requests_so_far().is_empty());
    for answer in [
        listed.send(&preflight(APP, "POST")),
        listed.send(&Request::new("OPTIONS", "/events", "HTTP/1.1").header("Origin", APP)),
        unlisted.send(&preflight(APP, "GET")),
    ] {
        assert_eq!(answer.text(), "the site's own");
    }
}

#[test]
fn a_slow_script_s_stream_begins_early_for_a_listed_origin_and_says_who_may_read_it() {
    let backend = Backend::start(|exchange| exchange.wait_until_closed());
    let route =
        "[[event_route]]\npath = \"/slow\"\nopen_after = \"100ms\"\norigins = [\"https://app.example\"]\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let request = Request::get("/slow").header("Accept", "text/event-stream").header("Origin", APP);

    let stream = outboard.open(&request.header("Sec-Fetch-Site", "cross-site")).into_stream();

    assert_eq!(stream.header("access-control-allow-origin"), Some(APP));
    assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
}
