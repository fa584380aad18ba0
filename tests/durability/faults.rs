//! The disk fails: one call, or all of them from some moment on, each in its turn.
//!
//! Whatever fails, nothing that was acknowledged is lost, nobody gets what the log does not have, the
//! site and the streams go on, publishers are told, and all is well again when the disk is.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::checker::{Client, History, Life, Line, Reply, Said, Sent, What, check};
use crate::client;
use crate::dice::{Dice, seed};
use crate::image::{self, Mounted};
use crate::load::read_back;
use crate::publisher::publish_one;
use crate::results::{number, report};
use crate::rig::{CHANNELS, Rig, Store};
use crate::shim::{self, Error};
use crate::support::process::Process;
use crate::support::{DEADLINE, Request};

/// What became of a program whose disk failed.
#[derive(Debug, Default, Eq, PartialEq)]
struct Outcome {
    /// How many calls failed.
    failures: usize,
    /// Whether it did not start, which leaves the site down.
    refused_to_start: bool,
    /// How many publishes were refused.
    errors: usize,
}

/// One program, its history, and a client that listens throughout.
struct Patient {
    rig: Rig,
    history: History,
    begun: Instant,
    /// What makes each event's data longer.
    padding: String,
}

impl Patient {
    fn new(rig: Rig) -> Self {
        let client = Client {
            name: "c".into(),
            channels: vec![CHANNELS[0].into(), CHANNELS[1].into()],
            lines: vec![],
        };
        let history = History {
            lives: vec![Life::default()],
            clients: vec![client],
            keeps_everything: true,
            ..History::default()
        };
        Self { rig, history, begun: Instant::now(), padding: String::new() }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// Publishes one event; whether it was taken.
    fn publish(&mut self, number: usize, channels: &[&str]) -> bool {
        let data = format!("e{number}{}", self.padding);
        let names: String = channels.iter().map(|channel| format!("channel: {channel}\n")).collect();
        let frame = format!("{names}dedupe: {number}\ndata: {data}\n\n");
        let at = self.now();
        let said = publish_one(&self.rig.socket(), &frame).expect("every publish is answered");
        if let Said::Error { code } = &said {
            assert_eq!(code, "store", "a disk that fails is an error of the store");
        }
        let taken = matches!(said, Said::Ok { .. });
        self.history.sends.push(Sent {
            publisher: 0,
            life: self.history.lives.len() - 1,
            at,
            data,
            channels: channels.iter().map(|channel| channel.to_string()).collect(),
            own_id: None,
            dedupe: true,
            reply: Some(Reply { at: self.now(), said }),
        });
        taken
    }

    /// Tries until the store has recovered.
    fn publish_until_taken(&mut self, number: usize, channels: &[&str], process: &Process) {
        let patience = Instant::now() + DEADLINE;
        while !self.publish(number, channels) {
            assert!(Instant::now() < patience, "it does not recover:\n{}", process.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn assert_the_site_is_up(&self) {
        let answer = Request::get("/").send(&self.rig.address);
        assert_eq!(answer.status, 200, "the site goes on: {}", answer.text());
    }

    fn listen(&mut self) -> client::Stream {
        let path = format!("/events?c={}&c={}", CHANNELS[0], CHANNELS[1]);
        let stream = client::open(&self.rig.address, &path, None).expect("streams go on");
        let life = self.history.lives.len() - 1;
        self.note(What::Connected { life, last_event_id: None });
        stream
    }

    fn note(&mut self, what: What) {
        let at = self.now();
        self.history.clients[0].lines.push(Line { at, what });
    }

    /// Reads until an event has come.
    fn read_until(&mut self, stream: &mut client::Stream, data: &str) {
        let patience = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < patience, "the stream never got `{data}`: {:#?}", self.history);
            for event in stream.read().expect("the stream goes on") {
                let is_last = event.data == data;
                self.note(What::Event { id: event.id, data: event.data });
                if is_last {
                    return;
                }
            }
        }
    }

    fn assert_clean(&self, what: &str) {
        let verdict = check(&self.history);
        assert!(verdict.is_clean(), "{what}:\n{verdict}\n{:#?}", self.history);
    }
}

/// Publishes while the disk fails, then with a disk that is well, kills the program, and reads back.
fn with_failing_disk(at: usize, times: usize, error: Error) -> Outcome {
    let what = format!("call {at}, {times} times (0: for ever), {error:?}");
    let rig = Rig::new(Store::Disk("stored"));
    let log = rig.file("failed");
    let variables = shim::failing(rig.store(), at, times, error, &log);
    let mut patient = Patient::new(rig);
    let mut outcome = Outcome::default();

    let mut process = patient.rig.spawn(&variables);
    if is_up(&mut process) {
        let mut stream = patient.listen();
        let mut last = String::new();
        for number in 0..5 {
            let channels = if number == 2 { &CHANNELS[..2] } else { &CHANNELS[..1] };
            if patient.publish(number, channels) {
                last = format!("e{number}");
            } else {
                outcome.errors += 1;
            }
            patient.assert_the_site_is_up();
        }
        if !last.is_empty() {
            patient.read_until(&mut stream, &last);
        }
        if times > 0 {
            // The fault is over: the store recovers by itself, and what was refused is taken.
            patient.publish_until_taken(2, &CHANNELS[..2], &process);
            patient.publish_until_taken(5, &CHANNELS[..1], &process);
            patient.read_until(&mut stream, "e5");
        }
        process.kill();
    } else {
        outcome.refused_to_start = true;
        assert!(!process.wait().success());
    }
    assert!(!process.log().contains("panicked"), "{what}: {}", process.log());
    outcome.failures = failures(&log);

    patient.history.lives.push(Life { continues: true });
    let _process = patient.rig.start();
    assert!(patient.publish(6, &CHANNELS[..1]), "{what}: the disk is well again");
    let (life, begun) = (patient.history.lives.len() - 1, patient.begun);
    read_back(&mut patient.history, &patient.rig, life, || begun.elapsed().as_micros() as u64);
    patient.assert_clean(&what);
    outcome
}

/// Waits until it listens, or has ended.
pub(crate) fn is_up(process: &mut Process) -> bool {
    let patience = Instant::now() + DEADLINE;
    while Instant::now() < patience {
        if process.log().contains("taking events") {
            return true;
        }
        if process.has_ended() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it neither starts nor ends:\n{}", process.log())
}

/// How many calls have failed.
pub(crate) fn failures(log: &Path) -> usize {
    std::fs::read_to_string(log).map_or(0, |text| text.lines().count())
}

/// One call in five, beginning anywhere; `OUTBOARD_EVERY=1` for each of them.
#[test]
fn any_call_to_the_disk_may_fail() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let every = number("OUTBOARD_EVERY", 5);
    let mut lines = Vec::new();
    for (error, times) in [
        (Error::Io, 1),
        (Error::NoSpace, 1),
        (Error::Torn, 1),
        (Error::Short, 1),
        (Error::Io, 0),
        (Error::NoSpace, 0),
    ] {
        let next = AtomicUsize::new(1 + dice.below(every));
        let (runs, errors, refused, beyond) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        // Most of the time is spent on waiting for the store to be tried again.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(every, Ordering::Relaxed);
                        if at >= beyond.load(Ordering::Relaxed) {
                            return;
                        }
                        let outcome = with_failing_disk(at, times, error);
                        if outcome.failures == 0 {
                            // The program never makes so many calls.
                            beyond.fetch_min(at, Ordering::Relaxed);
                            return;
                        }
                        runs.fetch_add(1, Ordering::Relaxed);
                        errors.fetch_add(outcome.errors, Ordering::Relaxed);
                        refused.fetch_add(usize::from(outcome.refused_to_start), Ordering::Relaxed);
                    }
                });
            }
        });
        let refused = refused.into_inner();
        assert_eq!(refused, 0, "with OUTBOARD_SEED={seed}, {error:?}: the site is up whatever fails");
        lines.push(format!(
            "{error:?}, {}: {} runs up to call {}; {} publishes refused, {} times it refused to start",
            if times == 0 { "for ever" } else { "once" },
            runs.into_inner(),
            beyond.into_inner(),
            errors.into_inner(),
            refused
        ));
    }
    lines.push("0 acknowledged events lost, 0 doubled, 0 panics; the site and the streams went on".into());
    report("Every call to the disk fails", seed, &lines);
}

