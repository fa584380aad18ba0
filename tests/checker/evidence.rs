//! Puts together what a history says about each event, and about each log: the lives that went on with
//! the same log are one generation.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Client, History, Readback, Said, Sent, Time, What, position};

/// What publishers say about one event.
pub(super) struct Story<'a> {
    pub(super) first_sent: Time,
    pub(super) channels: &'a [String],
    pub(super) own_id: Option<&'a str>,
    pub(super) dedupe: bool,
    pub(super) publisher: usize,
    pub(super) tries: Vec<&'a Sent>,
}

impl Story<'_> {
    /// How often it may stand in one log.
    pub(super) fn most_copies(&self) -> usize {
        if self.dedupe { 1 } else { self.tries.len() }
    }

    pub(super) fn was_refused_once(&self) -> bool {
        self.tries.iter().any(|sent| is_error(sent))
    }

    /// Whether every answer was that nothing was published. After a fault of the store nobody can
    /// know what reached the disk.
    pub(super) fn was_always_refused(&self) -> bool {
        self.tries.iter().all(|sent| match &sent.reply {
            Some(reply) => matches!(&reply.said, Said::Error { code } if code != "store"),
            None => false,
        })
    }
}

fn is_error(sent: &Sent) -> bool {
    matches!(&sent.reply, Some(reply) if matches!(reply.said, Said::Error { .. }))
}

pub(super) type Stories<'a> = HashMap<&'a str, Story<'a>>;

pub(super) fn stories(history: &History) -> Stories<'_> {
    let mut stories: Stories<'_> = HashMap::new();
    for sent in &history.sends {
        let story = stories.entry(&sent.data).or_insert_with(|| Story {
            first_sent: sent.at,
            channels: &sent.channels,
            own_id: sent.own_id.as_deref(),
            dedupe: sent.dedupe,
            publisher: sent.publisher,
            tries: Vec::new(),
        });
        story.first_sent = story.first_sent.min(sent.at);
        story.tries.push(sent);
    }
    stories
}

/// Events that a client got one after the other without being told of a gap, from one log.
pub(super) struct Stretch<'a> {
    pub(super) client: &'a Client,
    pub(super) generation: usize,
    /// When its first connection stood.
    pub(super) since: Time,
    /// Whether it began with all there is: without an id, or with a gap.
    pub(super) from_the_beginning: bool,
    /// When, the id and the data of each.
    pub(super) events: Vec<(Time, &'a str, &'a str)>,
    /// The gap it began with: when, and the id the client came with.
    pub(super) gap: Option<(Time, Option<&'a str>)>,
}

/// For each life the log it had, and that log's epoch if anybody saw it.
pub(super) struct Generations<'a> {
    pub(super) of_life: Vec<usize>,
    pub(super) epochs: Vec<Option<&'a str>>,
    /// Lives that should have gone on with the log before, and did not.
    pub(super) broken: Vec<usize>,
}

pub(super) fn generations<'a>(history: &'a History, stories: &Stories<'a>) -> Generations<'a> {
    let seen = epochs_by_life(history, stories);
    let mut found = Generations { of_life: Vec::new(), epochs: Vec::new(), broken: Vec::new() };
    for (number, life) in history.lives.iter().enumerate() {
        let epoch = seen[number];
        let before = found.epochs.last().copied().flatten();
        let differs = epoch.is_some() && before.is_some() && epoch != before;
        if number > 0 && life.continues && !differs {
            if let Some(last) = found.epochs.last_mut() {
                *last = last.or(epoch);
            }
        } else {
            if number > 0 && life.continues {
                found.broken.push(number);
            }
            found.epochs.push(epoch);
        }
        found.of_life.push(found.epochs.len() - 1);
    }
    found
}

/// The epoch that the first id of each life names.
fn epochs_by_life<'a>(history: &'a History, stories: &Stories<'a>) -> Vec<Option<&'a str>> {
    let mut epochs = vec![None; history.lives.len()];
    let own: HashSet<&str> = stories.values().filter_map(|story| story.own_id).collect();
    let mut note = |life: usize, id: &'a str| {
        if let (None, Some((epoch, _)), false) = (epochs[life], position(id), own.contains(id)) {
            epochs[life] = Some(epoch);
        }
    };
    for sent in &history.sends {
        if let Some(Said::Ok { id, .. }) = sent.reply.as_ref().map(|reply| &reply.said) {
            note(sent.life, id);
        }
    }
    for readback in &history.readbacks {
        readback.entries.iter().for_each(|(id, _)| note(readback.life, id));
    }
    for client in &history.clients {
        let mut life = 0;
        for line in &client.lines {
            match &line.what {
                What::Connected { life: now, .. } => life = *now,
                What::Event { id, .. } => note(life, id),
                What::Gap { .. } | What::Ended => {}
            }
        }
    }
    epochs
}

pub(super) fn stretches<'a>(history: &'a History, generations: &Generations<'a>) -> Vec<Stretch<'a>> {
    history.clients.iter().flat_map(|client| stretches_of(client, generations)).collect()
}

fn stretches_of<'a>(client: &'a Client, generations: &Generations<'a>) -> Vec<Stretch<'a>> {
    let mut found: Vec<Stretch<'a>> = Vec::new();
    let mut asked: Option<&str> = None;
    for line in &client.lines {
        match &line.what {
            What::Connected { life, last_event_id } => {
                asked = last_event_id.as_deref();
                let generation = generations.of_life[*life];
                let goes_on = found.last().is_some_and(|stretch| stretch.generation == generation);
                if asked.is_none() || !goes_on {
                    found.push(Stretch {
                        client,
                        generation,
                        since: line.at,
                        from_the_beginning: asked.is_none(),
                        events: Vec::new(),
                        gap: None,
                    });
                }
            }
            What::Event { id, data } => {
                if let Some(stretch) = found.last_mut() {
                    stretch.events.push((line.at, id, data));
                }
            }
            What::Gap { .. } => {
                let Some(generation) = found.last().map(|stretch| stretch.generation) else { continue };
                found.push(Stretch {
                    client,
                    generation,
                    since: line.at,
                    from_the_beginning: true,
                    events: Vec::new(),
                    gap: Some((line.at, asked)),
                });
            }
            What::Ended => {}
        }
    }
    found
}

/// The read-backs of a generation.
pub(super) fn readbacks<'a>(
    history: &'a History,
    generations: &Generations<'a>,
    generation: usize,
) -> Vec<&'a Readback> {
    history.readbacks.iter().filter(|readback| generations.of_life[readback.life] == generation).collect()
}

/// What was acknowledged in a generation: for each event when first, and with which id.
pub(super) fn acknowledged<'a>(
    history: &'a History,
    generations: &Generations<'a>,
    generation: usize,
) -> BTreeMap<&'a str, (Time, &'a str)> {
    let mut found: BTreeMap<&str, (Time, &str)> = BTreeMap::new();
    for sent in history.sends.iter().filter(|sent| generations.of_life[sent.life] == generation) {
        let Some(reply) = &sent.reply else { continue };
        let Said::Ok { id, .. } = &reply.said else { continue };
        let first = found.entry(&sent.data).or_insert((reply.at, id));
        if reply.at < first.0 {
            *first = (reply.at, id);
        }
    }
    found
}
