//! Who the client is, as the site behind sees it: nginx with TLS, or Apache, in front of `outboard` in front
//! of Apache.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use support::{Apache, Backend, Haproxy, Nginx, Outboard, Request, Site};

const TRUSTED: &str = "[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n";

/// Backends that answer with the head of the request.
fn mirror() -> Backend {
    Backend::start(|exchange| {
        let seen = exchange.head.clone();
        exchange.answer("200 OK", &["Content-Type: text/plain"], &seen);
    })
}

/// The values of all lines of this name.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let line = |line: &'a str| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name));
    head.lines().filter_map(line).map(|(_, value)| value).collect()
}

/// Waits until the log says this; all that it has said by then.
fn said(outboard: &Outboard, words: &str) -> String {
    outboard.process().wait_for(words, |line| line.contains(words).then_some(()));
    outboard.log()
}

/// A site as it stands behind a proxy that ends TLS. `tests/browser/behind_tls.test.mjs` runs it, too.
const SITE: &str = include_str!("support/behind_tls.conf");

const WHO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n\
                   echo \"$REMOTE_ADDR HTTPS=$HTTPS $HTTP_X_FORWARDED_PROTO $HTTP_HOST\"\n";

fn site_with_who(outboard: &support::outboard::Builder) -> Apache {
    let apache = Apache::with_site_and(&outboard.socket(), SITE);
    for name in ["who.sh", "inside.sh"] {
        support::folder::write_script(&apache.www(), name, WHO);
    }
    apache
}

/// What `curl` gets through TLS from this address.
fn curl(nginx: &Nginx, path: &str, from: &str) -> String {
    let url = format!("https://{}{path}", nginx.address());
    // The server in front believes its own front, so that a test has clients of many addresses.
    let from = format!("X-Forwarded-For: {from}");
    let curl = ["-sk", "-L", "--max-redirs", "5", "--max-time", "20", "-w", "%{http_code} %{num_redirects}"];
    let out = std::process::Command::new("curl").args(curl).args(["-H", &from, &url]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn behind_nginx_with_tls_the_site_sees_clients_and_https_as_without_outboard() {
    let builder = Outboard::prepare().with_config(TRUSTED);
    let apache = site_with_who(&builder);
    let outboard = builder.in_front_of(&apache).start();
    let nginx = Nginx::with_tls_in_front_of(&outboard.url());
    let host = nginx.address();

    let page = curl(&nginx, "/who.sh", "192.0.2.7");
    let inside = curl(&nginx, "/inside.sh", "192.0.2.8");
    let outside = curl(&nginx, "/inside.sh", "198.51.100.1");

    assert_eq!(page, format!("192.0.2.7 HTTPS=on https {host}\n200 0"));
    assert_eq!(inside, format!("192.0.2.8 HTTPS=on https {host}\n200 0"));
    assert!(outside.ends_with("403 0"), "{outside}");
}

#[test]
fn a_proxy_that_is_not_trusted_is_named_once_with_the_line_to_write() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).start();
    let nginx = Nginx::in_front_of(&outboard);

    let seen = Request::get("/").send(&nginx.address()).text();
    Request::get("/").send(&nginx.address());

    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&seen, "x-forwarded-host"), [""; 0]);
    let log = said(&outboard, "trusted_proxies");
    assert_eq!(log.matches(r#"write trusted_proxies = ["127.0.0.1"] in [proxy]"#).count(), 1, "{log}");
}

#[test]
fn what_the_shipped_nginx_says_reaches_the_site_once_it_is_trusted() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).with_config(TRUSTED).start();
    let nginx = Nginx::in_front_of(&outboard);

    let seen = Request::get("/").header("Host", "www.example.org").send(&nginx.address()).text();

    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1, 127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&seen, "x-forwarded-host"), ["www.example.org"]);
    let id = values(&seen, "x-request-id");
    assert!(id.len() == 1 && id[0].len() == 32, "nginx's own: {id:?}");
    assert!(!outboard.log().contains("not believed"), "{}", outboard.log());
}

