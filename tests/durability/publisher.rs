//! Publishers that try again, under the same `dedupe` key and in the same order, until everything they
//! have is acknowledged.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::checker::{Level, Reply, Said, Sent};
use crate::dice::Dice;
use crate::load::{Run, end_of};
use crate::rig::CHANNELS;

/// How it speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Frames,
    Http,
}

/// The most frames that are written before their replies are read.
const BURST: usize = 24;

pub(crate) struct Publisher {
    number: usize,
    way: Way,
    socket: PathBuf,
    run: Arc<Run>,
    dice: Dice,
    next: usize,
    /// Not acknowledged yet, in the order in which it was first sent.
    waiting: VecDeque<Event>,
}

#[derive(Clone)]
struct Event {
    data: String,
    channels: Vec<&'static str>,
    own_id: Option<String>,
}

impl Event {
    fn of(data: String, channels: &[&'static str]) -> Self {
        // An id of its own, if it goes where ids are publishers' own.
        let key = data.split(' ').next().unwrap_or_default();
        let own_id = channels.contains(&CHANNELS[2]).then(|| format!("own:{key}"));
        Self { channels: channels.to_vec(), own_id, data }
    }

    fn key(&self) -> &str {
        self.data.split(' ').next().unwrap_or_default()
    }

    fn frame(&self) -> String {
        let channels: String = self.channels.iter().map(|channel| format!("channel: {channel}\n")).collect();
        let id = self.own_id.as_ref().map_or(String::new(), |id| format!("id: {id}\n"));
        format!("{channels}{id}dedupe: {}\ndata: {}\n\n", self.key(), self.data)
    }
}

impl Publisher {
    pub(crate) fn new(number: usize, way: Way, socket: PathBuf, run: &Arc<Run>, dice: Dice) -> Self {
        Self { number, way, socket, run: Arc::clone(run), dice, next: 0, waiting: VecDeque::new() }
    }

    /// Publishes until the run is stopping and everything is acknowledged.
    pub(crate) fn work(mut self, pause: usize) {
        while !self.is_done() {
            let served = match self.way {
                Way::Frames => self.over_frames(pause),
                Way::Http => self.over_http(pause),
            };
            if served.is_none() {
                // Nobody is there at the moment.
                std::thread::sleep(Duration::from_millis(3));
            }
        }
    }

    fn is_done(&self) -> bool {
        self.run.is_abandoned() || (self.run.is_stopping() && self.waiting.is_empty())
    }

    fn connect(&self) -> Option<(UnixStream, usize)> {
        let life = self.run.life();
        let socket = UnixStream::connect(&self.socket).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        socket.set_write_timeout(Some(Duration::from_secs(20))).ok()?;
        // Whoever answered is the one of that life: the next begins after this one is dead.
        (self.run.life() == life).then_some((socket, life))
    }

    fn invent(&mut self) {
        let channels: &[&'static str] = match self.dice.below(8) {
            0..=2 => &CHANNELS[..1],
            3..=4 => &CHANNELS[1..2],
            5 => &CHANNELS[..2],
            6 => &CHANNELS[2..],
            _ => &CHANNELS,
        };
        self.next += 1;
        let size = if self.dice.one_in(50) { 5000 } else { self.dice.below(200) };
        let data = format!("p{}-{} {}", self.number, self.next, "x".repeat(size));
        self.waiting.push_back(Event::of(data, channels));
    }

    /// One connection, until it breaks or there is nothing more to do.
    fn over_frames(&mut self, pause: usize) -> Option<()> {
        let (mut socket, life) = self.connect()?;
        let mut replies = BufReader::new(socket.try_clone().ok()?);
        while !self.is_done() {
            if self.waiting.is_empty() {
                (0..=self.dice.below(BURST)).for_each(|_| self.invent());
            }
            let burst: Vec<Event> = self.waiting.iter().cloned().collect();
            let frames: String = burst.iter().map(Event::frame).collect();
            let first = self.note(&burst, life);
            // The end may come in the middle of it; then the replies stop sooner or later.
            let written = socket.write_all(frames.as_bytes());
            let mut refused = VecDeque::new();
            for (index, event) in burst.into_iter().enumerate() {
                let said = read_reply(&mut replies)?;
                let is_ok = matches!(said, Said::Ok { .. });
                self.answered(first + index, said);
                self.waiting.pop_front();
                if !is_ok {
                    refused.push_back(event);
                }
            }
            let all_went_well = refused.is_empty();
            refused.append(&mut self.waiting);
            self.waiting = refused;
            written.ok()?;
            let rest = if all_went_well { self.dice.below(pause + 1) } else { 50 };
            std::thread::sleep(Duration::from_millis(rest as u64));
        }
        Some(())
    }