#[test]
fn a_full_disk_refuses_publishes_and_nothing_else() {
    let folder = crate::support::folder::shared();
    let disk = Mounted::memory(1 << 20, &folder.path().join("disk"));
    let mut patient = Patient::new(Rig::new(Store::Disk("stored")).with_store_in(&disk.path().join("store")));
    let process = patient.rig.start();
    let mut stream = patient.listen();

    let mut number = 0;
    let full = loop {
        number += 1;
        assert!(number < 20_000, "a disk of 1 MiB is full at some time");
        if !patient.publish(number, &CHANNELS[..1]) {
            break number;
        }
        patient.read_until(&mut stream, &format!("e{number}"));
    };
    patient.assert_the_site_is_up();
    assert!(process.log().contains("Is the disk full?"), "{}", process.log());

    // Full as it is, a restart serves what is stored.
    drop((process, stream));
    patient.note(What::Ended);
    patient.history.lives.push(Life { continues: true });
    let process = patient.rig.start();
    patient.assert_the_site_is_up();
    let mut stream = patient.listen();
    patient.read_until(&mut stream, &format!("e{}", full - 1));

    // Room is made: the same disk, and more of it.
    disk.grow("16m");
    patient.publish_until_taken(full, &CHANNELS[..1], &process);
    patient.read_until(&mut stream, &format!("e{full}"));
    drop(process);
    patient.history.lives.push(Life { continues: true });
    let _process = patient.rig.start();
    let begun = patient.begun;
    read_back(&mut patient.history, &patient.rig, 2, || begun.elapsed().as_micros() as u64);
    patient.assert_clean("a full disk");
}

