//! A fan-out thread: one loop over the log's news, the sockets' readiness and the clock.
//!
//! Subscribers that have everything get what is new as bytes made once per group. Those that lag
//! read for themselves, a few at a time so that publishers are not kept waiting. Those whose
//! sockets are full cost nothing until they are not.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::{Events, Poll, Token, Waker};

use super::end::End;
use super::groups::{GroupId, Groups};
use super::head;
use super::slab::Slab;
use super::subscriber::{State, Subscriber, Written};
use super::wheel::{Tick, Wheel};
use super::{Settings, Slow};
use crate::broker::{Broker, Entry, Gap, Key, News, Read, ReaderId, Wake};
use crate::event::Epoch;
use crate::metrics::Metrics;

/// Puts a question about a client to the backend, and ends the client's stream if the answer is no.
pub(super) type AskAgain = Box<dyn Fn(&super::Recheck, Ticket) + Send>;

/// What a fan-out thread is asked to do.
pub(super) enum Command {
    /// Hold this client from now on.
    Adopt(Box<Subscriber>),
    /// End this client's stream, if it is still the one meant.
    End(Ticket, End),
    /// End all streams, and then the thread.
    Drain,
}

/// A client in a thread's care; never means a later one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    pub(super) reader: ReaderId,
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// The side of a fan-out thread that others hold.
pub(super) struct Handle {
    pub(super) reader: ReaderId,
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl Handle {
    /// Asks; done soon, unless the thread has come to its end.
    pub(super) fn ask(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            wake(&self.waker);
        }
    }
}

struct Bell(Arc<Waker>);

impl Wake for Bell {
    fn wake(&self) {
        wake(&self.0);
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "cannot wake a fan-out thread");
    }
}

const BELL: Token = Token(usize::MAX);
/// The most entries read at a time for one subscriber that lags.
const PORTION: usize = 64;
/// The most subscribers that read while publishers wait.
const AT_ONCE: usize = 32;
/// Pieces of news are put together up to this size, in bytes.
const PIECE: usize = 64 << 10;

pub(super) struct Worker {
    poll: Poll,
    broker: Arc<Broker>,
    reader: ReaderId,
    settings: Settings,
    metrics: Arc<Metrics>,
    commands: mpsc::Receiver<Command>,
    subscribers: Slab<Subscriber>,
    groups: Groups,
    /// Everything up to here has been handed to those that are live.
    seen: u64,
    /// Who waits for a turn to read.
    behind: VecDeque<u32>,
    wheel: Wheel,
    now: Tick,
    recheck: AskAgain,
}

