//! A fan-out thread against a model of it: random histories over real sockets, with a clock that the test
//! moves. What each client received is compared with what some lists of numbers say it is owed.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;

use super::*;
use crate::broker::{self, Limits, Publication, Publishing, Role, Since, Subscribed, Subscription, Wish};
use crate::channel::Channel;
use crate::event::Event;
use crate::replay::Replay;
use crate::subject::Subject;
use crate::subscribe::Slow;
use crate::subscribe::fanout::Held;
use crate::subscribe::newcomer::{Newcomer, Seat};

/// How many histories are a share for each run of all tests.
const SHARE: u32 = 200;
const CHANNELS: [&str; 3] = ["a", "b", "c"];
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(30);
/// How exact the wheel is, and a bit.
const TICKS: Duration = Duration::from_millis(40);
/// What a client is told first, of which its socket may take but a part.
const OPENING: &str = ": welcome\n";
/// More than a socket takes.
const FLOOD: usize = 60 << 10;

type Verdict = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// Something happens. Clients are named by their place, counted round.
#[derive(Clone, Debug)]
enum Step {
    /// An event on these channels, a close of them, or both.
    Publish {
        channels: Vec<usize>,
        event: bool,
        close: bool,
        is_large: bool,
    },
    DisconnectAnna,
    Subscribe {
        channels: Vec<usize>,
        all: bool,
        as_anna: bool,
        role: Role,
        chunked: bool,
        at_once: bool,
    },
    /// A client's first bytes are done, and the thread takes it over.
    Adopt {
        client: usize,
        large_opening: bool,
    },
    StopReading(usize),
    ReadOn(usize),
    Leave(usize),
    Pass(Duration),
    /// The thread runs.
    Turn,
}

fn some_channels() -> impl Strategy<Value = Vec<usize>> {
    let all: Vec<_> = (0..CHANNELS.len()).collect();
    prop_oneof![
        3 => (0..CHANNELS.len()).prop_map(|channel| vec![channel]),
        2 => prop::sample::subsequence(all, 1..=CHANNELS.len()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let rare = prop::bool::weighted;
    let role = prop_oneof![4 => Just(Role::Listener), 1 => Just(Role::Onlooker)];
    let subscribe = (some_channels(), any::<bool>(), rare(0.3), role, any::<bool>(), rare(0.6));
    prop_oneof![
        8 => (some_channels(), rare(0.9), rare(0.2), rare(0.1)).prop_map(|(channels, event, close, is_large)| {
            Step::Publish { channels, event, close, is_large }
        }),
        1 => Just(Step::DisconnectAnna),
        4 => subscribe.prop_map(|(channels, all, as_anna, role, chunked, at_once)| {
            Step::Subscribe { channels, all, as_anna, role, chunked, at_once }
        }),
        2 => (0usize..8, rare(0.2)).prop_map(|(client, large_opening)| Step::Adopt { client, large_opening }),
        2 => (0usize..8).prop_map(Step::StopReading),
        2 => (0usize..8).prop_map(Step::ReadOn),
        1 => (0usize..8).prop_map(Step::Leave),
        3 => prop_oneof![0u64..3_000, 9_000..12_000u64, 29_000..40_000u64]
            .prop_map(|milliseconds| Step::Pass(Duration::from_millis(milliseconds))),
        6 => Just(Step::Turn),
    ]
}

/// A client, and what it is owed.
struct Client {
    channels: Vec<usize>,
    role: Role,
    is_anna: bool,
    chunked: bool,
    /// What is waiting to be taken over by the thread.
    waiting: Option<(Subscription, Held)>,
    socket: UnixStream,
    /// How many lines it is told first.
    opening: usize,
    /// The events that are for it.
    owed: Vec<u64>,
    /// Whether its end has come.
    has_ended: bool,
    received: Vec<u8>,
    /// Whether its connection has ended.
    is_cut: bool,
    reads: bool,
    /// When it stopped reading; the thread may not have noticed yet that it reads on.
    stopped_at: Option<Instant>,
    /// Since when there has been more for it than its socket takes, while it does not read: perhaps, and as
    /// the thread knows.
    is_flooded: bool,
    full_since: Option<Instant>,
    /// Whether it did not read for so long that it may have been cut off, or must have been.
    may_be_cut: bool,
    must_be_cut: bool,
    /// When its socket took something last, if it reads.
    heard_at: Option<Instant>,
}

impl Client {
    fn is_on(&self, channels: &[usize]) -> bool {
        !self.has_ended && channels.iter().any(|channel| self.channels.contains(channel))
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        while !self.is_cut {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.is_cut = true,
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_cut = true,
            }
        }
    }

    /// Reads what has waited for it, and whatever comes from now on.
    fn read_on(&mut self) {
        self.reads = true;
        self.is_flooded = false;
        self.full_since = None;
        self.read();
    }

    /// The text it has got, and whether that was ended as it should be.
    fn text(&self) -> Result<(String, bool), String> {
        if !self.chunked {
            return Ok((String::from_utf8_lossy(&self.received).into_owned(), true));
        }
        let (mut text, mut rest) = (Vec::new(), &self.received[..]);
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
            let size = usize::from_str_radix(size, 16).map_err(|_| format!("chunk: a size of {size:?}"))?;
            let body = &rest[end + 2..];
            if size == 0 {
                ensure!(body == b"\r\n", "chunk: {} bytes after the last", body.len());
                return Ok((String::from_utf8_lossy(&text).into_owned(), true));
            }
            text.extend_from_slice(&body[..size.min(body.len())]);
            if body.len() < size + 2 {
                break;
            }
            ensure!(&body[size..size + 2] == b"\r\n", "chunk: it does not end where it should");
            rest = &body[size + 2..];
        }
        Ok((String::from_utf8_lossy(&text).into_owned(), false))
    }

    /// The events it has got, how often it heard that its stream still lives, and whether that was ended as
    /// it should be.
    fn got(&self) -> Result<(Vec<u64>, usize, bool), String> {
        let (text, is_whole) = self.text()?;
        let opening = OPENING.repeat(self.opening);
        let shorter = opening.len().min(text.len());
        ensure!(text[..shorter] == opening[..shorter], "opening: {:?}", &text[..shorter]);
        let whole = &text[shorter..text.rfind("\n\n").map_or(shorter, |end| end + 2).max(shorter)];
        let numbers = whole.lines().filter_map(|line| line.strip_prefix("data: "));
        let numbers: Vec<u64> =
            numbers.map(|data| data.trim_end_matches('.').parse().unwrap_or_default()).collect();
        Ok((numbers, text[shorter..].lines().filter(|line| *line == ":").count(), is_whole))
    }

    /// Compares what it has got with what it is owed; `is_up_to_date`: whether the thread has had its turn.
    fn check(&self, is_up_to_date: bool) -> Verdict {
        let (got, _, is_whole) = self.got()?;
        ensure!(self.owed.starts_with(&got), "events: {got:?} of {:?}", self.owed);
        let is_all = self.has_ended && got.len() == self.owed.len() && is_whole;
        let is_cut_off = self.is_cut && !is_all;
        ensure!(!is_cut_off || self.may_be_cut, "cut: after {got:?} of {:?}", self.owed);
        ensure!(!self.must_be_cut || is_cut_off || !self.reads, "stall: it is not cut off");
        if is_up_to_date && self.reads && self.waiting.is_none() && !is_cut_off {
            ensure!(got.len() == self.owed.len(), "lost: {got:?} of {:?}", self.owed);
            ensure!(self.is_cut == self.has_ended, "end: it goes on after {got:?}");
        }
        Ok(())
    }
}

