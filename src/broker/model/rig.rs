//! A history on the real log and on the model, side by side.

mod publishing;
mod reading;
mod restarting;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;

use super::Verdict;
use super::client::{Client, Seen};
use super::fault::Fault;
use super::plain::{CHANNELS, Claim, Model, Owed, Rules, STATE, claim_by};
use super::step::{History, Sent, Start, Step, name};
use super::tally::Tally;
use crate::broker::moment::hands::{Hands, go_by};
use crate::broker::recent::Recent;
use crate::broker::{
    Broker, Ended, Gap, Keep, Limits, Publication, Publishing, Read, Reason, Receipt, Refused, Role, Rule,
    Selection, Settings, Since, Store, Subscribed, Wake, Wish,
};
use crate::channel::Channel;
use crate::event::Event;
use crate::replay::Replay;
use crate::slots::Key;
use crate::subject::Subject;

/// Where the two clocks stand at the beginning, in milliseconds: far from both ends.
const START: u64 = 1 << 41;
/// No channel's limit.
const MANY_CHANNELS: usize = 1000;

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

/// A log, its model, and everyone who looks.
pub(super) struct Rig<'a> {
    history: &'a History,
    /// What is done to what clients are shown.
    fault: Option<Fault>,
    pub(super) tally: Tally,
    hands: Arc<Hands>,
    broker: Arc<Broker>,
    model: Model,
    stored: bool,
    folder: Option<TempDir>,
    /// What a kill leaves of a disk that nobody waits for.
    synced: Option<(TempDir, Model)>,
    /// The words of all epochs there were.
    epochs: Vec<String>,
    clients: Vec<Client>,
    /// Clients that were cut off: their channels, and what they have seen.
    away: Vec<(Vec<usize>, Seen)>,
    /// What was published, and under which number.
    published: u64,
    numbers: HashMap<u64, u64>,
    known: BTreeSet<usize>,
    /// Whether clients were ended in one step on disk with events, which may then be handed out again.
    ended_together: bool,
    /// After a kill there may be more channels than are allowed.
    most_channels: usize,
    /// The head when the log was opened.
    opened_at: u64,
    /// Up to where the reader has looked, and what has come for its clients since.
    looked: u64,
    news: Vec<u64>,
    /// The selections of those who have been ended since.
    ended: Vec<Key<Selection>>,
}

/// Runs a history; what it came to, or what is wrong.
pub(super) fn run(history: &History, fault: Option<Fault>) -> Result<Tally, String> {
    let hands = Arc::new(Hands::default());
    hands.elapsed.store(START, Ordering::SeqCst);
    hands.time.store(START, Ordering::SeqCst);
    go_by(Some(Arc::clone(&hands)));
    let mut rig = Rig::new(history, fault, hands);
    let verdict = history.steps.iter().try_for_each(|step| {
        rig.take(step)?;
        rig.agrees()
    });
    let verdict = verdict.and_then(|()| rig.read_all());
    let tally = rig.tally;
    drop(rig);
    go_by(None);
    verdict.map(|()| tally)
}

fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn named(number: usize) -> Channel {
    Channel::parse(name(number)).unwrap()
}

fn channels(numbers: &[usize]) -> Vec<Channel> {
    numbers.iter().map(|&number| named(number)).collect()
}

fn anna() -> Subject {
    Subject::parse("anna").unwrap()
}

fn outcome(publishing: Publishing) -> Result<Receipt, Refused> {
    match publishing {
        Publishing::Done(outcome) => outcome.unwrap(),
        Publishing::Waiting(answer) => answer.blocking_recv().unwrap(),
        Publishing::Queued(taken) => outcome(taken.blocking_recv().unwrap()),
    }
}

/// The bytes that hold `weight` thousands of data, and what is written around each, but no more.
fn bytes(weight: usize) -> usize {
    weight.saturating_mul(UNIT).saturating_add(UNIT - 1)
}

/// The bytes of data to a weight of 1; several times what is written around them.
const UNIT: usize = 500;

impl<'a> Rig<'a> {
    fn new(history: &'a History, fault: Option<Fault>, hands: Arc<Hands>) -> Self {
        let folder = history.on_disk.then(folder);
        let model = Model::new(history.rules.clone(), START, START);
        let broker = Broker::new(Settings::default());
        let mut rig = Self {
            history,
            fault,
            tally: Tally::default(),
            hands,
            broker,
            model,
            stored: history.stored,
            folder,
            synced: None,
            epochs: Vec::new(),
            clients: Vec::new(),
            away: Vec::new(),
            published: 0,
            numbers: HashMap::new(),
            known: BTreeSet::new(),
            ended_together: false,
            most_channels: history.max_channels,
            opened_at: 0,
            looked: 0,
            news: Vec::new(),
            ended: Vec::new(),
        };
        rig.open();
        rig.epochs.push(rig.broker.epoch().as_str().to_owned());
        rig
    }

    fn settings(&self) -> Settings {
        let Rules { most, weight, total, age, window } = self.model.rules;
        let limits =
            Limits { max_events: most, max_age: Duration::from_millis(age), max_bytes: bytes(weight) };
        let pattern = globset::Glob::new(name(STATE)).unwrap().compile_matcher();
        let store = self.folder.as_ref().map_or(Store::Memory, |folder| Store::Disk(folder.path().into()));
        Settings {
            store,
            stored: self.stored,
            limits,
            total_bytes: bytes(total),
            max_channels: self.history.max_channels,
            dedupe_window: Duration::from_millis(window),
            rules: vec![Rule { pattern, keep: Keep::Latest, max_rate: None, limits }],
        }
    }

