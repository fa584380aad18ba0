//! Connections to the site that belong to one client: where the site authenticates the connection, and where
//! each client is introduced to it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::backend::Exchange;
use support::{Apache, Backend, DEADLINE, Outboard};

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(outboard: &Outboard) -> Self {
        Self::from("127.0.0.1", outboard)
    }

    /// One with this address of the machine.
    fn from(ip: &str, outboard: &Outboard) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&format!("{ip}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&outboard.address().parse::<SocketAddr>().unwrap().into()).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(socket))
    }

    /// Sends a request with these lines; the answer's head.
    fn head(&mut self, path: &str, lines: &[&str]) -> String {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "the connection ends: {head}");
        }
        head
    }

    /// The answer's head and its body.
    fn get(&mut self, path: &str, lines: &[&str]) -> (String, String) {
        let head = self.head(path, lines);
        let mut body = Vec::new();
        if head.to_lowercase().contains("\r\ntransfer-encoding: chunked") {
            while self.piece(&mut body) > 0 {}
        } else {
            let length = head.to_lowercase();
            let length =
                length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            body.resize(length.unwrap_or(0), 0);
            self.0.read_exact(&mut body).unwrap();
        }
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads a chunk; how long it is.
    fn piece(&mut self, body: &mut Vec<u8>) -> usize {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        size
    }

    fn body(&mut self, path: &str, lines: &[&str]) -> String {
        self.get(path, lines).1
    }
}

/// A site that knows who is at the other end of a connection once they have logged in over it, in
/// `rounds` rounds of `scheme`.
fn authenticating(scheme: &'static str, rounds: usize) -> Backend {
    #[derive(Default)]
    struct Session {
        rounds: usize,
        user: Option<String>,
    }
    let sessions: Mutex<HashMap<SocketAddr, Session>> = Mutex::default();
    Backend::start(move |exchange: &mut Exchange| {
        let mut sessions = sessions.lock().unwrap();
        let session = sessions.entry(exchange.connection()).or_default();
        let said =
            exchange.header("authorization").and_then(|value| value.strip_prefix(scheme)).map(str::to_owned);
        if let Some(user) = said {
            session.rounds += 1;
            if session.rounds < rounds {
                let challenge = format!("WWW-Authenticate: {scheme} round-{}", session.rounds);
                return exchange.answer("401 Unauthorized", &[&challenge], "go on");
            }
            (session.rounds, session.user) = (0, Some(user.trim().to_owned()));
        }
        match session.user.clone() {
            None => exchange.answer("401 Unauthorized", &[&format!("WWW-Authenticate: {scheme}")], "who?"),
            Some(_) if exchange.target().starts_with("/may-listen") => {
                exchange.answer("200 OK", &["Outboard-Channel: news", "Outboard-Recheck: 1"], "");
            }
            Some(user) => exchange.answer("200 OK", &[], &format!("hello {user}")),
        }
    })
}

fn nobody_else_is_the_user_who_has_logged_in(scheme: &'static str, rounds: usize) {
    let backend = authenticating(scheme, rounds);
    let outboard = Outboard::behind(&backend).start();
    let (mut anna, mut other) = (Client::of(&outboard), Client::of(&outboard));
    let credentials = format!("Authorization: {scheme} anna");

    assert_eq!(other.body("/", &[]), "who?");
    assert_eq!(anna.body("/", &[]), "who?");
    for _ in 1..rounds {
        assert_eq!(anna.body("/", &[&credentials]), "go on");
        assert_eq!(other.body("/", &[]), "who?");
    }
    assert_eq!(anna.body("/", &[&credentials]), "hello anna");

    for _ in 0..3 {
        assert_eq!(other.body("/", &[]), "who?");
        assert_eq!(Client::of(&outboard).body("/", &[]), "who?");
        assert_eq!(anna.body("/", &[]), "hello anna");
    }
}

#[test]
fn a_log_in_by_ntlm_stays_with_its_client() {
    nobody_else_is_the_user_who_has_logged_in("NTLM", 2);
}

#[test]
fn a_log_in_by_negotiate_in_several_rounds_stays_with_its_client() {
    nobody_else_is_the_user_who_has_logged_in("Negotiate", 3);
}

#[test]
fn a_log_in_by_kerberos_in_a_single_round_stays_with_its_client() {
    nobody_else_is_the_user_who_has_logged_in("Negotiate", 1);
}

