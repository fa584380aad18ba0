//! A second proxy in front of `outboard`: nginx with its default buffering, and Apache.
//!
//! "At once" is shown by order of facts: the next event is published only when the one before has
//! been read, so a proxy that keeps bytes back makes the test stand still and fail.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use support::outboard::subscribe;
use support::{Apache, Backend, Nginx, Outboard, Request, Site, Stream};

const ROUTE: &str = "[[event_route]]\npath = \"/events\"\nchannels = [\"news\"]\nauth = \"none\"\n";

fn each_event_arrives_before_the_next_is_published(outboard: &Outboard, stream: &mut Stream) {
    assert_eq!(stream.status(), 200);
    for number in 0..20 {
        let data = format!("event {number}\n你好");
        assert_eq!(outboard.publish("news", &data).receivers, 1);
        assert_eq!(stream.data(), data);
    }
}

#[test]
fn nginx_with_its_defaults_passes_each_event_on_at_once() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    let nginx = Nginx::plain_in_front_of(&outboard);

    let mut stream = subscribe(&nginx.address(), "/events", None);

    each_event_arrives_before_the_next_is_published(&outboard, &mut stream);
}

#[test]
fn nginx_with_http_1_1_and_compression_passes_each_event_on_at_once() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    let lines = "proxy_http_version 1.1; proxy_set_header Connection \"\"; gzip on; gzip_proxied any; \
                 gzip_min_length 1; gzip_types text/css;";
    let nginx = Nginx::with_location(&outboard.url(), lines);

    let mut stream = subscribe(&nginx.address(), "/events", None);

    each_event_arrives_before_the_next_is_published(&outboard, &mut stream);
}

#[test]
fn the_nginx_configuration_we_ship_passes_pages_and_events() {
    let backend = Backend::start(|exchange| {
        let seen = exchange.head.clone();
        exchange.answer("200 OK", &["Content-Type: text/plain"], &seen);
    });
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    let nginx = Nginx::in_front_of(&outboard);

    let page = Request::get("/a%2Fb?c").header("Host", "www.example.org").send(&nginx.address());
    let mut stream = subscribe(&nginx.address(), "/events", None);

    assert!(page.text().starts_with("GET /a%2Fb?c HTTP/1.1\r\n"), "{}", page.text());
    assert!(page.text().to_lowercase().contains("\r\nhost: www.example.org\r\n"), "{}", page.text());
    each_event_arrives_before_the_next_is_published(&outboard, &mut stream);
}

#[test]
fn a_backend_s_own_stream_passes_nginx_as_it_is_written() {
    let (sender, receiver) = std::sync::mpsc::channel::<String>();
    let receiver = std::sync::Mutex::new(receiver);
    let backend = Backend::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        for data in receiver.lock().unwrap().iter() {
            exchange.write(format!("data: {data}\n\n"));
        }
        exchange.cut();
    });
    let outboard = Outboard::behind(&backend).start();
    let nginx = Nginx::plain_in_front_of(&outboard);

    let mut stream = subscribe(&nginx.address(), "/stream.php", None);
    for number in 0..10 {
        sender.send(number.to_string()).unwrap();
        assert_eq!(stream.data(), number.to_string());
    }
    drop(sender);
    assert_eq!(stream.next_or_end(), None);
}

#[test]
fn the_apache_configuration_we_ship_passes_pages_and_events() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    let apache = Apache::in_front_of(&outboard);

    let page = Request::get("/").header("Host", "www.example.org").send(&apache.address());
    let mut stream = subscribe(&apache.address(), "/events", None);

    assert_eq!(page.text(), "hello\n");
    assert!(backend.next_request().to_lowercase().contains("\r\nhost: www.example.org"));
    each_event_arrives_before_the_next_is_published(&outboard, &mut stream);
}

#[test]
fn a_stream_resumes_through_nginx_with_nothing_lost_or_doubled() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    let nginx = Nginx::plain_in_front_of(&outboard);
    let mut stream = subscribe(&nginx.address(), "/events", None);
    outboard.publish("news", "one");
    let one = stream.next();

    drop(stream);
    outboard.publish("news", "two");
    outboard.publish("news", "three");
    let mut stream = subscribe(&nginx.address(), "/events", Some(&one.id));

    assert_eq!(stream.data(), "two");
    assert_eq!(stream.data(), "three");
    outboard.publish("news", "four");
    assert_eq!(stream.data(), "four");
}
