//! The subscribers: thousands of connections, each an event stream that is read and checked.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::clock::Clock;
use crate::decode::{Decoder, Sink};
use crate::histogram::Histogram;
use crate::tally::{Sequence, Tally};

/// All subscribers of a run.
pub(crate) struct Crowd {
    address: SocketAddr,
    /// The path of a stream; `{channel}` in it is the channel's name.
    path: String,
    subscribers: Vec<Subscriber>,
    /// Streams whose head has come.
    open: usize,
    /// Whether to remember the newest id of each, for coming back with it.
    resumable: bool,
    /// What they got.
    pub tally: Tally,
    /// How long events took, from the publisher's hand to the subscriber's, from `measured_from` on.
    pub latency: Histogram,
    /// Events published before this moment of the clock do not count for `latency`.
    measured_from: u64,
    /// How often each event of channel 0 has arrived, by its number.
    pub arrivals: Vec<u32>,
    buffer: Box<[u8]>,
}

struct Subscriber {
    channel: usize,
    socket: Option<TcpStream>,
    asked: bool,
    decoder: Decoder,
    sequence: Sequence,
    newest_id: Vec<u8>,
    /// The server's hint, in milliseconds.
    retry: u64,
    /// When to come back, if the stream was ended.
    back_at: Option<Instant>,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new(address: SocketAddr, path: &str) -> Crowd {
        Crowd {
            address,
            path: path.to_owned(),
            subscribers: Vec::new(),
            open: 0,
            resumable: false,
            tally: Tally::default(),
            latency: Histogram::new(),
            measured_from: 0,
            arrivals: Vec::new(),
            buffer: vec![0; 128 * 1024].into_boxed_slice(),
        }
    }

    /// Lets `latency` count the events that are published from this moment of the clock on, and no other.
    pub(crate) fn measure_from(&mut self, moment: u64) {
        self.latency = Histogram::new();
        self.measured_from = moment;
    }

    /// From now on, each subscriber remembers the newest id.
    pub(crate) fn remember_ids(&mut self) {
        self.resumable = true;
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// How many subscribers there are.
    pub(crate) fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Adds a subscriber of `channel`, who connects at once.
    pub(crate) fn join(&mut self, channel: usize, registry: &Registry) -> Result<()> {
        self.subscribers.push(Subscriber {
            channel,
            socket: None,
            asked: false,
            decoder: Decoder::default(),
            sequence: Sequence::default(),
            newest_id: Vec::new(),
            retry: 1000,
            back_at: None,
        });
        self.connect(self.subscribers.len() - 1, registry)
    }

    /// Connects subscriber `index`, or connects it again.
    pub(crate) fn connect(&mut self, index: usize, registry: &Registry) -> Result<()> {
        let mut socket = TcpStream::connect(self.address)?;
        registry.register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let subscriber = &mut self.subscribers[index];
        subscriber.socket = Some(socket);
        subscriber.asked = false;
        subscriber.decoder = Decoder::default();
        subscriber.back_at = None;
        Ok(())
    }

    /// Cuts everybody off at once.
    pub(crate) fn cut(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.socket = None;
        }
        self.open = 0;
    }

    /// Gives everybody's connections away: to drop them is to leave.
    pub(crate) fn take_sockets(&mut self) -> Vec<TcpStream> {
        self.open = 0;
        self.subscribers.iter_mut().filter_map(|subscriber| subscriber.socket.take()).collect()
    }

    /// Connects those again whose time has come.
    pub(crate) fn come_back(&mut self, registry: &Registry) -> Result<()> {
        let now = Instant::now();
        for index in 0..self.subscribers.len() {
            if self.subscribers[index].back_at.is_some_and(|at| at <= now) {
                self.connect(index, registry)?;
            }
        }
        Ok(())
    }

    /// Whether subscriber `index` has seen the first `sent` events of its channel.
    pub(crate) fn is_up_to_date(&self, index: usize, sent: u32) -> bool {
        self.subscribers[index].sequence.next() >= sent
    }

    /// How many events never came, if `sent` were sent on each channel.
    pub(crate) fn lost(&self, sent: &[u32]) -> u64 {
        self.subscribers.iter().map(|subscriber| subscriber.sequence.lost(sent[subscriber.channel])).sum()
    }