impl Worker {
    /// A worker and the handle to it. It does nothing before [`Worker::run`].
    ///
    /// # Errors
    /// When the system gives no more file handles.
    pub(super) fn new(
        broker: Arc<Broker>,
        settings: Settings,
        metrics: Arc<Metrics>,
        recheck: AskAgain,
    ) -> io::Result<(Self, Handle)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), BELL)?);
        let (sender, commands) = mpsc::channel();
        let reader = broker.add_reader(Arc::new(Bell(Arc::clone(&waker))));
        let worker = Self {
            poll,
            seen: broker.head().sequence,
            broker,
            reader,
            settings,
            metrics,
            commands,
            subscribers: Slab::default(),
            groups: Groups::default(),
            behind: VecDeque::new(),
            wheel: Wheel::new(Instant::now()),
            now: Tick::default(),
            recheck,
        };
        Ok((worker, Handle { reader, commands: sender, waker }))
    }

    /// Runs until asked to drain.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let idle =
                if self.behind.is_empty() { self.wheel.idle(Instant::now()) } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, idle) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // The descriptor is ours and open: this cannot happen while memory is sound.
                    tracing::error!(%error, "a fan-out thread cannot wait for its sockets and ends");
                    return self.drain();
                }
            }
            self.now = self.wheel.tick(Instant::now());
            for event in events.iter().filter(|event| event.token() != BELL) {
                self.on_ready(event.token().0 as u32, event.is_readable(), event.is_writable());
            }
            if self.obey() {
                return self.drain();
            }
            self.deliver();
            self.on_time();
        }
    }

    /// Does what was asked; whether that is to end.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Adopt(subscriber) => self.adopt(*subscriber),
                Command::End(ticket, end) => {
                    if self.subscribers.generation(ticket.slot) == Some(ticket.generation) {
                        self.end(ticket.slot, end);
                    }
                }
                Command::Drain => return true,
            }
        }
        false
    }

    fn adopt(&mut self, subscriber: Subscriber) {
        let slot = self.subscribers.insert(subscriber);
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let (group, place) = self.groups.enter(&subscriber.subscription.selection, slot);
        subscriber.group = group;
        subscriber.place_in_group = place;
        subscriber.last_write = self.now;
        if subscriber.register(self.poll.registry(), Token(slot as usize)).is_err() {
            return self.end(slot, End::ConnectionLost);
        }
        if let Some((recheck, due)) = subscriber.extras.as_mut().and_then(|extras| extras.recheck.as_mut()) {
            *due = self.now.after(recheck.every);
        }
        // It may have been disconnected on its way here.
        if subscriber.subscription.is_disconnected() {
            return self.end(slot, End::Disconnected);
        }
        let written = subscriber.flush();
        self.after_catching_up(slot, written, State::Behind);
        self.arm(slot);
    }

    fn on_ready(&mut self, slot: u32, readable: bool, writable: bool) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if readable && let Some(end) = subscriber.hear() {
            return self.end(slot, end);
        }
        if writable && subscriber.state == State::Blocked {
            subscriber.last_write = self.now;
            let written = subscriber.flush();
            self.after_catching_up(slot, written, State::Behind);
        }
    }

    /// Notes how a write to a subscriber that is not live went; `then` is its state if all went.
    fn after_catching_up(&mut self, slot: u32, written: Written, then: State) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        match written {
            Written::Gone => self.end(slot, End::ConnectionLost),
            Written::Part(_) => self.block(slot),
            Written::All => {
                subscriber.state = then;
                if then == State::Behind {
                    self.behind.push_back(slot);
                }
            }
        }
    }

    fn block(&mut self, slot: u32) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if subscriber.state != State::Blocked {
            subscriber.state = State::Blocked;
            // The stall limit counts from now, even if nothing was written for long before.
            subscriber.last_write = self.now;
        }
        self.arm(slot);
    }

    /// Brings out what is new, and gives some of those that lag their turn.
    fn deliver(&mut self) {
        let turn: Vec<u32> = self.behind.drain(..self.behind.len().min(AT_ONCE)).collect();
        let mut reads = Vec::with_capacity(turn.len());
        let mut log = self.broker.open(self.reader);
        let News { entries, head, closed, disconnected } = log.news(self.seen);
        for slot in turn {
            let Some(subscriber) = self.subscribers.get_mut(slot) else { continue };
            if subscriber.state != State::Behind {
                continue;
            }
            // A channel that was closed just now ends its streams there, not at what came after.
            let closes =
                closed.iter().find(|(key, _)| subscriber.subscription.selection.channels[..] == [*key]);
            if let Some(&(_, place)) = closes
                && subscriber.subscription.cursor <= place
            {
                subscriber.set_ends_at(place);
            }
            let up_to = subscriber.ends_at().unwrap_or(u64::MAX);
            let read = log.read(&mut subscriber.subscription, up_to, PORTION);
            let skips = matches!(read, Read::Fallen) && self.settings.slow == Slow::Skip;
            let gap = skips.then(|| log.skip(&mut subscriber.subscription));
            reads.push((slot, read, gap));
        }
        drop(log);

        if disconnected {
            self.end_disconnected();
        }
        self.mark_closed(&closed);
        match entries {
            Some(entries) => self.fan_out(&entries),
            None => self.all_fall_behind(),
        }
        self.seen = head;
        for (slot, read, gap) in reads {
            self.on_read(slot, read, gap);
        }
        self.check_closed(&closed);
    }

    /// Streams on a closed channel alone end at the place where it was closed.
    fn mark_closed(&mut self, closed: &[(Key, u64)]) {
        let seen = self.seen;
        for &(key, place) in closed {
            for member in self.members_on(key) {
                let Some(subscriber) = self.subscribers.get_mut(member) else { continue };
                if subscriber.subscription.selection.channels.len() > 1 || subscriber.ends_at().is_some() {
                    continue;
                }
                match subscriber.state {
                    State::Live => {
                        subscriber.subscription.cursor = seen;
                        subscriber.set_ends_at(place);
                        subscriber.state = State::Behind;
                        self.behind.push_back(member);
                    }
                    // What was opened again before it subscribed does not concern it.
                    _ if subscriber.subscription.cursor <= place => subscriber.set_ends_at(place),
                    _ => {}
                }
            }
        }
    }

    /// Streams on several channels end when all of them are closed; they look for themselves.
    fn check_closed(&mut self, closed: &[(Key, u64)]) {
        for &(key, _) in closed {
            for member in self.members_on(key) {
                self.fall_behind(member);
            }
        }
    }

    fn members_on(&self, channel: Key) -> Vec<u32> {
        let groups = self.groups.on(channel).iter().filter_map(|&id| self.groups.get(id));
        groups.flat_map(|group| group.members.iter().copied()).collect()
    }

    /// A live subscriber reads for itself next time.
    fn fall_behind(&mut self, slot: u32) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if subscriber.state == State::Live {
            subscriber.subscription.cursor = self.seen;
            subscriber.state = State::Behind;
            self.behind.push_back(slot);
        }
    }

    fn all_fall_behind(&mut self) {
        for slot in self.subscribers.slots() {
            self.fall_behind(slot);
        }
    }

    /// Writes what is new to everyone who is live.
    fn fan_out(&mut self, entries: &[Arc<Entry>]) {
        let mut touched: Vec<(GroupId, Vec<u32>)> = Vec::new();
        let mut index = std::collections::HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            for &channel in &entry.channels {
                for &group in self.groups.on(channel) {
                    let at = *index.entry(group).or_insert_with(|| {
                        touched.push((group, Vec::new()));
                        touched.len() - 1
                    });
                    let numbers = &mut touched[at].1;
                    // An entry on two of its channels is one event.
                    if numbers.last() != Some(&(number as u32)) {
                        numbers.push(number as u32);
                    }
                }
            }
        }
        for (group, numbers) in touched {
            let entries: Vec<_> = numbers.iter().map(|&number| &entries[number as usize]).collect();
            self.write_to_group(group, &entries);
        }
    }

    fn write_to_group(&mut self, group: GroupId, entries: &[&Arc<Entry>]) {
        let Some(group) = self.groups.get(group) else { return };
        let limited = !group.selection.rates.is_empty();
        let members = group.members.clone();
        if limited {
            members.into_iter().for_each(|member| self.fall_behind(member));
            return;
        }
        let pieces = pieces(entries);
        let mut delivered = 0;
        for member in members {
            let Some(subscriber) = self.subscribers.get_mut(member) else { continue };
            if subscriber.state != State::Live {
                continue;
            }
            match write_pieces(subscriber, &pieces) {
                Written::All => {
                    subscriber.last_write = self.now;
                    delivered += entries.len() as u64;
                }
                Written::Part(_) => self.block(member),
                Written::Gone => self.end(member, End::ConnectionLost),
            }
        }
        self.metrics.delivered.add(delivered);
    }

    /// Goes on with a subscriber that lagged, after its read.
    fn on_read(&mut self, slot: u32, read: Read, gap: Option<Gap>) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        match read {
            Read::Next { entries, cursor, more, over } => {
                let reached_end = subscriber.ends_at().is_some_and(|place| cursor >= place && !more);
                let over = over || reached_end;
                self.write_read(slot, entries, cursor, more, over);
            }
            Read::Fallen => match gap {
                Some(gap) => self.tell(slot, &gap),
                None => self.end(slot, End::FellBehind),
            },
        }
    }

    fn write_read(&mut self, slot: u32, entries: Vec<Arc<Entry>>, cursor: u64, more: bool, over: bool) {
        let now = self.now;
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let read = entries.len() as u64;
        let written = if subscriber.pace().is_some() {
            // What is not written now is kept, here or by the pace.
            subscriber.subscription.cursor = cursor;
            write_paced(subscriber, entries, now, over, self.broker.epoch())
        } else {
            subscriber.write_entries(&entries)
        };
        if written == Written::All {
            subscriber.subscription.cursor = cursor;
            if read > 0 {
                subscriber.last_write = now;
            }
            self.metrics.delivered.add(read);
            if over {
                return self.end(slot, End::Closed);
            }
        }
        // Live means: has everything up to `seen`. With `more` it has not.
        self.after_catching_up(slot, written, if more { State::Behind } else { State::Live });
        self.arm(slot);
    }

    /// Tells a subscriber that it has missed something; it then goes on with what is left.
    fn tell(&mut self, slot: u32, gap: &Gap) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let event = head::gap_event(gap);
        let bytes = crate::event::encode::frame(event.as_bytes(), subscriber.is_framed());
        let written = subscriber.write_or_keep(bytes);
        self.after_catching_up(slot, written, State::Behind);
    }

    fn end_disconnected(&mut self) {
        for slot in self.subscribers.slots() {
            if self
                .subscribers
                .get_mut(slot)
                .is_some_and(|subscriber| subscriber.subscription.is_disconnected())
            {
                self.end(slot, End::Disconnected);
            }
        }
    }

    /// Sees to everyone whose time has come.
    fn on_time(&mut self) {
        let mut due = Vec::new();
        self.wheel.advance(self.now, &mut due);
        for (set_for, slot) in due {
            let Some(subscriber) = self.subscribers.get_mut(slot) else { continue };
            // An earlier setting of a timer that was set again since.
            if subscriber.timer != set_for {
                continue;
            }
            subscriber.timer = Tick::NEVER;
            self.on_timer(slot);
            self.arm(slot);
        }
    }

    fn on_timer(&mut self, slot: u32) {
        let now = self.now;
        let stall = self.settings.stall;
        let generation = self.subscribers.generation(slot);
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if let Some((recheck, due)) = subscriber.extras.as_mut().and_then(|extras| extras.recheck.as_mut())
            && *due <= now
        {
            *due = now.after(recheck.every);
            let ticket = Ticket { reader: self.reader, slot, generation: generation.unwrap_or_default() };
            (self.recheck)(recheck, ticket);
        }
        let paced = subscriber.pace().is_some_and(|pace| pace.due() <= now);
        match subscriber.state {
            State::Blocked if subscriber.last_write.after(stall) <= now => self.end(slot, End::Stalled),
            State::Live if paced => self.fall_behind(slot),
            State::Live if subscriber.last_write.after(subscriber.keep_alive) <= now => {
                subscriber.last_write = now;
                match subscriber.beat() {
                    Written::All => {}
                    Written::Part(_) => {
                        subscriber.subscription.cursor = self.seen;
                        self.block(slot);
                    }
                    Written::Gone => self.end(slot, End::ConnectionLost),
                }
            }
            _ => {}
        }
    }

    /// Sets the wheel to the soonest thing that can come due for this subscriber.
    fn arm(&mut self, slot: u32) {
        let stall = self.settings.stall;
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let write = match subscriber.state {
            State::Blocked => subscriber.last_write.after(stall),
            State::Live | State::Behind => subscriber.last_write.after(subscriber.keep_alive),
        };
        let extras = subscriber.extras.as_ref();
        let recheck = extras.and_then(|extras| extras.recheck.as_ref()).map_or(Tick::NEVER, |(_, due)| *due);
        let pace = subscriber.pace().map_or(Tick::NEVER, |pace| pace.due());
        let due = write.min(recheck).min(pace);
        if due < subscriber.timer {
            subscriber.timer = self.wheel.set(due, slot);
        }
    }

    fn end(&mut self, slot: u32, end: End) {
        let Some(subscriber) = self.subscribers.remove(slot) else { return };
        if let Some(moved) = self.groups.leave(subscriber.group, subscriber.place_in_group)
            && let Some(moved) = self.subscribers.get_mut(moved)
        {
            moved.place_in_group = subscriber.place_in_group;
        }
        tracing::debug!(end = end.as_str(), "a stream ended");
        subscriber.finish(end);
    }

    fn drain(&mut self) {
        // What was published before the drain was promised to those who listen.
        self.deliver();
        while !self.behind.is_empty() {
            self.deliver();
        }
        for slot in self.subscribers.slots() {
            self.end(slot, End::Drained);
        }
    }
}