#[test]
fn the_shipped_apache_says_how_the_client_came() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).with_config(TRUSTED).start();
    let apache = Apache::in_front_of(&outboard);

    let seen = Request::get("/").header("X-Forwarded-For", "6.6.6.6").send(&apache.address()).text();

    assert_eq!(values(&seen, "x-forwarded-for"), ["6.6.6.6, 127.0.0.1, 127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
}

#[test]
fn a_client_cannot_say_who_it_is_in_any_spelling() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).start();
    let mut request = Request::get("/");
    for name in [
        "X-Forwarded-For",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Client-IP",
        "X-Original-URL",
        "Client-IP",
    ] {
        request = request.header(name, "6.6.6.6");
    }

    let seen = outboard.send(&request.header("Front-End-Https", "on")).text();

    assert!(!seen.contains("6.6.6.6") && !seen.to_lowercase().contains("front-end"), "{seen}");
}

#[test]
fn ninety_five_lines_of_a_client_reach_apache() {
    let builder = Outboard::prepare();
    let apache = Apache::with_site(&builder.socket());
    let outboard = builder.in_front_of(&apache).start();
    let request = (0..94)
        .fold(Request::get("/hello.sh"), |request, number| request.header(&format!("X-Line-{number}"), "1"));

    let (through, directly) = (outboard.send(&request), request.send(&apache.address()));

    assert_eq!((through.status, directly.status), (200, 200), "{}", through.text());
}

#[test]
fn a_header_that_is_not_passed_on_is_named_once_and_passes_when_the_operator_says_so() {
    let backend = mirror();
    let silent = Outboard::behind(&backend).start();
    let told = Outboard::behind(&backend).with_config("[proxy]\npass_headers = [\"X_Api_Key\"]\n").start();
    let request = Request::get("/").header("X_Api_Key", "1");

    for _ in 0..2 {
        assert_eq!(values(&silent.send(&request).text(), "x_api_key"), [""; 0]);
    }
    assert_eq!(values(&told.send(&request).text(), "x_api_key"), ["1"]);

    let log = said(&silent, "pass_headers");
    assert_eq!(log.matches(r#"write pass_headers = ["X_Api_Key"] in [proxy]"#).count(), 1, "{log}");
    assert!(!told.log().contains("pass_headers"));
}

#[test]
fn nginx_as_the_site_compresses_as_it_does_without_outboard() {
    let lines = "gzip on; gzip_types text/plain; gzip_min_length 100; \
                 server { listen 127.0.0.1:{port}; default_type text/plain; root {folder}; }";
    let nginx = Nginx::start(lines);
    let page = "hello\n".repeat(10_000);
    support::folder::write(nginx.folder(), "page.txt", &page);
    let outboard = Outboard::behind(&nginx).start();
    let request = Request::get("/page.txt").header("Accept-Encoding", "gzip");

    let (through, directly) = (outboard.send(&request), request.send(&nginx.address()));

    assert_eq!(through.headers.get("content-encoding"), Some("gzip"));
    assert_eq!(through.body.len(), directly.body.len());
}

/// What a client gets that says these bytes ahead of its request.
fn introduced(outboard: &Outboard, introduction: &[u8]) -> String {
    let mut socket = TcpStream::connect(outboard.address()).unwrap();
    socket.set_read_timeout(Some(support::DEADLINE)).unwrap();
    socket
        .write_all(&[introduction, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat())
        .unwrap();
    let mut answer = String::new();
    // A connection that is not served may also be broken off.
    let _ = socket.read_to_string(&mut answer);
    answer
}

const INTRODUCED: &str = "[proxy]\ntrusted_proxies = [\"127.0.0.1\", \"unix\"]\nproxy_protocol = true\n";

#[test]
fn a_client_that_haproxy_introduces_is_known_by_its_address_in_both_versions() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).with_config(INTRODUCED).start();
    for how in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::in_front_of(outboard.address(), how);

        // HAProxy itself comes from 127.0.0.1, its client from another address of this machine.
        let seen = haproxy.ask_from("127.0.0.7", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

        assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.7"], "{how}: {seen}");
    }
}

#[test]
fn an_introduction_says_who_the_client_is_and_that_it_came_through_tls() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).with_config(INTRODUCED).start();

    let seen = introduced(&outboard, b"PROXY TCP4 192.0.2.7 10.0.0.1 4386 443\r\n");
    let local = introduced(&outboard, b"PROXY UNKNOWN\r\n");

    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&local, "x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn nobody_gets_in_without_an_introduction_or_from_elsewhere() {
    let backend = mirror();
    let outboard = Outboard::behind(&backend).with_config(INTRODUCED).start();
    let elsewhere = INTRODUCED.replace("127.0.0.1", "10.0.0.0/8");
    let strict = Outboard::behind(&backend).with_config(&elsewhere).start();

    assert_eq!(introduced(&outboard, b""), "");
    assert_eq!(introduced(&strict, b"PROXY TCP4 192.0.2.7 10.0.0.1 4386 443\r\n"), "");

    said(&outboard, "does not begin with a PROXY header");
    said(&strict, "not among `trusted_proxies`");
    assert!(backend.requests_so_far().is_empty());
}