    /// Takes what has come for subscriber `index`.
    pub(crate) fn ready(&mut self, index: usize, clock: Clock) -> Result<()> {
        let subscriber = &mut self.subscribers[index];
        let Some(socket) = &mut subscriber.socket else { return Ok(()) };
        if !subscriber.asked {
            match socket.take_error()? {
                None if socket.peer_addr().is_ok() => {}
                None => return Ok(()),
                Some(error) => bail!("cannot connect to {}: {error}", self.address),
            }
            let request = request(&self.path, subscriber.channel, &subscriber.newest_id);
            // A fresh connection's buffer takes a request as a whole.
            socket.write_all(&request)?;
            subscriber.asked = true;
        }

        let was_open = subscriber.decoder.is_open();
        let now = clock.now();
        let mut reader = Reader {
            channel: subscriber.channel,
            sequence: &mut subscriber.sequence,
            newest_id: self.resumable.then_some(&mut subscriber.newest_id),
            retry: &mut subscriber.retry,
            tally: &mut self.tally,
            latency: &mut self.latency,
            arrivals: &mut self.arrivals,
            measured_from: self.measured_from,
            now,
        };
        let mut ended = false;
        loop {
            match socket.read(&mut self.buffer) {
                Ok(0) => ended = true,
                Ok(length) => {
                    subscriber.decoder.feed(&self.buffer[..length], &mut reader);
                    // Less than asked for means that there was no more (epoll(7), question 9).
                    if length == self.buffer.len() {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => ended = true,
            }
            break;
        }
        if subscriber.decoder.is_open() && !was_open {
            self.open += 1;
        }
        if ended || subscriber.decoder.is_refused() {
            if subscriber.decoder.is_refused() {
                self.tally.refused += 1;
            } else {
                self.tally.ended += 1;
                self.open -= usize::from(subscriber.decoder.is_open());
            }
            subscriber.socket = None;
            subscriber.back_at = Some(Instant::now() + Duration::from_millis(subscriber.retry));
        }
        Ok(())
    }
}

/// A request for the event stream of a channel, going on after `newest_id` unless that is empty.
pub(crate) fn request(path: &str, channel: usize, newest_id: &[u8]) -> Vec<u8> {
    let path = path.replace("{channel}", &channel_name(channel));
    let mut request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n").into_bytes();
    if !newest_id.is_empty() {
        request.extend_from_slice(b"Last-Event-ID: ");
        request.extend_from_slice(newest_id);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The name of a channel.
pub(crate) fn channel_name(channel: usize) -> String {
    format!("c{channel}")
}

/// One subscriber while it reads.
struct Reader<'a> {
    channel: usize,
    sequence: &'a mut Sequence,
    newest_id: Option<&'a mut Vec<u8>>,
    retry: &'a mut u64,
    tally: &'a mut Tally,
    latency: &'a mut Histogram,
    arrivals: &'a mut Vec<u32>,
    measured_from: u64,
    now: u64,
}

impl Sink for Reader<'_> {
    fn line(&mut self, line: &[u8]) {
        if let Some(data) = line.strip_prefix(b"data: ") {
            if let Some((number, sent)) = stamp(data) {
                self.event(number, sent);
            }
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            if let Some(newest) = &mut self.newest_id {
                newest.clear();
                newest.extend_from_slice(id.trim_ascii());
            }
        } else if line.starts_with(b"event: outboard.gap") {
            self.tally.gaps += 1;
        } else if let Some(retry) = line.strip_prefix(b"retry: ") {
            *self.retry = decimal(retry.trim_ascii()).unwrap_or(*self.retry);
        }
    }
}

impl Reader<'_> {
    fn event(&mut self, number: u32, sent: u64) {
        self.sequence.arrived(number, self.tally);
        if sent >= self.measured_from {
            self.latency.record(self.now.saturating_sub(sent));
        }
        if self.channel == 0 {
            let number = number as usize;
            if self.arrivals.len() <= number {
                self.arrivals.resize(number + 1, 0);
            }
            self.arrivals[number] += 1;
        }
    }
}

const NUMBER: usize = 8;
const MOMENT: usize = 15;

/// The data of event `number`, published at `moment` of the clock: `size` bytes, at least 25.
pub(crate) fn data(number: u32, moment: u64, size: usize) -> Vec<u8> {
    let mut data = format!("{number:0NUMBER$} {moment:0MOMENT$} ").into_bytes();
    data.resize(size.max(data.len()), b'x');
    data
}

/// The number of an event and when it was published.
fn stamp(data: &[u8]) -> Option<(u32, u64)> {
    let number = decimal(data.get(..NUMBER)?)?;
    let moment = decimal(data.get(NUMBER + 1..NUMBER + 1 + MOMENT)?)?;
    Some((u32::try_from(number).ok()?, moment))
}

fn decimal(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit().then(|| value.wrapping_mul(10) + u64::from(byte - b'0'))
    })
}
