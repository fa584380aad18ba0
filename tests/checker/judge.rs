//! The rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::evidence::{self, Generations, Stories, Story, Stretch};
use super::history::{History, Level, Readback, Said, Time, position};
use super::order::{Node, Order, Witness, seconds, short};
use super::{Class, Verdict};

pub(super) fn judge(history: &History, verdict: &mut Verdict) {
    let stories = evidence::stories(history);
    let generations = evidence::generations(history, &stories);
    let stretches = evidence::stretches(history, &generations);

    broken_off(history, &stories, &generations, verdict);
    replies(&stories, &generations, verdict);
    for generation in 0..generations.epochs.len() {
        let log = OneLog {
            history,
            stories: &stories,
            epoch: generations.epochs[generation],
            readbacks: evidence::readbacks(history, &generations, generation),
            stretches: stretches.iter().filter(|stretch| stretch.generation == generation).collect(),
            acknowledged: evidence::acknowledged(history, &generations, generation),
            generations: &generations,
            number: generation,
        };
        log.judge(verdict);
    }
}

/// A log that should have been there after a restart, and was not.
fn broken_off(
    history: &History,
    stories: &Stories<'_>,
    generations: &Generations<'_>,
    verdict: &mut Verdict,
) {
    for &life in &generations.broken {
        let before = generations.of_life[life] - 1;
        let stored = history.sends.iter().find(|sent| {
            let reply = sent.reply.as_ref().map(|reply| &reply.said);
            generations.of_life[sent.life] == before
                && matches!(reply, Some(Said::Ok { level: Level::Stored, .. }))
        });
        if let Some(sent) = stored.filter(|sent| stories.contains_key(&*sent.data)) {
            let event = short(&sent.data);
            verdict.add(
                Class::Lost,
                format!("`{event}` was stored, and life {life} began another log than the one it was in"),
            );
        }
    }
}

/// One key, one place.
fn replies(stories: &Stories<'_>, generations: &Generations<'_>, verdict: &mut Verdict) {
    for (data, story) in stories.iter().filter(|(_, story)| story.dedupe) {
        let mut first: HashMap<usize, &str> = HashMap::new();
        for sent in &story.tries {
            let Some(Said::Ok { id, duplicate, .. }) = sent.reply.as_ref().map(|reply| &reply.said) else {
                continue;
            };
            let generation = generations.of_life[sent.life];
            let earlier = first.insert(generation, id);
            let Some(earlier) = earlier.filter(|earlier| !*duplicate || earlier != id) else { continue };
            verdict.add(
                Class::Doubled,
                format!(
                    "`{}` was acknowledged as {earlier}, and tried again as {id}{}",
                    short(data),
                    if *duplicate { " (duplicate)" } else { ", as if it were new" }
                ),
            );
        }
    }
}

/// All that is known of one log.
pub(super) struct OneLog<'a, 'h> {
    pub(super) history: &'h History,
    pub(super) stories: &'a Stories<'h>,
    pub(super) epoch: Option<&'h str>,
    pub(super) readbacks: Vec<&'h Readback>,
    pub(super) stretches: Vec<&'a Stretch<'h>>,
    pub(super) acknowledged: BTreeMap<&'h str, (Time, &'h str)>,
    pub(super) generations: &'a Generations<'h>,
    pub(super) number: usize,
}