/// The thread, its clients, and what they are owed.
struct Rig {
    broker: Arc<Broker>,
    worker: Worker,
    handle: Handle,
    events: Events,
    now: Instant,
    seats: Arc<AtomicUsize>,
    clients: Vec<Client>,
    closed: [bool; CHANNELS.len()],
    /// The events there are, and their channels.
    published: Vec<(u64, Vec<usize>)>,
    count: u64,
}

fn channels(numbers: &[usize]) -> Vec<Channel> {
    numbers.iter().map(|&number| Channel::parse(CHANNELS[number]).unwrap()).collect()
}

fn anna() -> Subject {
    Subject::parse("anna").unwrap()
}

impl Rig {
    fn new(ask_again: AskAgain) -> Self {
        let limits = Limits { max_events: 1_000_000, ..broker::Settings::default().limits };
        let broker = Broker::new(broker::Settings { limits, ..broker::Settings::default() });
        let settings =
            Settings { keep_alive: KEEP_ALIVE, stall: STALL, slow: Slow::Disconnect, ..Settings::default() };
        let (worker, handle) = Worker::new(Arc::clone(&broker), settings, Arc::default(), ask_again).unwrap();
        Self {
            broker,
            worker,
            handle,
            events: Events::with_capacity(64),
            now: Instant::now(),
            seats: Arc::default(),
            clients: Vec::new(),
            closed: [false; CHANNELS.len()],
            published: Vec::new(),
            count: 0,
        }
    }

