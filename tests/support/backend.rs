//! A backend that does exactly what a test tells it to, byte by byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{DEADLINE, Site};

/// A listener that hands every request to a script.
pub struct Backend {
    address: String,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    /// How many connections were made to it.
    made: Arc<AtomicUsize>,
    /// Those that live, by their numbers.
    connections: Arc<Mutex<BTreeMap<usize, TcpStream>>>,
    requests: Mutex<Receiver<String>>,
    closed: Mutex<Receiver<()>>,
}

/// One request, and the socket to answer on.
pub struct Exchange {
    /// The request's head, as it came.
    pub head: String,
    /// The request's body, if it had a length.
    pub body: Vec<u8>,
    socket: TcpStream,
}

impl Exchange {
    /// The other end of the connection that it came over.
    pub fn connection(&self) -> std::net::SocketAddr {
        self.socket.peer_addr().unwrap()
    }

    /// The path and query.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Sends `bytes` as they are. The other side may have gone; that is its business.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Answers with a status line, headers (lines without their end) and a body.
    pub fn answer(&mut self, status: &str, headers: &[&str], body: &str) {
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        self.write(format!("{head}\r\n{body}"));
    }

    /// Sends `bytes`, if the other side takes them within a second, and then waits, unless the other side closes the
    /// connection meanwhile; whether it is still there.
    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> bool {
        self.socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        match self.socket.write(bytes.as_ref()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        pause.is_zero() || !self.is_closed_within(pause)
    }

    /// Whether the other side closes the connection within so long.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        match self.socket.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Breaks the connection off.
    pub fn cut(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Waits until the other side has closed the connection.
    pub fn wait_until_closed(&mut self) {
        let mut byte = [0];
        while matches!(self.socket.read(&mut byte), Ok(1)) {}
    }
}

impl Backend {
    /// Starts one on a free port. `script` is called for each request, connection by connection.
    pub fn start(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", script)
    }

    /// Starts one on a given address: where one was that has stopped.
    pub fn start_on(address: &str, script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopping = Arc::new(AtomicBool::new(false));
        let made = Arc::<AtomicUsize>::default();
        let connections = Arc::<Mutex<BTreeMap<usize, TcpStream>>>::default();
        let (sender, requests) = channel();
        let (closing, closed) = channel();
        let script = Arc::new(script);
        let accepting = std::thread::spawn({
            let (stopping, made) = (Arc::clone(&stopping), Arc::clone(&made));
            let connections = Arc::clone(&connections);
            move || {
                for socket in listener.incoming().map_while(Result::ok) {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = made.fetch_add(1, Ordering::SeqCst);
                    connections.lock().unwrap().insert(number, socket.try_clone().unwrap());
                    let (script, sender, closing) = (Arc::clone(&script), sender.clone(), closing.clone());
                    let connections = Arc::clone(&connections);
                    std::thread::spawn(move || {
                        while let Some(mut exchange) = read(&socket) {
                            let _ = sender.send(exchange.head.clone());
                            script(&mut exchange);
                        }
                        connections.lock().unwrap().remove(&number);
                        let _ = closing.send(());
                    });
                }
            }
        });
        Self {
            address,
            stopping,
            accepting: Some(accepting),
            made,
            connections,
            requests: Mutex::new(requests),
            closed: Mutex::new(closed),
        }
    }

    /// One that greets.
    pub fn greeting() -> Self {
        Self::start(|exchange| exchange.answer("200 OK", &["Content-Type: text/plain"], "hello\n"))
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections have been made to it.
    pub fn connections(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// The head of the next request that comes in, or came in before and was not asked for.
    pub fn next_request(&self) -> String {
        self.requests.lock().unwrap().recv_timeout(DEADLINE).expect("the backend is asked")
    }

    /// Returns once a connection has been closed by whoever made it.
    pub fn next_closed(&self) {
        self.closed.lock().unwrap().recv_timeout(DEADLINE).expect("a connection is closed");
    }

    /// Heads of requests that have come in and were not asked for.
    pub fn requests_so_far(&self) -> Vec<String> {
        self.requests.lock().unwrap().try_iter().collect()
    }
}

fn read(socket: &TcpStream) -> Option<Exchange> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.truncate(head.len() - 4);
    let mut exchange = Exchange { head, body: Vec::new(), socket: socket.try_clone().ok()? };
    let length = exchange.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    exchange.body = vec![0; length];
    reader.read_exact(&mut exchange.body).ok()?;
    Some(exchange)
}

impl Site for Backend {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Backend {
    /// Closes the listener and every connection.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accept; its thread then sees that it is over.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.connections.lock().unwrap().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
