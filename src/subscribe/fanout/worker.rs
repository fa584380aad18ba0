//! A fan-out thread: one loop over the log's news, the sockets' readiness and the clock.
//!
//! Subscribers that have everything get what is new as bytes made once per group. Those that lag
//! read for themselves, a few at a time so that publishers are not kept waiting. Those whose
//! sockets are full cost a publish nothing until they are not.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::groups::Groups;
use super::handle::{Alarm, AskAgain, Command, Handle};
use super::lag::{Cuts, LOOK, Lagging};
use super::rest::Rest;
use super::subscriber::{State, Subscriber, Written};
use super::wheel::{Tick, Wheel};
use super::{Client, Slot};
use crate::broker::{Broker, ReaderId};
use crate::metrics::Metrics;
use crate::slots::Slots;
use crate::subscribe::Settings;
use crate::subscribe::end::End;
use crate::subscribe::promises::spread;
use crate::vital;

#[cfg(test)]
mod histories;

/// The token of what wakes the thread; sockets have their slots' numbers.
const ALARM: Token = Token(usize::MAX);

/// What a fan-out thread knows. How it delivers is in `deliver`, what it does when a time has come, in `clock`.
pub(in crate::subscribe) struct Worker {
    pub(in crate::subscribe) poll: Poll,
    pub(in crate::subscribe) broker: Arc<Broker>,
    pub(in crate::subscribe) reader: ReaderId,
    pub(in crate::subscribe) settings: Settings,
    pub(in crate::subscribe) metrics: Arc<Metrics>,
    pub(in crate::subscribe) commands: mpsc::Receiver<Command>,
    pub(in crate::subscribe) subscribers: Slots<Subscriber, Client>,
    pub(in crate::subscribe) groups: Groups,
    /// Everything up to here has been handed to those that are live.
    pub(in crate::subscribe) seen: u64,
    /// Who waits for a turn to read.
    pub(in crate::subscribe) behind: VecDeque<Slot>,
    pub(in crate::subscribe) wheel: Wheel<Slot>,
    /// Whose time has come, and the tick for which they were called.
    pub(in crate::subscribe) due: VecDeque<(Tick, Slot)>,
    pub(in crate::subscribe) now: Tick,
    pub(in crate::subscribe) ask_again: AskAgain,
    pub(in crate::subscribe) lagging: Lagging,
    pub(in crate::subscribe) cuts: Cuts,
    /// How long it leaves the log alone after the last round.
    pub(in crate::subscribe) rest: Rest,
}