    fn open(&mut self) {
        self.broker = Broker::open(&self.settings()).unwrap();
        self.broker.settle();
        self.broker.add_reader(Arc::new(Silent));
        self.broker.lock().recent = Recent::of(self.history.recent);
    }

    fn take(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Publish(burst) => self.publish(burst),
            Step::Subscribe { channels, from, role, as_anna, adopted } => {
                self.subscribe(channels, from, *role, *as_anna, *adopted, Seen::Nothing)
            }
            Step::Adopt(client) => {
                let count = self.clients.len().max(1);
                if let Some(client) = self.clients.get_mut(client % count) {
                    client.is_adopted = true;
                }
                Ok(())
            }
            Step::Read { client, portion, skips } => match self.clients.len() {
                0 => Ok(()),
                count if self.clients[client % count].is_adopted => {
                    self.read(client % count, *portion, *skips)
                }
                _ => Ok(()),
            },
            Step::Cut(client) => {
                if !self.clients.is_empty() {
                    self.cut(client % self.clients.len());
                }
                Ok(())
            }
            Step::Resume(client) => {
                if self.away.is_empty() {
                    return Ok(());
                }
                let (channels, seen) = self.away.swap_remove(client % self.away.len());
                let from = seen.as_start(self.epochs.len() - 1);
                self.tally.resumed += 1;
                self.subscribe(&channels, &from, Role::Listener, None, true, seen)
            }
            Step::Pass(milliseconds) => {
                self.hands.elapsed.fetch_add(*milliseconds, Ordering::SeqCst);
                self.hands.time.fetch_add(*milliseconds, Ordering::SeqCst);
                self.model.pass(*milliseconds);
                self.tally.clock_steps += 1;
                self.broker.sweep();
                Ok(())
            }
            Step::SetClock(by) => {
                self.model.time = self.model.time.saturating_add_signed(*by);
                self.hands.time.store(self.model.time, Ordering::SeqCst);
                self.tally.clock_steps += 1;
                Ok(())
            }
            Step::Keep(most) => {
                self.model.rules.most = *most;
                self.model.sweep();
                self.broker.reconfigure(&self.settings());
                self.broker.sweep();
                Ok(())
            }
            Step::Sync => {
                if self.folder.is_some() && !self.stored {
                    self.synced = Some((self.copy(), self.model.clone()));
                }
                Ok(())
            }
            Step::Restart { killed, stored } => self.restart(*killed, *stored),
        }
    }

    /// Compares what there is to be seen from outside.
    fn agrees(&mut self) -> Verdict {
        self.look_around()?;
        // To look is to let go of what is too old.
        self.model.sweep();
        for &number in &self.known {
            let state = self.broker.channel(&named(number)).unwrap();
            let listening = self.clients.iter().filter(|client| client.listens_on(number)).count();
            ensure!(state.subscribers == listening, "count: {state:?}, and {listening} listen");
            ensure!(state.closed == self.model.closed[number], "closed: {state:?}");
            let held = self.held(number);
            ensure!(held == self.model.held[number], "history: channel {number} holds {held:?}");
        }
        ensure!(self.known.len() <= self.most_channels, "bound: channels {:?}", self.known);
        let head = self.broker.head();
        ensure!(head.sequence == self.model.head, "sequence: {head} after {}", self.model.head);
        ensure!(Some(head.epoch.as_str()) == self.epochs.last().map(String::as_str), "epoch: {head}");
        self.look()
    }

    /// Takes note of channels that are new, and of those that were forgotten.
    fn look_around(&mut self) -> Verdict {
        let known: BTreeSet<_> =
            (0..CHANNELS).filter(|&number| self.broker.channel(&named(number)).is_some()).collect();
        for &gone in self.known.difference(&known) {
            let is_idle =
                self.model.held[gone].is_empty() && !self.clients.iter().any(|client| client.is_on(gone));
            ensure!(is_idle, "hole: channel {gone} was forgotten while it was in use");
            self.model.forget(gone);
        }
        known.difference(&self.known).for_each(|&new| self.model.begin(new));
        self.known = known;
        Ok(())
    }

    /// What is new for those who are up to date.
    fn look(&mut self) -> Verdict {
        let news = self.broker.reading(0).news(self.looked);
        let missed = (news.head - self.looked) as usize;
        match news.latest {
            None => ensure!(missed > self.history.recent, "news: {missed} are too many"),
            Some(latest) => {
                let numbers: Vec<_> = latest.entries.iter().map(|entry| entry.sequence).collect();
                ensure!(numbers == self.news, "news: {numbers:?}, and {:?} are for somebody", self.news);
                let is_told =
                    |id: &Key<Selection>| latest.ended.iter().any(|selection| selection.id() == *id);
                ensure!(self.ended.iter().all(is_told), "news: nothing is said of somebody's end");
            }
        }
        self.looked = news.head;
        self.news.clear();
        self.ended.clear();
        Ok(())
    }

    /// What a channel's history holds.
    fn held(&self, number: usize) -> Vec<u64> {
        let held = self.broker.history(&named(number), None, 1000).unwrap_or_default();
        held.iter().map(|kept| self.number_of(&kept.event)).collect()
    }

    fn number_of(&self, event: &Event) -> u64 {
        let data = event.data().unwrap_or_default();
        self.numbers[&data.trim_end_matches('.').parse::<u64>().unwrap()]
    }

    /// An event's id as clients get it.
    fn id(&self, number: u64) -> String {
        match self.model.events.get(&number).and_then(|event| event.sent.own_id) {
            Some(own) => format!("own{own}"),
            None => self.position(self.epochs.len() - 1, number),
        }
    }

    fn position(&self, epoch: usize, number: u64) -> String {
        format!("{}-{number}", self.epochs[epoch])
    }
}