    /// Lets the thread run until nothing is left to do at this moment.
    fn turn(&mut self) {
        loop {
            self.worker.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
            assert!(!self.worker.turn(&self.events, self.now), "nobody has asked it to end");
            let mut got = 0;
            for client in self.clients.iter_mut().filter(|client| client.reads) {
                let before = client.received.len();
                client.read();
                if client.received.len() > before {
                    client.heard_at = Some(self.now);
                    got += client.received.len() - before;
                }
            }
            let is_done =
                self.events.is_empty() && self.worker.behind.is_empty() && self.worker.due.is_empty();
            if got == 0 && is_done {
                break;
            }
        }
        for client in &mut self.clients {
            if client.reads {
                client.stopped_at = None;
            } else if client.is_flooded && client.waiting.is_none() {
                client.full_since.get_or_insert(self.now);
            }
        }
    }

    fn publish(&self, publication: Publication) -> broker::Receipt {
        match self.broker.publish(publication) {
            Publishing::Done(outcome) => outcome.unwrap().unwrap(),
            other => panic!("memory keeps nobody waiting: {other:?}"),
        }
    }

    fn take(&mut self, step: &Step) -> Verdict {
        let count = self.clients.len().max(1);
        match *step {
            Step::Publish { ref channels, event, close, is_large } => {
                self.publish_on(channels, event, close, is_large)
            }
            Step::DisconnectAnna => self.disconnect_anna(),
            Step::Subscribe { ref channels, all, as_anna, role, chunked, at_once } => {
                if self.subscribe(channels, all, as_anna, role, chunked) && at_once {
                    self.adopt(self.clients.len() - 1, false);
                }
                Ok(())
            }
            Step::Adopt { client, large_opening } => {
                self.adopt(client % count, large_opening);
                Ok(())
            }
            Step::StopReading(client) => {
                let now = self.now;
                if let Some(client) = self.clients.get_mut(client % count).filter(|client| client.reads) {
                    client.reads = false;
                    client.heard_at = None;
                    client.stopped_at.get_or_insert(now);
                }
                Ok(())
            }
            Step::ReadOn(client) => {
                if let Some(client) = self.clients.get_mut(client % count).filter(|client| !client.reads) {
                    client.read_on();
                }
                Ok(())
            }
            Step::Leave(client) => {
                if !self.clients.is_empty() {
                    self.clients.swap_remove(client % count);
                    self.turn();
                }
                Ok(())
            }
            Step::Pass(time) => self.pass(time),
            Step::Turn => {
                self.turn();
                self.look(true)
            }
        }
    }

    fn publish_on(&mut self, numbers: &[usize], event: bool, close: bool, is_large: bool) -> Verdict {
        self.count += 1;
        let data = format!("{:.<width$}", self.count, width = if is_large { FLOOD } else { 1 });
        let event = event.then(|| Event::with_data(&data));
        let has_event = event.is_some();
        let publication = Publication { channels: channels(numbers), event, close, ..Publication::default() };
        let receipt = self.publish(publication);
        let mut receivers = Range::default();
        if has_event {
            self.published.push((self.count, numbers.to_vec()));
            numbers.iter().for_each(|&number| self.closed[number] = false);
            for client in self.clients.iter_mut().filter(|client| client.is_on(numbers)) {
                client.owed.push(self.count);
                client.is_flooded |= is_large && !client.reads;
                if client.role == Role::Listener {
                    receivers.add(client);
                }
            }
        }
        if close {
            numbers.iter().for_each(|&number| self.closed[number] = true);
            for client in &mut self.clients {
                client.has_ended |= client.channels.iter().all(|&channel| self.closed[channel]);
            }
        }
        receivers.has(receipt.receivers)
    }

    fn disconnect_anna(&mut self) -> Verdict {
        let receipt = self.publish(Publication { disconnect: vec![anna()], ..Publication::default() });
        let mut ended = Range::default();
        for client in self.clients.iter_mut().filter(|client| client.is_anna && !client.has_ended) {
            client.has_ended = true;
            ended.add(client);
        }
        ended.has(receipt.disconnected)
    }

