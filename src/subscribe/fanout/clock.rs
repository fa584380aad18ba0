//! What is due at a time: heartbeats, stall limits, rechecks and rates.

use std::time::{Duration, Instant};

use super::Slot;
use super::handle::Ticket;
use super::subscriber::{State, Written};
use super::wheel::{TICK, Tick};
use super::worker::Worker;
use crate::subscribe::end::End;
use crate::subscribe::promises::{MayStay, Then};
use crate::subscribe::{Settings, Slow};

/// How soon we look, and look again, whether a client whose socket is full has fallen off the end of the
/// history. When thousands do not read, they are full at the same moment, so their times are spread over
/// a second.
fn glance(slot: Slot) -> Duration {
    Duration::from_secs(1) + TICK * (slot.index() % 64) as u32
}

/// How long news may wait for those whose time has come: thousands that stalled together are cut off
/// together, which takes the system a while for each, and those who read shall not wait for all of it.
const TURN: Duration = Duration::from_millis(2);

impl Worker {
    /// Sees to some of those whose time has come.
    pub(in crate::subscribe) fn on_time(&mut self) {
        self.wheel.advance(self.now, &mut self.due);
        let begun = Instant::now();
        while begun.elapsed() < TURN {
            let Some((set_for, slot)) = self.due.pop_front() else { return };
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

    fn on_timer(&mut self, slot: Slot) {
        let now = self.now;
        let Settings { stall, slow, .. } = self.settings;
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        if let Some(bound) = subscriber.extras.as_mut().and_then(|extras| extras.bond.as_mut())
            && bound.recheck <= now
        {
            // One question at a time: a site that is slower than its recheck must not have them pile up.
            bound.recheck = Tick::NEVER;
            self.ask_again.ask(&bound.bond, Ticket { reader: self.reader, slot });
        }
        let paced = subscriber.pace().is_some_and(|pace| pace.due() <= now);
        match subscriber.state {
            State::Blocked if subscriber.last_write.after(stall) <= now => self.end(slot, End::Stalled),
            State::Blocked if slow == Slow::Disconnect => {
                // It counts as a receiver; nobody should take it for one for longer than need be.
                let has_fallen = self.broker.reading(self.reader).has_fallen(&subscriber.subscription);
                if has_fallen {
                    self.end(slot, End::FellBehind);
                }
            }
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

    /// The site was asked again about a client, and this is what came of it.
    pub(in crate::subscribe) fn hear(&mut self, slot: Slot, may_stay: MayStay) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let Some(bound) = subscriber.extras.as_mut().and_then(|extras| extras.bond.as_mut()) else { return };
        let Some(recheck) = bound.bond.recheck() else { return };
        match bound.patience.take(may_stay, recheck.every, self.settings.recheck_grace) {
            Then::Ask(pause) => {
                bound.recheck = self.now.after(pause);
                self.arm(slot);
            }
            Then::End(end) => self.end(slot, end),
        }
    }

    /// Sets the wheel to the soonest thing that can come due for this subscriber.
    pub(in crate::subscribe) fn arm(&mut self, slot: Slot) {
        let Settings { stall, slow, .. } = self.settings;
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        let write = match subscriber.state {
            State::Blocked if slow == Slow::Disconnect => {
                subscriber.last_write.after(stall).min(self.now.after(glance(slot)))
            }
            State::Blocked => subscriber.last_write.after(stall),
            State::Live | State::Behind => subscriber.last_write.after(subscriber.keep_alive),
        };
        let extras = subscriber.extras.as_ref();
        let bound = extras.and_then(|extras| extras.bond.as_ref());
        let recheck = bound.map_or(Tick::NEVER, |bound| bound.recheck);
        let pace = subscriber.pace().map_or(Tick::NEVER, |pace| pace.due());
        let due = write.min(recheck).min(pace);
        if due < subscriber.timer {
            subscriber.timer = self.wheel.set(due, slot);
        }
    }
}
