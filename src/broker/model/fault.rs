//! Faults of a log, planted into what its clients are shown: the model has to find each.

use crate::broker::{Gap, Reason};
use crate::event::{Epoch, Position};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// An event is left out.
    Hole,
    /// Nothing is said of a gap.
    SilentGap,
    Duplicate,
    Reorder,
    /// A gap is told where there is none.
    FalseGap,
    /// A stream goes on behind its end.
    NoEnd,
}

impl Fault {
    /// The word that the verdict begins with.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Hole | Self::SilentGap => "hole",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::FalseGap => "false gap",
            Self::NoEnd => "over",
        }
    }

    pub(super) fn on_read(self, numbers: &mut Vec<u64>) {
        match (self, &numbers[..]) {
            (Self::Hole, [_, _, ..]) => drop(numbers.remove(0)),
            (Self::Duplicate, &[first, ..]) => numbers.push(first),
            (Self::Reorder, [_, _, ..]) => numbers.swap(0, 1),
            _ => {}
        }
    }

    pub(super) fn on_gap(self, gap: &mut Option<Gap>, resumes: bool, head: u64, epoch: &Epoch) {
        match self {
            Self::SilentGap => *gap = None,
            Self::FalseGap if resumes && gap.is_none() => {
                let resume = Position { epoch: epoch.clone(), sequence: head };
                let (requested, oldest, newest) = (None, None, None);
                *gap = Some(Gap { reason: Reason::Trimmed, requested, oldest, newest, resume });
            }
            _ => {}
        }
    }
}