#[test]
fn an_introduction_that_does_not_come_is_not_waited_for_for_long() {
    let backend = mirror();
    let config = format!("{INTRODUCED}[limits]\nheader_timeout = \"50ms\"\n");
    let outboard = Outboard::behind(&backend).with_config(&config).start();
    let mut socket = TcpStream::connect(outboard.address()).unwrap();
    socket.set_read_timeout(Some(support::DEADLINE)).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.7 ").unwrap();

    assert!(matches!(socket.read(&mut [0; 9]), Ok(0) | Err(_)));

    said(&outboard, "within `header_timeout`");
}

#[test]
fn clients_come_in_through_a_unix_socket_too_with_the_mode_of_the_publish_socket() {
    let backend = mirror();
    let folder = support::folder::shared();
    let path = folder.path().join("http.sock");
    let listen = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let trusted = "[proxy]\ntrusted_proxies = [\"unix\"]\n";
    let outboard =
        Outboard::behind(&backend).with_variable("OUTBOARD__LISTEN", &listen).with_config(trusted).start();
    let nginx = Nginx::with_tls_in_front_of(&format!("unix:{}", path.display()));

    let seen = curl(&nginx, "/", "192.0.2.7");
    let direct = Request::get("/").header("Connection", "close").send_to_socket_half_open(&path).text();
    let tcp = Request::get("/").header("X-Forwarded-For", "6.6.6.6").send(outboard.address()).text();

    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&direct, "x-forwarded-for"), [""; 0], "nobody has an address there");
    assert_eq!(values(&tcp, "x-forwarded-for"), ["127.0.0.1"]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_stream_is_held_over_a_unix_socket_of_ours() {
    let backend = mirror();
    let folder = support::folder::shared();
    let path = folder.path().join("http.sock");
    let listen = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let route = "[[event_route]]\npath = \"/events\"\nchannels = [\"news\"]\nauth = \"none\"\n";
    let outboard =
        Outboard::behind(&backend).with_variable("OUTBOARD__LISTEN", &listen).with_config(route).start();
    let nginx = Nginx::with_location(&format!("http://unix:{}:", path.display()), "");

    let mut stream = support::outboard::subscribe(&nginx.address(), "/events", None);

    assert_eq!(stream.status(), 200);
    assert_eq!(outboard.publish("news", "one").receivers, 1);
    assert_eq!(stream.data(), "one");
}

#[test]
fn a_redirect_to_the_sites_own_address_goes_to_where_the_client_is() {
    let lines = "server { listen 127.0.0.1:{port}; server_name_in_redirect on; server_name 127.0.0.1; \
                 location = /old { return 302 http://127.0.0.1:{port}/target.html?a; } \
                 location = /old-too { add_header Refresh \"0; url=http://localhost:{port}/target.html\"; \
                 add_header Content-Location http://127.0.0.1:{port}/b; return 200 ''; } \
                 location = /elsewhere { return 302 http://127.0.0.1:1/; } }";
    let site = Nginx::start(lines);
    let outboard = Outboard::behind(&site).start();
    let config = "[proxy]\nrewrite_locations = false\n";
    let untouched = Outboard::behind(&site).with_config(config).start();
    let header = |outboard: &Outboard, path: &str, name: &str| {
        outboard.get(path).headers.get(name).unwrap_or_default().to_owned()
    };

    assert_eq!(header(&outboard, "/old", "location"), "/target.html?a");
    assert_eq!(header(&outboard, "/old-too", "refresh"), "0; url=/target.html");
    assert_eq!(header(&outboard, "/old-too", "content-location"), "/b");
    assert_eq!(header(&outboard, "/elsewhere", "location"), "http://127.0.0.1:1/");
    assert_eq!(header(&untouched, "/old", "location"), format!("http://{}/target.html?a", site.address()));
}