/// The file system's file is in memory that is used up: writes of the file system fail, and its pages are
/// taken for written all the same, as with any disk that fails.
#[test]
fn after_a_failed_sync_nothing_is_built_on_what_never_reached_the_disk() {
    let folder = crate::support::folder::shared();
    let memory = Mounted::memory(13 << 20, &folder.path().join("memory"));
    let image = memory.path().join("disk.img");
    image::make(&image);
    let disk = Mounted::image(&image, &folder.path().join("disk"));
    let mut patient = Patient::new(Rig::new(Store::Disk("stored")).with_store_in(&disk.path().join("store")));
    patient.padding = format!(" {}", "x".repeat(7000));
    let process = patient.rig.start();

    let failed = (0..20_000).find(|&number| !patient.publish(number, &CHANNELS[..1]));
    let failed = failed.expect("the disk fails at some time");
    memory.grow("200m");
    for number in failed..failed + 30 {
        patient.publish_until_taken(number, &CHANNELS[..1], &process);
    }
    // And then the power goes.
    process.signal(rustix::process::Signal::STOP);
    let copy = folder.path().join("copy.img");
    std::fs::copy(&image, &copy).unwrap();
    process.signal(rustix::process::Signal::CONT);

    let disk = Mounted::image(&copy, &folder.path().join("copy"));
    let rig = Rig::new(Store::Disk("stored")).with_store_in(&disk.path().join("store"));
    let _process = rig.start();
    patient.history.lives.push(Life { continues: true });
    let begun = patient.begun;
    read_back(&mut patient.history, &rig, 1, || begun.elapsed().as_micros() as u64);
    let verdict = check(&patient.history);
    assert!(verdict.is_clean(), "{verdict}");
}