impl<'h> OneLog<'_, 'h> {
    fn judge(&self, verdict: &mut Verdict) {
        self.phantoms(verdict);
        self.doubles(verdict);
        self.numbers_given_twice(verdict);
        self.gone_from_the_log(verdict);
        self.torn(verdict);
        self.ahead(verdict);
        let order = self.order();
        if let Some(words) = order.contradiction() {
            return verdict.add(Class::Reordered, words);
        }
        for stretch in &self.stretches {
            self.missing(stretch, &order, verdict);
            self.false_gap(stretch, &order, verdict);
        }
    }

    // ---- phantoms ----------------------------------------------------------------------------

    fn phantoms(&self, verdict: &mut Verdict) {
        for stretch in &self.stretches {
            for &(at, id, data) in &stretch.events {
                let who = format!("client {}", stretch.client.name);
                self.phantom(&who, at, id, data, &stretch.client.channels, verdict);
            }
        }
        for readback in &self.readbacks {
            for (id, data) in &readback.entries {
                let who = format!("the log of `{}`", readback.channel);
                self.phantom(&who, readback.at, id, data, std::slice::from_ref(&readback.channel), verdict);
            }
        }
    }

    fn phantom(&self, who: &str, at: Time, id: &str, data: &str, channels: &[String], verdict: &mut Verdict) {
        let Some(story) = self.stories.get(data) else {
            return verdict
                .add(Class::Phantom, format!("{who} has `{}` ({id}), which nobody sent", short(data)));
        };
        let event = short(data);
        if at < story.first_sent {
            let (at, sent) = (seconds(at), seconds(story.first_sent));
            verdict.add(Class::Phantom, format!("{who} has `{event}` at {at}, and it was sent at {sent}"));
        }
        if !story.channels.iter().any(|channel| channels.contains(channel)) {
            verdict.add(
                Class::Phantom,
                format!("{who} has `{event}`, which was sent to {}", story.channels.join(", ")),
            );
        }
        if story.was_always_refused() {
            verdict.add(Class::Phantom, format!("{who} has `{event}`, which was refused"));
        }
        if !self.is_its_id(story, id) {
            verdict
                .add(Class::Phantom, format!("{who} has `{event}` under the id {id}, which is not its own"));
        }
    }

    fn is_its_id(&self, story: &Story<'_>, id: &str) -> bool {
        match story.own_id {
            Some(own) => own == id,
            None => position(id).is_some_and(|(epoch, _)| self.epoch.is_none_or(|ours| ours == epoch)),
        }
    }

    // ---- copies ------------------------------------------------------------------------------

    fn doubles(&self, verdict: &mut Verdict) {
        for stretch in &self.stretches {
            let events = stretch.events.iter().map(|&(_, id, data)| (id, data));
            self.copies(&format!("client {} got", stretch.client.name), events, verdict);
        }
        for readback in &self.readbacks {
            let events = readback.entries.iter().map(|(id, data)| (&**id, &**data));
            self.copies(&format!("the log of `{}` has", readback.channel), events, verdict);
        }
    }

    fn copies<'e>(&self, who: &str, events: impl Iterator<Item = (&'e str, &'e str)>, verdict: &mut Verdict) {
        let mut seen: HashMap<&str, Vec<&str>> = HashMap::new();
        for (id, data) in events {
            let ids = seen.entry(data).or_default();
            let most = self.stories.get(data).map_or(usize::MAX, Story::most_copies);
            let has_own_id = self.stories.get(data).is_some_and(|story| story.own_id.is_some());
            if (!has_own_id && ids.contains(&id)) || ids.len() >= most {
                verdict.add(
                    Class::Doubled,
                    format!("{who} `{}` twice: {}, and again {id}", short(data), ids.join(", ")),
                );
            }
            ids.push(id);
        }
    }

    /// The sequence numbers of this log's events, as anybody saw them.
    fn numbers(&self) -> Vec<(u64, &'h str)> {
        let of = |id: &str, data: &'h str| {
            self.stories.get(data).filter(|story| story.own_id.is_none() && story.most_copies() == 1)?;
            let (epoch, number) = position(id)?;
            (self.epoch == Some(epoch)).then_some((number, data))
        };
        let clients = self.stretches.iter().flat_map(|stretch| stretch.events.iter());
        let seen = clients.filter_map(|&(_, id, data)| of(id, data));
        let entries = self.readbacks.iter().flat_map(|readback| readback.entries.iter());
        let found = entries.filter_map(|(id, data)| of(id, data));
        let told = self.acknowledged.iter().filter_map(|(data, (_, id))| of(id, data));
        let mut numbers: Vec<_> = seen.chain(found).chain(told).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// A number that a client holds and that stands for something else now, or an event that has two.
    fn numbers_given_twice(&self, verdict: &mut Verdict) {
        let numbers = self.numbers();
        for pair in numbers.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let (one, other) = (short(pair[0].1), short(pair[1].1));
            verdict.add(Class::Ahead, format!("number {} was given to `{one}` and to `{other}`", pair[0].0));
        }
        let mut places: HashMap<&str, u64> = HashMap::new();
        for (number, data) in numbers {
            if let Some(other) = places.insert(data, number) {
                verdict.add(
                    Class::Doubled,
                    format!("`{}` stands at number {other} and at number {number}", short(data)),
                );
            }
        }
    }

    // ---- what the log was found to hold ------------------------------------------------------

    /// Whether a promise given for this try holds when the log is read back then.
    fn is_promised(&self, data: &str, readback: &Readback) -> bool {
        self.stories[data].tries.iter().any(|sent| {
            let Some(reply) = &sent.reply else { return false };
            let Said::Ok { level, .. } = &reply.said else { return false };
            self.generations.of_life[sent.life] == self.number
                && reply.at < readback.at
                && (*level == Level::Stored || sent.life == readback.life)
        })
    }

    fn gone_from_the_log(&self, verdict: &mut Verdict) {
        for readback in self.readbacks.iter().filter(|_| self.history.keeps_everything) {
            let held = held(readback);
            for (data, (at, id)) in &self.acknowledged {
                let story = &self.stories[data];
                if story.channels.contains(&readback.channel)
                    && !held.contains(data)
                    && self.is_promised(data, readback)
                {
                    verdict.add(
                        Class::Lost,
                        format!(
                            "`{}` was acknowledged as {id} at {} (life {}), and the log of `{}` does not have it at {} (life {})",
                            short(data), seconds(*at), story.tries[0].life,
                            readback.channel, seconds(readback.at), readback.life
                        ),
                    );
                }
            }
        }
    }

    fn torn(&self, verdict: &mut Verdict) {
        if !self.history.keeps_everything {
            return;
        }
        for (one, other) in
            self.readbacks.iter().flat_map(|one| self.readbacks.iter().map(move |other| (one, other)))
        {
            if other.at < one.at || other.life != one.life || one.channel == other.channel {
                continue;
            }
            let held = held(other);
            for (_, data) in &one.entries {
                let Some(story) = self.stories.get(&**data) else { continue };
                if story.channels.contains(&other.channel) && !held.contains(&**data) {
                    verdict.add(
                        Class::Torn,
                        format!("`{}` is in `{}` and not in `{}`", short(data), one.channel, other.channel),
                    );
                }
            }
        }
    }

    /// Who holds an event that the log does not have later.
    fn ahead(&self, verdict: &mut Verdict) {
        for readback in self.readbacks.iter().filter(|_| self.history.keeps_everything) {
            let held = held(readback);
            for stretch in &self.stretches {
                for &(at, id, data) in &stretch.events {
                    let Some(story) = self.stories.get(data) else { continue };
                    if at < readback.at && story.channels.contains(&readback.channel) && !held.contains(data)
                    {
                        verdict.add(
                            Class::Ahead,
                            format!(
                                "client {} got `{}` ({id}) at {}, and the log of `{}` does not have it at {}",
                                stretch.client.name,
                                short(data),
                                seconds(at),
                                readback.channel,
                                seconds(readback.at)
                            ),
                        );
                    }
                }
            }
        }
    }

    // ---- order -------------------------------------------------------------------------------

    /// Whether the event can stand in the log but once, and was sent at all.
    fn is_single(&self, data: &str) -> bool {
        self.stories.get(data).is_some_and(|story| story.most_copies() == 1)
    }

    fn order(&self) -> Order<'h> {
        let mut order = Order::default();
        let acknowledged = self.acknowledged.values().map(|(at, _)| *at);
        let begun = self.stretches.iter().map(|stretch| stretch.since);
        order.set_clock(acknowledged.chain(begun).collect());

        for stretch in &self.stretches {
            let nodes = self.once(stretch.events.iter().map(|&(_, _, data)| data), &mut order);
            order.chain(nodes, &Witness::Client(stretch.client.name.clone()));
        }
        for readback in &self.readbacks {
            let nodes = self.once(readback.entries.iter().map(|(_, data)| &**data), &mut order);
            order.chain(nodes, &Witness::Readback(readback.channel.clone()));
        }
        let numbers = self.numbers();
        let nodes = self.once(numbers.iter().map(|(_, data)| *data), &mut order);
        order.chain(nodes, &Witness::Numbers);
        for (data, (at, _)) in &self.acknowledged {
            if self.is_single(data) {
                let node = order.event(data);
                order.done_by(node, *at);
            }
        }
        self.publishers(&mut order);
        let events: Vec<_> = order.events().collect();
        for (data, node) in events {
            order.begun_after(node, self.stories[data].first_sent);
        }
        order
    }

    /// Publishers try again, in the same order, what was not acknowledged, before they go on: so what
    /// they sent first stands first, wherever the process died.
    fn publishers(&self, order: &mut Order<'h>) {
        let mut last: HashMap<usize, Node> = HashMap::new();
        for sent in &self.history.sends {
            let story = &self.stories[&*sent.data];
            let is_first = std::ptr::eq(story.tries[0], sent);
            // What was refused in between may come later than what was sent after it.
            let Some(node) = order.find(&sent.data).filter(|_| is_first && !story.was_refused_once()) else {
                continue;
            };
            if let Some(last) = last.insert(story.publisher, node) {
                order.say(last, node, Witness::Publisher(story.publisher));
            }
        }
    }

    /// The nodes of these events, repetitions left out.
    fn once(&self, events: impl Iterator<Item = &'h str>, order: &mut Order<'h>) -> Vec<Node> {
        let mut seen = HashSet::new();
        events
            .filter(|data| self.is_single(data) && seen.insert(*data))
            .map(|data| order.event(data))
            .collect()
    }
}

fn held(readback: &Readback) -> HashSet<&str> {
    readback.entries.iter().map(|(_, data)| &**data).collect()
}
