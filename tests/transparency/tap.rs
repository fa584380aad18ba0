//! A listener in front of a site that passes every byte on, both ways, and keeps those that were
//! sent to the site.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use rustix::io::ioctl_fionread;

use super::client::PROBE;
use super::wire::{Kind, Message, Reader};
use crate::support::{DEADLINE, Site};

/// A running one. Its threads end with the connections, and the listener with the test.
pub(crate) struct Tap {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The client's side of each connection that lives.
    connections: BTreeMap<usize, TcpStream>,
    accepted: usize,
    /// What came since the last look, each with its connection.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Connections in the middle of a request that was already looked at.
    spent: Vec<usize>,
}

impl Tap {
    pub(crate) fn before(site: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Seen>>::default();
        let (site, shared) = (site.to_owned(), Arc::clone(&seen));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut seen = shared.lock().unwrap();
                seen.accepted += 1;
                let number = seen.accepted;
                seen.connections.insert(number, client.try_clone().unwrap());
                // If the site does not listen, the client sees a connection that closes.
                let Ok(server) = TcpStream::connect(&site) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let noting = Arc::clone(&shared);
                std::thread::spawn(move || pass_and_note(from, to, number, &noting));
                std::thread::spawn(move || pass(server, client));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests that came since the last call, in the order of their first bytes.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut seen = self.settled();
        let mut connections: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        // Where on its connection each piece begins, and which piece it is.
        let mut begins: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (at, (number, bytes)) in std::mem::take(&mut seen.pieces).into_iter().enumerate() {
            if !seen.spent.contains(&number) {
                let whole = connections.entry(number).or_default();
                begins.insert((number, whole.len()), at);
                whole.extend(bytes);
            }
        }
        let mut requests = BTreeMap::new();
        for (number, bytes) in &connections {
            let mut reader = Reader::new(&bytes[..]);
            loop {
                let start = reader.taken;
                let Some(request) = reader.message(Kind::Request) else { break };
                let complete = request.complete;
                let first = begins.range(..=(*number, start)).next_back().map(|(_, at)| *at);
                requests.insert((first, *number, start), request);
                if !complete {
                    seen.spent.push(*number);
                    break;
                }
            }
        }
        requests.into_values().filter(|request| request.word(1) != PROBE).collect()
    }

    /// What was seen, once everything is in it that was sent until now.
    fn settled(&self) -> MutexGuard<'_, Seen> {
        // This connection is accepted behind all that were made before it.
        let last = TcpStream::connect(&self.address).unwrap();
        let us = last.local_addr().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.seen.lock().unwrap();
            let is_us = |connection: &TcpStream| connection.peer_addr().is_ok_and(|peer| peer == us);
            let all_accepted = seen.connections.values().next_back().is_some_and(is_us);
            let is_read = |connection: &TcpStream| ioctl_fionread(connection).unwrap_or(0) == 0;
            if all_accepted && seen.connections.values().all(is_read) {
                return seen;
            }
            drop(seen);
            assert!(Instant::now() < deadline, "a connection to the site stands still");
            std::thread::yield_now();
        }
    }
}

impl Site for Tap {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn pass_and_note(mut from: TcpStream, mut to: TcpStream, number: usize, noting: &Mutex<Seen>) {
    let mut buffer = [0; 64 << 10];
    // Bytes leave the socket and are noted in one step, so that they are always in one of the two.
    while let Ok(1..) = from.peek(&mut buffer[..1]) {
        let got = {
            let mut seen = noting.lock().unwrap();
            let Ok(got @ 1..) = from.read(&mut buffer) else { break };
            seen.pieces.push((number, buffer[..got].to_vec()));
            got
        };
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    noting.lock().unwrap().connections.remove(&number);
    let _ = to.shutdown(Shutdown::Write);
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 64 << 10];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