#[test]
fn a_ticket_in_the_first_request_of_all_ties_its_connection() {
    let backend = authenticating("Negotiate", 1);
    let outboard = Outboard::behind(&backend).start();
    let (mut anna, mut other) = (Client::of(&outboard), Client::of(&outboard));

    assert_eq!(anna.body("/", &["Authorization: Negotiate anna"]), "hello anna");

    assert_eq!(other.body("/", &[]), "who?");
    assert_eq!(anna.body("/", &[]), "hello anna");
}

#[test]
fn the_connection_of_a_client_that_leaves_is_closed() {
    let backend = authenticating("NTLM", 1);
    let outboard = Outboard::behind(&backend).start();
    let mut anna = Client::of(&outboard);
    assert_eq!(anna.body("/", &["Authorization: NTLM anna"]), "hello anna");

    drop(anna);

    backend.next_closed();
}

#[test]
fn whether_such_a_client_may_listen_is_asked_over_its_own_connection_and_asked_again() {
    let backend = authenticating("NTLM", 2);
    let route = "[[event_route]]\npath = \"/events\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let mut anna = Client::of(&outboard);
    assert_eq!(anna.body("/", &["Authorization: NTLM anna"]), "go on");
    assert_eq!(anna.body("/", &["Authorization: NTLM anna"]), "hello anna");
    assert_eq!(backend.requests_so_far().len(), 2);

    let stranger = Client::of(&outboard).head("/events", &["Accept: text/event-stream"]);
    let head = anna.head("/events", &["Accept: text/event-stream"]);

    assert!(stranger.starts_with("HTTP/1.1 401 "), "{stranger}");
    assert!(stranger.to_lowercase().contains("\r\nwww-authenticate: ntlm"), "{stranger}");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // The stranger's question, hers, and two more about her: she is still let listen after the first of them.
    for _ in 0..4 {
        assert!(backend.next_request().starts_with("GET /may-listen"));
    }
    assert_eq!(outboard.publish("news", "still there").receivers, 1);
}

/// Scripts that say who asks.
fn site(version: &str) -> (Outboard, Apache) {
    let more =
        "LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\nRemoteIPProxyProtocol On\n";
    let trusted = "[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let builder =
        Outboard::prepare().with_variable("OUTBOARD__BACKEND__PROXY_PROTOCOL", version).with_config(trusted);
    let apache = Apache::with_site_and(&builder.socket(), more);
    let who = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$REMOTE_ADDR\"\n";
    support::folder::write_script(&apache.www(), "who.sh", who);
    (builder.in_front_of(&apache).start(), apache)
}

#[test]
fn apache_is_told_each_clients_own_address_by_the_proxy_protocol() {
    for version in ["v1", "v2"] {
        let (outboard, _apache) = site(version);
        let mut clients = ["127.0.0.7", "127.0.0.8"].map(|ip| (ip, Client::from(ip, &outboard)));

        for _ in 0..3 {
            for (ip, client) in &mut clients {
                let (head, seen) = client.get("/who.sh", &[]);
                assert_eq!(seen.trim(), *ip, "{version}: {head}");
            }
        }
    }
}

#[test]
fn a_trusted_proxy_that_speaks_for_several_over_one_connection_has_each_introduced() {
    let (outboard, _apache) = site("v1");
    let mut proxy = Client::of(&outboard);

    for ip in ["192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8::1", "192.0.2.7"] {
        let (head, seen) = proxy.get("/who.sh", &[&format!("X-Forwarded-For: {ip}")]);
        assert_eq!(seen.trim(), ip, "{head}");
    }
}

/// Asks a site whose answers have this `Keep-Alive`, one time after the other, until a connection to it is used
/// again, or for a while in which that would have happened; whether one was.
fn is_used_again(keep_alive: &'static str) -> bool {
    let backend = Backend::start(move |exchange| {
        exchange.answer("200 OK", &[&format!("Keep-Alive: {keep_alive}")], "ok")
    });
    let outboard = Outboard::behind(&backend).start();
    let mut client = Client::of(&outboard);
    let begun = Instant::now();
    // A connection rests for a moment before it is used again.
    for asked in 1.. {
        assert_eq!(client.body("/", &[]), "ok");
        if backend.connections() < asked {
            return true;
        }
        if begun.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    false
}

#[test]
fn a_connection_that_the_site_is_about_to_close_is_not_used_again() {
    assert!(is_used_again("timeout=5"));
    assert!(is_used_again("max=100"));
    assert!(!is_used_again("timeout=0, max=100"));
}