    /// Whether there is somebody new.
    fn subscribe(&mut self, numbers: &[usize], all: bool, as_anna: bool, role: Role, chunked: bool) -> bool {
        let (names, subject) = (channels(numbers), anna());
        let since = Since { last_event_id: None, replay: if all { Replay::All } else { Replay::Live } };
        let subject = as_anna.then_some(&subject);
        let wish = Wish { role, subject, ..Wish::new(&names, since, self.worker.reader) };
        let Subscribed::Open(subscription, None) = self.broker.subscribe(wish).unwrap() else { return false };
        let (ours, socket) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&ours).set_send_buffer_size(1).unwrap();
        let is_for_it =
            |(_, on): &&(u64, Vec<usize>)| all && on.iter().any(|number| numbers.contains(number));
        self.clients.push(Client {
            owed: self.published.iter().filter(is_for_it).map(|(number, _)| *number).collect(),
            channels: numbers.to_vec(),
            role,
            is_anna: as_anna,
            chunked,
            waiting: Some((subscription, Held::Unix(mio::net::UnixStream::from_std(ours)))),
            socket,
            opening: 0,
            has_ended: numbers.iter().all(|&number| self.closed[number]),
            received: Vec::new(),
            is_cut: false,
            reads: true,
            stopped_at: None,
            is_flooded: false,
            full_since: None,
            may_be_cut: false,
            must_be_cut: false,
            heard_at: None,
        });
        true
    }

    fn adopt(&mut self, number: usize, large_opening: bool) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let Some((subscription, held)) = client.waiting.take() else { return };
        client.opening = if large_opening { FLOOD / OPENING.len() } else { 1 };
        client.is_flooded |= large_opening && !client.reads;
        let opening =
            crate::event::encode::chunk_if(client.chunked, OPENING.repeat(client.opening).as_bytes());
        let seat = Seat::take(&self.seats, usize::MAX).unwrap();
        let newcomer = Newcomer {
            reader: self.handle.reader,
            chunked: client.chunked,
            keep_alive: KEEP_ALIVE,
            bond: None,
            seat,
        };
        self.handle.ask(Command::Adopt(newcomer.into_subscriber(held, subscription, opening)));
    }

    /// Lets time pass, and looks who heard in it that its stream still lives, and who was cut off.
    fn pass(&mut self, time: Duration) -> Verdict {
        self.turn();
        self.look(true)?;
        let before: Result<Vec<_>, String> =
            self.clients.iter().map(|client| Ok((client.heard_at, client.got()?.1))).collect();
        self.now += time;
        for client in &mut self.clients {
            let lasts = |since: Instant, time| self.now.saturating_duration_since(since) >= time;
            client.may_be_cut |= client.stopped_at.is_some_and(|at| lasts(at, STALL - TICKS));
            client.must_be_cut |= client.full_since.is_some_and(|at| lasts(at, STALL + TICKS));
        }
        self.turn();
        for (client, (heard_at, comments)) in self.clients.iter().zip(before?) {
            let Some(heard_at) = heard_at.filter(|_| !client.is_cut) else { continue };
            let heard = client.got()?.1 - comments;
            let silence = self.now - heard_at;
            ensure!(heard <= 1, "comments: {heard} at once");
            ensure!(heard == 0 || silence + TICKS >= KEEP_ALIVE, "comments: one after {silence:?}");
            ensure!(heard == 1 || silence <= KEEP_ALIVE + TICKS, "comments: none after {silence:?}");
        }
        self.look(true)
    }

    fn look(&self, is_up_to_date: bool) -> Verdict {
        for (number, client) in self.clients.iter().enumerate() {
            client.check(is_up_to_date).map_err(|why| format!("client {number}: {why}"))?;
        }
        Ok(())
    }

    /// Everybody reads to the end, and then the thread is asked to end.
    fn end(mut self) -> Verdict {
        for number in 0..self.clients.len() {
            self.adopt(number, false);
            self.clients[number].read_on();
        }
        self.turn();
        self.look(true)?;
        for client in &mut self.clients {
            ensure!(client.is_cut || !client.must_be_cut, "stall: somebody was not cut off");
            client.has_ended = true;
        }
        self.handle.ask(Command::Drain);
        assert!(self.worker.turn(&self.events, self.now));
        self.worker.drain();
        self.clients.iter_mut().for_each(Client::read);
        self.look(true)?;
        ensure!(self.seats.load(std::sync::atomic::Ordering::SeqCst) == 0, "seats: some are taken still");
        Ok(())
    }
}

/// How many there must be, and may be.
#[derive(Default)]
struct Range {
    sure: usize,
    perhaps: usize,
}

impl Range {
    fn add(&mut self, client: &Client) {
        *(if client.may_be_cut { &mut self.perhaps } else { &mut self.sure }) += 1;
    }

    fn has(&self, count: usize) -> Verdict {
        let Self { sure, perhaps } = self;
        ensure!((*sure..=sure + perhaps).contains(&count), "count: {count} of {sure} and {perhaps} perhaps");
        Ok(())
    }
}

fn run(history: &[Step], ask_again: AskAgain) -> Verdict {
    let mut rig = Rig::new(ask_again);
    for step in history {
        rig.take(step)?;
        rig.look(false)?;
    }
    rig.end()
}

#[test]
fn each_client_of_a_fan_out_thread_gets_what_a_plain_model_says_up_to_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _here = runtime.enter();
    let (heard, _nobody_is_asked) = tokio::sync::mpsc::unbounded_channel();
    let ask_again = AskAgain::new(heard);
    let cases =
        std::env::var("OUTBOARD_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(SHARE);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 5000, ..Config::default() };

    let checked = TestRunner::new(config).run(&prop::collection::vec(step(), 1..80), |history| {
        run(&history, ask_again.clone()).map_err(TestCaseError::fail)
    });

    checked.unwrap_or_else(|error| panic!("{error}"));
}
