//! What keeps running whatever is done to it: logs that cannot be written, signals, repetition.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use support::http::Request;
use support::{Backend, DEADLINE, Outboard, Site};
use tempfile::TempDir;

/// An outboard whose standard error is something of the test's, which so cannot be waited for.
struct Deaf {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Deaf {
    fn start(backend: &Backend, stderr: impl Into<Stdio>, more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let address = format!("127.0.0.1:{}", support::ports::free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args(["--to", &backend.url(), "--listen", &address, "--socket"]);
        command.arg(folder.path().join("p.sock")).args(more);
        command.env("RUST_LOG", "debug").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let deaf = Self { child: command.spawn().unwrap(), address, _folder: folder };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(&deaf.address).is_err() {
            assert!(Instant::now() < deadline, "it never listens");
            std::thread::yield_now();
        }
        deaf
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn is_served(&self) -> bool {
        Request::get("/").send(&self.address).status == 200
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests that each log a line at this level.
fn many_logged(address: &str) {
    for _ in 0..60 {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"nonsense\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    }
}

#[test]
fn a_log_that_cannot_be_written_harms_nobody() {
    let backend = Backend::greeting();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let (_nobody, unread) = std::io::pipe().unwrap();
    for stderr in [Stdio::from(full()), Stdio::from(closed), Stdio::from(unread)] {
        let mut outboard = Deaf::start(&backend, stderr, &[]);

        for _ in 0..20 {
            many_logged(&outboard.address);
        }
        outboard.signal(Signal::HUP);
        many_logged(&outboard.address);

        assert!(outboard.is_served());
        outboard.signal(Signal::TERM);
        assert!(outboard.child.wait().unwrap().success());
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew_on_usr1() {
    let backend = Backend::greeting();
    let folder = TempDir::new().unwrap();
    let (log, moved) = (folder.path().join("outboard.log"), folder.path().join("outboard.log.1"));
    let outboard =
        Outboard::behind(&backend).with_config(&format!("[log]\nfile = {log:?}\n")).start_quietly(&log);
    assert!(read(&log).contains("taking events"));

    std::fs::rename(&log, &moved).unwrap();
    outboard.process().signal(Signal::USR1);

    wait_for("a line in the new file", || read(&log).contains("opened anew"));
    assert_eq!(outboard.log(), "", "standard error stays empty");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_said_at_the_start_and_by_check() {
    let folder = TempDir::new().unwrap();
    for word in ["run", "check"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args([word, "--to", "http://127.0.0.1:9", "--socket"]).arg(folder.path().join("p.sock"));
        command.env("OUTBOARD__LOG__FILE", "/nowhere/outboard.log");

        let output = command.output().unwrap();

        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("cannot open the log file /nowhere/outboard.log"), "{told}");
    }
}

#[test]
fn the_signals_of_other_servers_are_safe() {
    let backend = Backend::greeting();
    let mut outboard = Outboard::behind(&backend).start();

    outboard.process().signal(Signal::USR1);
    outboard.process().signal(Signal::USR2);

    outboard.process().wait_for("that it cannot upgrade yet", |line| line.contains("upgrade").then_some(()));
    assert_eq!(outboard.get("/").status, 200);
    outboard.process().signal(Signal::QUIT);
    outboard.process().wait_for("that it drains", |line| line.contains("draining").then_some(()));
    assert!(outboard.stopped().success());
}

#[test]
fn a_backend_that_is_down_fills_no_log() {
    let mut outboard = Outboard::behind("http://127.0.0.1:9").start();

    for _ in 0..100 {
        assert_eq!(outboard.get("/page").status, 502);
    }
    outboard.stop();

    let log = outboard.log();
    let lines = log.lines().filter(|line| line.contains("ERROR") && line.contains("/page")).count();
    assert!((1..=10).contains(&lines), "{log}");
    assert!(
        log.contains("more lines were left out") && log.contains(&format!("lines={}", 100 - lines)),
        "{log}"
    );
}

#[test]
fn each_of_many_addresses_is_named_at_the_start() {
    let backend = Backend::greeting();
    let ports: Vec<_> = (0..8).map(|_| support::ports::free()).collect();
    let addresses: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();

    let outboard = Outboard::behind(&backend)
        .with_variable("OUTBOARD__LISTEN", &format!("[{}]", addresses.join(", ")))
        .start();

    outboard.process().wait_for("that it runs", |line| line.contains("taking events").then_some(()));
    for port in ports {
        assert!(outboard.log().contains(&format!("address=127.0.0.1:{port}")), "{}", outboard.log());
    }
}

#[test]
fn whoever_is_refused_is_one_line_with_client_method_and_path() {
    let backend = Backend::greeting();
    let route = "[[event_route]]\npath = \"/events\"\nchannels = [\"{query.c}\"]\nauth = \"none\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let refused = |request: &str, expected: &[&str]| {
        let mut socket = TcpStream::connect(outboard.address()).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"), "{answer:?}");
        let client = socket.local_addr().unwrap().ip().to_string();
        outboard.process().wait_for(request, |line| {
            (line.contains(&client) && expected.iter().all(|part| line.contains(part))).then_some(())
        });
    };

    refused("GET /a HTTP/1.1\r\n\r\n", &["GET", "/a", "400"]);
    refused("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /a b"]);
    refused("TRACE /t HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["TRACE", "/t", "405"]);
    refused("GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET", "/events", "400"]);
    refused("GET /q?token=s3cret HTTP/9\r\n\r\n", &["GET /q..."]);
    refused(
        "POST /p?token=s3cret HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        &["POST /p", "400"],
    );
    assert!(!outboard.log().contains("s3cret"), "{}", outboard.log());
}

const EVENTS: &str =
    "[[event_route]]\npath = \"/events\"\nchannels = [\"{query.c}\"]\nauth = \"none\"\nreplay = \"all\"\n";

#[test]
fn a_publishers_id_with_blanks_in_it_resumes() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();
    let script =
        "channel: log\n\nid: 2010-06-08 12:00:00\ndata: one\n\nid: 2010-06-08 12:00:01\ndata: two\n\n";
    assert!(outboard.frames(script).iter().all(|reply| reply.starts_with("ok")));

    let mut stream = outboard.resume("/events?c=log", "2010-06-08 12:00:00");
    let by_header = stream.next();
    let mut stream = outboard.subscribe("/events?c=log&lastEventId=2010-06-08+12:00:00");
    let by_query = stream.next();

    assert_eq!((by_header.id.as_str(), by_header.data.as_str()), ("2010-06-08 12:00:01", "two"));
    assert_eq!(by_query.data, "two");
}

#[test]
fn what_a_script_printed_to_browsers_is_published_after_lenient_on() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();
    let printed = "    event: tick\n    retry: 3000ms\n    X-Progress: 1\n    data: 50\n\n";
    let mut stream = outboard.subscribe("/events?c=job");

    assert!(outboard.frames(format!("channel: job\n\n{printed}"))[1].starts_with("error unknown-field"));
    let replies = outboard.frames(format!("channel: job\nlenient: on\n\n{printed}"));

    assert!(replies[1].starts_with("ok "), "{replies:?}");
    let event = stream.next();
    assert_eq!((event.name.as_str(), event.data.as_str()), ("tick", "50"));
    outboard.process().wait_for("what was left out", |line| line.contains("lines=2").then_some(()));
}

#[test]
fn nobody_names_a_channel_of_outboards_own() {
    let backend = Backend::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nOutboard-Channel: @share/x\r\nContent-Length: 0\r\n\r\n");
    });
    let outboard = Outboard::behind(&backend).with_config(EVENTS).start();

    assert!(outboard.frames("channel: @share/x\ndata: 1\n\n")[0].starts_with("error forbidden "));
    let request = Request::get("/events?c=%40share/x").header("Accept", "text/event-stream");
    assert_eq!(outboard.send(&request).status, 400);
    assert_eq!(outboard.get("/handoff").status, 502);
    let client = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        let output = command.args(arguments).env("OUTBOARD_SOCKET", outboard.socket()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = client(&["publish", "@share/x", "1"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("outboard's own"), "{told}");
}