impl Worker {
    /// A worker and the handle to it. It does nothing before [`Worker::run`].
    ///
    /// # Errors
    /// When the system gives no more file handles.
    pub(in crate::subscribe) fn new(
        broker: Arc<Broker>,
        settings: Settings,
        metrics: Arc<Metrics>,
        ask_again: AskAgain,
    ) -> io::Result<(Self, Handle)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), ALARM)?);
        let (sender, commands) = mpsc::channel();
        let reader = broker.add_reader(Arc::new(Alarm(Arc::clone(&waker))));
        let worker = Self {
            poll,
            seen: broker.head().sequence,
            broker,
            reader,
            settings,
            metrics,
            commands,
            subscribers: Slots::default(),
            groups: Groups::default(),
            behind: VecDeque::new(),
            wheel: Wheel::new(Instant::now()),
            due: VecDeque::new(),
            now: Tick::default(),
            ask_again,
            lagging: Lagging::default(),
            cuts: Cuts::default(),
            rest: Rest::none(),
        };
        Ok((worker, Handle { reader, commands: Some(sender), waker }))
    }

    /// Runs until asked to drain.
    pub(in crate::subscribe) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let may_sleep = self.behind.is_empty() && self.due.is_empty();
            let idle = if may_sleep { self.wheel.idle(Instant::now()) } else { Some(Duration::ZERO) };
            let idle = if self.lagging.is_waited_for() { Some(idle.unwrap_or(LOOK).min(LOOK)) } else { idle };
            match self.poll.poll(&mut events, idle) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // The descriptor is ours and open: this cannot happen while memory is sound.
                    vital::end("a fan-out thread", &format!("it cannot wait for its sockets: {error}"));
                    return self.drain();
                }
            }
            if self.turn(&events, Instant::now()) {
                return self.drain();
            }
        }
    }

    /// Sees to what has come up by `now`; whether it is time to end.
    fn turn(&mut self, events: &Events, now: Instant) -> bool {
        self.now = self.wheel.tick(now);
        for event in events.iter().filter(|event| event.token() != ALARM) {
            let Some(slot) = self.subscribers.key_at(event.token().0) else { continue };
            self.on_ready(slot, event.is_readable(), event.is_writable());
        }
        if self.obey() {
            return true;
        }
        self.deliver();
        self.on_time();
        false
    }

    /// Does what was asked; whether that is to end.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Adopt(subscriber)) => self.adopt(*subscriber),
                Ok(Command::Hear(ticket, may_stay)) => self.hear(ticket.slot, may_stay),
                // Whoever could ask for anything is gone: that is a drain too.
                Ok(Command::Drain) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    fn adopt(&mut self, subscriber: Subscriber) {
        let slot = self.subscribers.insert(subscriber);
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        subscriber.group = Some(self.groups.enter(&subscriber.subscription.selection, slot));
        subscriber.last_write = self.now;
        if subscriber.register(self.poll.registry(), Token(slot.index())).is_err() {
            return self.end(slot, End::ConnectionLost);
        }
        if let Some(bound) = subscriber.extras.as_mut().and_then(|extras| extras.bond.as_mut())
            && let Some(recheck) = bound.bond.recheck()
        {
            bound.recheck = self.now.after(spread(recheck.every));
        }
        let written = subscriber.flush();
        self.after_catching_up(slot, written, State::Behind);
        self.arm(slot);
    }

    fn on_ready(&mut self, slot: Slot, readable: bool, writable: bool) {
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
    pub(in crate::subscribe) fn after_catching_up(&mut self, slot: Slot, written: Written, then: State) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        match written {
            Written::Gone => self.end(slot, End::ConnectionLost),
            Written::Part(_) => self.block(slot),
            Written::All => {
                if then == State::Behind {
                    line_up(&mut self.behind, subscriber, slot);
                }
                self.set_state(slot, then);
            }
        }
    }

    /// Changes how a subscriber stands to the log, and with that its place in its group.
    pub(in crate::subscribe) fn set_state(&mut self, slot: Slot, state: State) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let before = std::mem::replace(&mut subscriber.state, state);
        let is_live = state == State::Live;
        if is_live == (before == State::Live) {
            return;
        }
        if !is_live {
            self.lagging.note(slot, subscriber);
        }
        let Some((group, place)) = subscriber.group else { return };
        let Some((new, other)) = self.groups.set_live(group, place, is_live) else { return };
        for (member, place) in [(other, place), (slot, new)] {
            if let Some(member) = self.subscribers.get_mut(member) {
                member.group = Some((group, place));
            }
        }
    }

    pub(in crate::subscribe) fn block(&mut self, slot: Slot) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if subscriber.state != State::Blocked {
            // The stall limit counts from now, even if nothing was written for long before.
            subscriber.last_write = self.now;
            self.set_state(slot, State::Blocked);
        }
        self.arm(slot);
    }

    pub(in crate::subscribe) fn end(&mut self, slot: Slot, end: End) {
        if end == End::FellBehind
            && let Some(subscriber) = self.subscribers.get(slot)
        {
            self.metrics.fell_behind.add_one();
            self.cuts.note(subscriber, &self.broker);
        }
        // Only those that are not live leave a group.
        self.set_state(slot, State::Blocked);
        let Some(subscriber) = self.subscribers.remove(slot) else { return };
        if let Some((group, place)) = subscriber.group
            && let Some(moved) = self.groups.leave(group, place)
            && let Some(moved) = self.subscribers.get_mut(moved)
        {
            moved.group = Some((group, place));
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
        for slot in self.subscribers.keys() {
            self.end(slot, End::Drained);
        }
    }
}

/// Puts a subscriber in line to read, once: who stood there twice would be read for twice from the same
/// place, and get everything twice.
pub(in crate::subscribe) fn line_up(behind: &mut VecDeque<Slot>, subscriber: &mut Subscriber, slot: Slot) {
    if !std::mem::replace(&mut subscriber.is_in_line, true) {
        behind.push_back(slot);
    }
}
