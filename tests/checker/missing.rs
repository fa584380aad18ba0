//! What clients missed, and what they were told about it.

use std::collections::HashSet;

use super::evidence::Stretch;
use super::history::{Readback, Time};
use super::judge::OneLog;
use super::order::{Node, Order, seconds, short};
use super::{Class, Verdict};

impl<'h> OneLog<'_, 'h> {
    // ---- what clients missed -----------------------------------------------------------------

    /// What stands between the stretch's beginning and its last event and was not given.
    fn missed(&self, stretch: &Stretch<'h>, order: &Order<'h>) -> Vec<&'h str> {
        let got: HashSet<&str> = stretch.events.iter().map(|&(_, _, data)| data).collect();
        let mut nodes = stretch.events.iter().filter_map(|&(_, _, data)| order.find(data));
        let Some(first) = nodes.next() else { return Vec::new() };
        let last = nodes.next_back().unwrap_or(first);
        let roots: Vec<Node> = order.moment(stretch.since).into_iter().chain([first]).collect();
        let after = order.all_after(&roots);
        let before = order.all_before(last);
        let all = stretch.from_the_beginning && self.history.keeps_everything;
        let mut missed: Vec<_> = order
            .events()
            .filter(|&(data, node)| before[node] && (all || after[node]) && !got.contains(data))
            .map(|(data, _)| data)
            .filter(|data| self.is_for(stretch, data))
            .collect();
        missed.sort_unstable();
        missed
    }

    fn is_for(&self, stretch: &Stretch<'_>, data: &str) -> bool {
        self.stories[data].channels.iter().any(|channel| stretch.client.channels.contains(channel))
    }

    pub(super) fn missing(&self, stretch: &Stretch<'h>, order: &Order<'h>, verdict: &mut Verdict) {
        for data in self.missed(stretch, order) {
            let client = &stretch.client.name;
            let event = short(data);
            let next = self.next_got(stretch, order, data);
            match self.acknowledged.get(data) {
                Some((at, id)) if !self.was_seen(data) => verdict.add(
                    Class::Lost,
                    format!("`{event}` was acknowledged as {id} at {}, and nobody has it; client {client} got `{next}` after it", seconds(*at)),
                ),
                _ => verdict.add(
                    Class::Hole,
                    format!("client {client} got `{next}` and not `{event}` before it, and was told of no gap"),
                ),
            }
        }
    }

    /// The first event that the client got although it stands after this one.
    fn next_got(&self, stretch: &Stretch<'h>, order: &Order<'h>, data: &str) -> &'h str {
        let Some(node) = order.find(data) else { return "" };
        let after = order.all_after(&[node]);
        let mut events = stretch.events.iter().map(|&(_, _, data)| data);
        events.find(|got| order.find(got).is_some_and(|got| after[got])).map_or("", short)
    }

    fn was_seen(&self, data: &str) -> bool {
        let by_client = |stretch: &&Stretch<'_>| stretch.events.iter().any(|&(_, _, seen)| seen == data);
        let by_reader = |readback: &&Readback| readback.entries.iter().any(|(_, seen)| seen == data);
        self.stretches.iter().any(by_client) || self.readbacks.iter().any(by_reader)
    }

    // ---- gaps --------------------------------------------------------------------------------

    /// A gap is right if the id is of another log, or something after it is missing.
    pub(super) fn false_gap(&self, stretch: &Stretch<'h>, order: &Order<'h>, verdict: &mut Verdict) {
        let Some((at, Some(asked))) = stretch.gap else { return };
        let Some(place) = self.place(stretch, at, asked, order) else { return };
        let got: HashSet<&str> = stretch.events.iter().map(|&(_, _, data)| data).collect();
        let before = order.all_before(place);
        // Whatever may stand after the place may be what is missing; of events that nobody ever saw only
        // those count that may have been there and left.
        let is_missing = self.stories.iter().any(|(data, story)| {
            !got.contains(data)
                && self.is_for(stretch, data)
                && match order.find(data) {
                    Some(node) => !before[node],
                    None => !self.history.keeps_everything && !story.was_always_refused(),
                }
        });
        if !is_missing {
            verdict.add(
                Class::FalseGap,
                format!(
                    "client {} came with {asked} at {}, was told of a gap, and nothing after it was missing",
                    stretch.client.name,
                    seconds(at)
                ),
            );
        }
    }

    /// The event whose id the client came with at that time, if it got it from this log.
    fn place(&self, stretch: &Stretch<'_>, by: Time, asked: &str, order: &Order<'h>) -> Option<Node> {
        let of_client = self
            .stretches
            .iter()
            .filter(|other| std::ptr::eq(other.client, stretch.client))
            .flat_map(|other| other.events.iter());
        let data =
            of_client.filter(|(at, id, _)| *id == asked && *at < by).map(|&(_, _, data)| data).next_back()?;
        // Whether the log has it is another question, asked elsewhere.
        order.find(data)
    }
}
