//! What arrived, held against what was sent.
//!
//! The events of a channel are numbered by their publisher from zero. Whoever listens from the
//! first on must get each number once and in order; every other outcome has a name here.

/// The events of one channel as one subscriber sees them.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    next: u32,
    /// Numbers that were jumped over and have not come since. Empty in every good run.
    missing: Vec<u32>,
}

/// What all subscribers saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Events delivered.
    pub delivered: u64,
    /// Events that came twice.
    pub doubled: u64,
    /// Events that came after a later one.
    pub misordered: u64,
    /// `outboard.gap` events: holes that the server told.
    pub gaps: u64,
    /// Streams that the server ended.
    pub ended: u64,
    /// Streams that the server refused, by anything but a 200.
    pub refused: u64,
}

impl Sequence {
    /// Notes the arrival of event `number`.
    pub(crate) fn arrived(&mut self, number: u32, tally: &mut Tally) {
        tally.delivered += 1;
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if let Some(index) = self.missing.iter().position(|missing| *missing == number) {
            self.missing.swap_remove(index);
            tally.misordered += 1;
        } else {
            tally.doubled += 1;
        }
    }

    /// The number after the highest seen.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// How many of the first `sent` never came.
    pub(crate) fn lost(&self, sent: u32) -> u64 {
        self.missing.len() as u64 + u64::from(sent.saturating_sub(self.next))
    }
}
