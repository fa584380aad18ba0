//! A timer wheel: thousands of deadlines for the cost of a few words each.
//!
//! Heartbeats, stall limits, rechecks and rates need not be exact to the millisecond, and most of
//! them are moved before they come due. So a deadline is a number in the slot of its tick, found
//! again when the hand passes; moving it later costs nothing, for whoever is woken too early just
//! sets the timer anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A moment, counted in [`TICK`]s since the wheel was made: enough for two years, after which the
/// clock stands still.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::subscribe) struct Tick(u32);

/// How exact the wheel is.
pub(in crate::subscribe) const TICK: Duration = Duration::from_millis(16);
const SLOTS: usize = 1024;

impl Tick {
    pub(in crate::subscribe) const NEVER: Self = Self(u32::MAX);

    /// The tick that is at least this much later.
    pub(in crate::subscribe) fn after(self, duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis());
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)).min(u32::MAX - 1))
    }
}

impl Tick {
    /// How long it is to a later tick; nothing to an earlier one.
    pub(in crate::subscribe) fn span_to(self, later: Self) -> Duration {
        TICK * later.0.saturating_sub(self.0)
    }
}

/// Deadlines of whoever waits for them.
#[derive(Debug)]
pub(in crate::subscribe) struct Wheel<T> {
    start: Instant,
    hand: Tick,
    slots: Vec<Vec<(Tick, T)>>,
    waiting: usize,
    /// Nothing lies in the slots between the hand and this one, unless the hand has passed it.
    next: Tick,
}

impl<T: Copy> Wheel<T> {
    pub(in crate::subscribe) fn new(now: Instant) -> Self {
        Self { start: now, hand: Tick(0), slots: vec![Vec::new(); SLOTS], waiting: 0, next: Tick::NEVER }
    }

    /// The current tick.
    pub(in crate::subscribe) fn tick(&self, now: Instant) -> Tick {
        let ticks = now.saturating_duration_since(self.start).as_millis() / TICK.as_millis();
        Tick(u32::try_from(ticks).unwrap_or(u32::MAX - 1))
    }

    /// Lets `who` be called at `due`, or with the next tick if that is past; the tick it is.
    pub(in crate::subscribe) fn set(&mut self, due: Tick, who: T) -> Tick {
        let due = due.max(Tick(self.hand.0 + 1));
        self.slots[due.0 as usize % SLOTS].push((due, who));
        self.waiting += 1;
        self.next = self.next.min(due);
        due
    }

    /// Moves the hand to `now` and calls those that are due, with the tick they were set for.
    pub(in crate::subscribe) fn advance(&mut self, now: Tick, due: &mut VecDeque<(Tick, T)>) {
        let passed = (now.0.saturating_sub(self.hand.0) as usize).min(SLOTS);
        for step in 1..=passed {
            let slot = &mut self.slots[(self.hand.0 as usize + step) % SLOTS];
            let before = due.len();
            // What is further than one turn away stays for a later one.
            due.extend(slot.extract_if(.., |(tick, _)| *tick <= now));
            self.waiting -= due.len() - before;
        }
        self.hand = self.hand.max(now);
    }

    /// How long nobody is due; `None` while nobody waits.
    pub(in crate::subscribe) fn idle(&mut self, now: Instant) -> Option<Duration> {
        if self.waiting == 0 {
            return None;
        }
        if self.next <= self.hand {
            let holds = |step: &usize| !self.slots[(self.hand.0 as usize + step) % SLOTS].is_empty();
            let step = (1..SLOTS).find(holds).unwrap_or(SLOTS);
            self.next = Tick(self.hand.0.saturating_add(step as u32));
        }
        let due = self.start + TICK * self.next.0;
        Some(due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wheel: &mut Wheel<u32>, to: u32) -> Vec<u32> {
        let mut due = VecDeque::new();
        wheel.advance(Tick(to), &mut due);
        due.into_iter().map(|(_, who)| who).collect()
    }

    #[test]
    fn everyone_is_called_once_when_due_and_not_before() {
        let mut wheel = Wheel::new(Instant::now());
        wheel.set(Tick(3), 1);
        wheel.set(Tick(5), 2);
        wheel.set(Tick(3 + 1024), 3);
        wheel.set(Tick(5000), 4);

        assert_eq!(run(&mut wheel, 2), [0; 0]);
        assert_eq!(run(&mut wheel, 4), [1]);
        assert_eq!(run(&mut wheel, 1026), [2]);
        assert_eq!(run(&mut wheel, 1027), [3]);
        assert_eq!(run(&mut wheel, 9000), [4]);
        assert_eq!(run(&mut wheel, 20_000), [0; 0]);
        assert_eq!(wheel.idle(Instant::now()), None);
    }

    #[test]
    fn it_is_idle_until_the_soonest_is_due_or_may_be() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let idle = |wheel: &mut Wheel<u32>| wheel.idle(start).map(|idle| idle.as_millis() / TICK.as_millis());

        wheel.set(Tick(40), 1);
        wheel.set(Tick(30), 2);
        wheel.set(Tick(2000), 3);
        assert_eq!(idle(&mut wheel), Some(30));
        run(&mut wheel, 30);
        assert_eq!(idle(&mut wheel), Some(40));
        wheel.set(Tick(35), 4);
        assert_eq!(idle(&mut wheel), Some(35));
        run(&mut wheel, 40);
        // The slot that the last one lies in is looked at once in each turn.
        assert_eq!(idle(&mut wheel), Some(2000 - 1024));
        run(&mut wheel, 2000 - 1024);
        assert_eq!(idle(&mut wheel), Some(2000));
        run(&mut wheel, 2000);
        assert_eq!(idle(&mut wheel), None);
    }

    #[test]
    fn what_is_due_already_comes_with_the_next_tick() {
        let mut wheel = Wheel::new(Instant::now());
        run(&mut wheel, 100);

        wheel.set(Tick(7), 1);

        assert_eq!(run(&mut wheel, 101), [1]);
    }

    #[test]
    fn a_duration_is_never_cut_short() {
        let start = Tick(10);

        assert_eq!(start.after(Duration::ZERO), Tick(10));
        assert_eq!(start.after(Duration::from_millis(1)), Tick(11));
        assert_eq!(start.after(Duration::from_millis(16)), Tick(11));
        assert_eq!(start.after(Duration::from_millis(17)), Tick(12));
        assert!(start.after(Duration::MAX) < Tick::NEVER);
    }
}