/// Consecutive entries as bytes made once for a whole group.
struct Piece<'a> {
    entries: &'a [&'a Arc<Entry>],
    framed: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
}

impl Piece<'_> {
    fn bytes(&self, framed: bool) -> &Bytes {
        let made = if framed { &self.framed } else { &self.plain };
        made.get_or_init(|| match self.entries {
            [entry] => entry.encoded.bytes(framed),
            entries => {
                let mut joined = BytesMut::with_capacity(PIECE.min(64 * entries.len()));
                for entry in entries {
                    joined.extend_from_slice(&entry.encoded.bytes(framed));
                }
                joined.freeze()
            }
        })
    }

    /// The entry in which `taken` bytes end, and where it ends.
    fn cut(&self, taken: usize, framed: bool) -> Option<(&Arc<Entry>, usize)> {
        let mut end = 0;
        self.entries.iter().find_map(|entry| {
            end += entry.encoded.bytes(framed).len();
            (taken <= end).then_some((*entry, end))
        })
    }
}

fn pieces<'a>(entries: &'a [&'a Arc<Entry>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut size = 0;
        let fitting = rest.iter().take_while(|entry| {
            size += entry.encoded.len();
            size <= PIECE
        });
        let (piece, after) = rest.split_at(fitting.count().max(1));
        pieces.push(Piece { entries: piece, framed: OnceLock::new(), plain: OnceLock::new() });
        rest = after;
    }
    pieces
}

