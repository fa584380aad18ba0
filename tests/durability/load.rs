//! What a run shares between its publishers, its clients and whoever kills the process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::checker::{Client, History, Life, Readback, Sent, Time};
use crate::client::Reader;
use crate::dice::Dice;
use crate::publisher::{self, Way};
use crate::rig::{CHANNELS, Rig};

/// A run under load.
pub(crate) struct Run {
    begun: Instant,
    life: AtomicUsize,
    stopping: AtomicBool,
    abandoned: AtomicBool,
    /// What each publisher has sent; the last one is the test itself.
    sends: Vec<Mutex<Vec<Sent>>>,
    clients: Vec<Mutex<Client>>,
    lives: Mutex<Vec<Life>>,
}

/// How often each publisher may send at most: pauses of up to so many milliseconds between bursts.
const PAUSE: usize = 12;

/// Publishers and clients at work.
pub(crate) struct Load {
    pub(crate) run: Arc<Run>,
    publishers: Vec<JoinHandle<()>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Publishers over the socket and over HTTP, and clients of one channel and of several.
    pub(crate) fn start(rig: &Rig, dice: &mut Dice) -> Self {
        let ways = [Way::Frames, Way::Frames, Way::Frames, Way::Http];
        let selections: [&[&str]; 5] =
            [&["news"], &["own"], &["news", "chat"], &["chat", "own"], &["news", "chat", "own"]];
        let clients = selections.iter().enumerate().map(|(number, channels)| {
            let channels = channels.iter().map(|channel| channel.to_string()).collect();
            Mutex::new(Client { name: format!("c{number}"), channels, lines: Vec::new() })
        });
        let run = Arc::new(Run {
            begun: Instant::now(),
            life: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            sends: (0..=ways.len()).map(|_| Mutex::default()).collect(),
            clients: clients.collect(),
            lives: Mutex::new(vec![Life::default()]),
        });
        let publishers = ways
            .into_iter()
            .enumerate()
            .map(|(number, way)| {
                let publisher = publisher::Publisher::new(number, way, rig.socket(), &run, dice.fork());
                std::thread::spawn(move || publisher.work(PAUSE))
            })
            .collect();
        let clients = (0..selections.len())
            .map(|number| {
                let reader = Reader::new(number, &rig.address, &run, dice.fork());
                std::thread::spawn(move || reader.work())
            })
            .collect();
        Self { run, publishers, clients }
    }

    /// Has publishers get rid of what is not acknowledged, clients read up to the end, and returns all
    /// that was seen. The program must be up.
    pub(crate) fn finish(self, rig: &Rig) -> History {
        self.run.stopping.store(true, Ordering::Relaxed);
        self.publishers.into_iter().for_each(|thread| thread.join().unwrap());
        publisher::publish_ends(self.run.sends.len() - 1, rig.socket(), &self.run);
        // Long enough for clients to read everything again, were they told of a gap.
        let patience = Instant::now() + Duration::from_secs(60);
        while !self.clients.iter().all(JoinHandle::is_finished) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.run.abandoned.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|thread| thread.join().unwrap());
        self.run.history(Time::MAX)
    }

    /// Ends it as it stands.
    pub(crate) fn abandon(self) {
        self.run.stopping.store(true, Ordering::Relaxed);
        self.run.abandoned.store(true, Ordering::Relaxed);
        self.publishers.into_iter().chain(self.clients).for_each(|thread| thread.join().unwrap());
    }
}

impl Run {
    /// Now, on the run's clock.
    pub(crate) fn now(&self) -> Time {
        self.begun.elapsed().as_micros() as Time
    }

    /// The number of the process's life.
    pub(crate) fn life(&self) -> usize {
        self.life.load(Ordering::SeqCst)
    }

    /// The process is dead, and another is about to be started.
    pub(crate) fn begin_life(&self, continues: bool) {
        self.lives.lock().unwrap().push(Life { continues });
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no new events are to be published.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether nobody waits for the rest.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    pub(crate) fn sends(&self, publisher: usize) -> MutexGuard<'_, Vec<Sent>> {
        self.sends[publisher].lock().unwrap()
    }

    pub(crate) fn client(&self, number: usize) -> MutexGuard<'_, Client> {
        self.clients[number].lock().unwrap()
    }

    /// All that was seen before this time. What was sent later is in it too, without its reply.
    pub(crate) fn history(&self, until: Time) -> History {
        let mut history = History {
            lives: self.lives.lock().unwrap().clone(),
            clients: self.clients.iter().map(|client| client.lock().unwrap().clone()).collect(),
            keeps_everything: true,
            ..History::default()
        };
        for client in &mut history.clients {
            client.lines.retain(|line| line.at < until);
        }
        for sends in &self.sends {
            history.sends.extend(sends.lock().unwrap().iter().cloned());
        }
        for sent in &mut history.sends {
            sent.reply = sent.reply.take().filter(|reply| reply.at < until);
        }
        history
    }
}

/// The data of the last event of a channel.
pub(crate) fn end_of(channel: &str) -> String {
    format!("end-{channel}")
}

/// Adds what all channels of the log hold now.
pub(crate) fn read_back(history: &mut History, rig: &Rig, life: usize, now: impl Fn() -> Time) {
    for channel in CHANNELS {
        let entries = crate::readback::entries(&rig.socket(), channel);
        history.readbacks.push(Readback { life, at: now(), channel: channel.into(), entries });
    }
}