    /// One request on a connection of its own.
    fn over_http(&mut self, pause: usize) -> Option<()> {
        if self.waiting.is_empty() {
            self.invent();
            // By this way an event goes to one channel.
            let event = self.waiting.pop_front()?;
            self.waiting.push_back(Event::of(event.data, &event.channels[..1]));
        }
        let (mut socket, life) = self.connect()?;
        let event = self.waiting.front()?.clone();
        let body = serde_json::json!({"data": event.data, "id": event.own_id, "dedupe": event.key()});
        let body = match event.own_id {
            Some(_) => body.to_string(),
            None => serde_json::json!({"data": event.data, "dedupe": event.key()}).to_string(),
        };
        let request = format!(
            "POST /channels/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            event.channels[0],
            body.len()
        );
        let at = self.note(&[event], life);
        socket.write_all(request.as_bytes()).ok()?;
        let said = read_answer(&mut socket)?;
        if matches!(said, Said::Ok { .. }) {
            self.waiting.pop_front();
        }
        self.answered(at, said);
        std::thread::sleep(Duration::from_millis(self.dice.below(pause + 1) as u64));
        Some(())
    }

    /// Notes that these are about to be sent; where the first of them is noted.
    fn note(&self, events: &[Event], life: usize) -> usize {
        let at = self.run.now();
        let mut sends = self.run.sends(self.number);
        let first = sends.len();
        sends.extend(events.iter().map(|event| Sent {
            publisher: self.number,
            life,
            at,
            data: event.data.clone(),
            channels: event.channels.iter().map(|channel| channel.to_string()).collect(),
            own_id: event.own_id.clone(),
            dedupe: true,
            reply: None,
        }));
        first
    }

    fn answered(&self, at: usize, said: Said) {
        let reply = Reply { at: self.run.now(), said };
        self.run.sends(self.number)[at].reply = Some(reply);
    }
}

/// Publishes the last event of each channel, by which clients know that they have all.
pub(crate) fn publish_ends(number: usize, socket: PathBuf, run: &Arc<Run>) {
    let mut publisher = Publisher::new(number, Way::Frames, socket, run, Dice::new(1));
    publisher.waiting.extend(CHANNELS.map(|channel| Event::of(end_of(channel), &[channel])));
    publisher.work(0);
}

/// Publishes one event, as a script would, and reads the reply; `None` if there is none.
pub(crate) fn publish_one(socket: &Path, frame: &str) -> Option<Said> {
    let mut socket = UnixStream::connect(socket).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    socket.write_all(frame.as_bytes()).ok()?;
    read_reply(&mut BufReader::new(socket))
}

/// The next reply; `None` if the connection ends before its line does.
fn read_reply(replies: &mut impl BufRead) -> Option<Said> {
    let mut line = String::new();
    replies.read_line(&mut line).ok()?;
    let line = line.strip_suffix('\n')?;
    Some(match line.split(' ').collect::<Vec<_>>()[..] {
        ["ok", id, _, level] => ok(id, level, false),
        ["ok", id, _, level, "duplicate"] => ok(id, level, true),
        ["error", code, ..] => Said::Error { code: code.into() },
        _ => panic!("not a reply to a publish: {line:?}"),
    })
}

fn ok(id: &str, level: &str, duplicate: bool) -> Said {
    let level = match level {
        "stored" => Level::Stored,
        "accepted" => Level::Accepted,
        _ => panic!("not a level: {level}"),
    };
    Said::Ok { id: id.into(), level, duplicate }
}

/// The answer to a POST; `None` if it is not whole.
fn read_answer(socket: &mut UnixStream) -> Option<Said> {
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let json: serde_json::Value = serde_json::from_str(body).ok()?;
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    if !head.starts_with("HTTP/1.1 200") {
        return Some(Said::Error { code: text("error") });
    }
    Some(ok(&text("id"), &text("level"), json["duplicate"].as_bool().unwrap_or(false)))
}