/// Writes what is new to a live subscriber. If the socket does not take all, the cursor is set to
/// the last entry of which it took a part.
fn write_pieces(subscriber: &mut Subscriber, pieces: &[Piece<'_>]) -> Written {
    let framed = subscriber.is_framed();
    // Behind the entry before the first: nothing in between concerns this group.
    let mut done = pieces.first().map_or(0, |piece| piece.entries[0].sequence - 1);
    for piece in pieces {
        let bytes = piece.bytes(framed);
        match subscriber.write(bytes) {
            Written::All => done = piece.entries[piece.entries.len() - 1].sequence,
            Written::Gone => return Written::Gone,
            Written::Part(taken) => {
                if taken > 0
                    && let Some((entry, end)) = piece.cut(taken, framed)
                {
                    done = entry.sequence;
                    subscriber.keep(bytes.slice(taken..end));
                }
                subscriber.subscription.cursor = done;
                return Written::Part(taken);
            }
        }
    }
    Written::All
}

/// Writes what a read brought to a subscriber with a `max_rate`.
fn write_paced(
    subscriber: &mut Subscriber,
    entries: Vec<Arc<Entry>>,
    now: Tick,
    all: bool,
    epoch: &Epoch,
) -> Written {
    let selection = Arc::clone(&subscriber.subscription.selection);
    let framed = subscriber.is_framed();
    let Some(pace) = subscriber.pace() else { return Written::All };
    let mut bytes = BytesMut::new();
    for entry in pace.pass(&selection, entries, now, all) {
        bytes.extend_from_slice(&pace.encode(&entry, epoch, framed));
    }
    subscriber.write_or_keep(bytes.freeze())
}
