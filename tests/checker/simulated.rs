//! Random clean histories: a log as it should be, with publishers that try again, clients that come
//! and go, and a process that dies, written down as they would see it.

use std::collections::VecDeque;

use crate::checker::{Client, History, Level, Life, Line, Readback, Reply, Said, Sent, What};

/// Random numbers that a seed repeats (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// `c` is where publishers give ids of their own.
const CHANNELS: [&str; 3] = ["a", "b", "c"];
const PUBLISHERS: usize = 3;

#[derive(Clone)]
struct Kept {
    sent: Sent,
    id: String,
}

pub(crate) struct World {
    dice: Dice,
    history: History,
    is_durable: bool,
    epoch: usize,
    next: usize,
    now: u64,
    log: Vec<Kept>,
    /// What each publisher has sent and nobody has acknowledged.
    unacknowledged: Vec<VecDeque<Sent>>,
    /// For each client: how far it has read, whether it is connected, and the last id.
    readers: Vec<(usize, bool, Option<String>)>,
}

/// A clean history; its last lines are clients that have got everything, and read-backs.
pub(crate) fn history(seed: u64, is_durable: bool) -> History {
    let mut dice = Dice::new(seed);
    let clients = (0..1 + dice.below(4))
        .map(|number| {
            let channels = [&["a"][..], &["a", "c"], &["b", "c"], &["c"]][dice.below(4)];
            Client {
                name: format!("c{number}"),
                channels: channels.iter().map(|channel| channel.to_string()).collect(),
                lines: Vec::new(),
            }
        })
        .collect::<Vec<_>>();
    let mut world = World {
        dice,
        readers: vec![(0, false, None); clients.len()],
        history: History {
            lives: vec![Life::default()],
            clients,
            keeps_everything: true,
            ..History::default()
        },
        is_durable,
        epoch: 0,
        next: 0,
        now: 0,
        log: Vec::new(),
        unacknowledged: vec![VecDeque::new(); PUBLISHERS],
    };
    for _ in 0..20 + world.dice.below(120) {
        world.step();
    }
    world.finish();
    world.history
}

impl World {
    fn tick(&mut self) -> u64 {
        self.now += 1 + self.dice.below(50) as u64;
        self.now
    }

    fn step(&mut self) {
        let client = self.dice.below(self.readers.len());
        match self.dice.below(20) {
            0 => self.crash(),
            1..=2 => self.disconnect(client),
            3..=5 => self.connect(client),
            6..=12 => {
                self.receive(client);
            }
            _ => {
                let publisher = self.dice.below(PUBLISHERS);
                self.publish(publisher);
            }
        }
    }

    fn publish(&mut self, publisher: usize) {
        if let Some(again) = self.unacknowledged[publisher].front().cloned() {
            return self.attempt(again);
        }
        self.next += 1;
        let number = self.next;
        let channels = [&["a"][..], &["b"], &["c"], &["a", "b"], &["c"]][self.dice.below(5)];
        self.send(publisher, &format!("p{publisher}-{number}"), channels);
    }

    fn send(&mut self, publisher: usize, data: &str, channels: &[&str]) {
        let sent = Sent {
            publisher,
            life: 0,
            at: 0,
            data: data.into(),
            channels: channels.iter().map(|channel| channel.to_string()).collect(),
            own_id: channels.contains(&"c").then(|| format!("own:{data}")),
            dedupe: true,
            reply: None,
        };
        self.unacknowledged[publisher].push_back(sent.clone());
        self.attempt(sent);
    }

    /// Sends it; it may not arrive, or its reply may not.
    fn attempt(&mut self, mut sent: Sent) {
        sent.at = self.tick();
        sent.life = self.history.lives.len() - 1;
        if !self.dice.one_in(6) {
            let first = self.log.iter().find(|kept| kept.sent.data == sent.data).map(|kept| kept.id.clone());
            let duplicate = first.is_some();
            let id = first.unwrap_or_else(|| self.append(&sent));
            if !self.dice.one_in(5) {
                let level = if self.is_durable { Level::Stored } else { Level::Accepted };
                sent.reply = Some(Reply { at: self.tick(), said: Said::Ok { id, level, duplicate } });
                self.unacknowledged[sent.publisher].pop_front();
            }
        }
        self.history.sends.push(sent);
    }

    fn append(&mut self, sent: &Sent) -> String {
        let position = format!("e{}-{}", self.epoch, self.log.len() + 1);
        let id = sent.own_id.clone().unwrap_or(position);
        self.log.push(Kept { sent: sent.clone(), id: id.clone() });
        id
    }

    fn crash(&mut self) {
        for client in 0..self.readers.len() {
            self.disconnect(client);
        }
        self.history.lives.push(Life { continues: self.is_durable });
        if !self.is_durable {
            self.log.clear();
            self.epoch += 1;
            self.readers.iter_mut().for_each(|reader| reader.0 = usize::MAX);
        }
    }

    fn line(&mut self, client: usize, what: What) {
        let at = self.tick();
        self.history.clients[client].lines.push(Line { at, what });
    }

    fn connect(&mut self, client: usize) {
        let (place, connected, id) = self.readers[client].clone();
        if connected {
            return;
        }
        let life = self.history.lives.len() - 1;
        let is_of_another_log = place == usize::MAX && id.is_some();
        self.line(client, What::Connected { life, last_event_id: id.clone() });
        if is_of_another_log {
            self.line(client, What::Gap { reason: "epoch".into() });
        }
        let id = if is_of_another_log { Some(format!("e{}-0", self.epoch)) } else { id };
        self.readers[client] = (if place == usize::MAX { 0 } else { place }, true, id);
    }

    fn disconnect(&mut self, client: usize) {
        if std::mem::take(&mut self.readers[client].1) {
            self.line(client, What::Ended);
            if self.readers[client].2.is_none() {
                self.readers[client].0 = 0;
            }
        }
    }

    /// Gives a client its next event; whether there was one.
    fn receive(&mut self, client: usize) -> bool {
        let (place, connected, _) = self.readers[client];
        let channels = &self.history.clients[client].channels;
        let is_for = |kept: &Kept| kept.sent.channels.iter().any(|channel| channels.contains(channel));
        let next = self.log.iter().enumerate().skip(place).find(|(_, kept)| is_for(kept));
        let Some((at, kept)) = next.filter(|_| connected) else { return false };
        let (id, data) = (kept.id.clone(), kept.sent.data.clone());
        self.readers[client] = (at + 1, true, Some(id.clone()));
        self.line(client, What::Event { id, data });
        true
    }

    /// All is acknowledged, all clients have all, and the log is read back.
    fn finish(&mut self) {
        for publisher in 0..PUBLISHERS {
            while !self.unacknowledged[publisher].is_empty() {
                self.publish(publisher);
            }
        }
        for channel in CHANNELS {
            self.send(0, &format!("end-{channel}"), &[channel]);
            while !self.unacknowledged[0].is_empty() {
                self.publish(0);
            }
        }
        for client in 0..self.readers.len() {
            self.connect(client);
            while self.receive(client) {}
        }
        for channel in CHANNELS {
            let at = self.tick();
            let of_channel = self.log.iter().filter(|kept| kept.sent.channels.iter().any(|of| of == channel));
            let entries = of_channel.map(|kept| (kept.id.clone(), kept.sent.data.clone())).collect();
            let life = self.history.lives.len() - 1;
            self.history.readbacks.push(Readback { life, at, channel: channel.into(), entries });
        }
    }
}
