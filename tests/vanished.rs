//! Clients that vanish without an end: nothing that is sent to them is answered any more (PROTOCOL 4.3).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use support::backend::Exchange;
use support::{Backend, Outboard};

/// Asks for a path, reads a little of the answer, says so, and then lets nothing in any more, as a machine that was
/// switched off: an empty filter on its socket drops whatever comes.
const VANISHING: &str = r#"
import ctypes, socket, struct, sys, time
host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pauses = len(sys.argv) > 4
client = socket.create_connection((host, port))
if pauses:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
request = 'GET %s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n' % path
client.sendall(request.encode())
client.recv(100)
if not pauses:
    drop = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
    program = struct.pack('HL', 1, ctypes.addressof(drop))
    client.setsockopt(socket.SOL_SOCKET, 26, program)
print('gone', flush=True)
time.sleep(600)
"#;

struct Client(Child);

impl Client {
    fn start(outboard: &Outboard, path: &str, more: &[&str]) -> Self {
        let (host, port) = outboard.address().rsplit_once(':').unwrap();
        let mut python = Command::new("python3");
        python.args(["-c", VANISHING, host, port, path]).args(more).stdout(Stdio::piped());
        let mut client = Self(python.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(client.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "gone\n");
        client
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes until the other side takes no more, or has gone; whether it is gone within so long.
fn write_until_gone(exchange: &mut Exchange, text: &str, pause: Duration, limit: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if !exchange.try_write(text, pause) {
            return true;
        }
    }
    false
}

#[test]
fn f9_the_site_hears_within_a_minute_that_a_client_has_vanished_and_nothing_of_one_that_pauses() {
    let (ended, ends) = channel();
    let backend = Backend::start(move |exchange| {
        let path = exchange.target().to_owned();
        let length = if path.starts_with("/download") { "Content-Length: 1000000000\r\n" } else { "" };
        let kind = if length.is_empty() { "text/event-stream" } else { "application/octet-stream" };
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{length}\r\ndata: first\n\n"));
        let begun = Instant::now();
        let limit = Duration::from_secs(66);
        let is_gone = match path.as_str() {
            "/silent" => exchange.is_closed_within(limit),
            "/ticking" => write_until_gone(exchange, "data: x\n\n", Duration::from_secs(1), limit),
            _ => write_until_gone(exchange, &"x".repeat(65_536), Duration::ZERO, limit),
        };
        ended.send((path, is_gone, begun.elapsed())).unwrap();
    });
    let outboard = Outboard::behind(&backend).start();
    let vanished = ["/silent", "/ticking", "/download"];

    let clients: Vec<_> = vanished.iter().map(|path| Client::start(&outboard, path, &[])).collect();
    let pausing = Client::start(&outboard, "/download-paused", &["pauses"]);

    for _ in 0..4 {
        let (path, is_gone, after) = ends.recv_timeout(Duration::from_secs(120)).unwrap();
        let is_paused = path == "/download-paused";
        assert_eq!(is_gone, !is_paused, "{path} after {after:?}");
        assert!(is_paused || after < Duration::from_secs(65), "{path} after {after:?}");
    }
    drop((clients, pausing));
}
