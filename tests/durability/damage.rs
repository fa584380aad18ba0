//! Bits of the store change while nobody looks, or its end is cut off.
//!
//! What is opened then is the log as it was, or another log with another epoch, with the damaged file
//! set aside: never a log of the same epoch that holds anything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outboard::broker::{Broker, Level, Publication, Settings};
use outboard::channel::Channel;
use outboard::event::Event;

use crate::dice::{Dice, seed};
use crate::publisher::publish_one;
use crate::results::{number, report};
use crate::rig::{CHANNELS, Rig, Store};
use crate::support::{Request, folder};

const FILE: &str = "log.redb";
/// What stands beside it, and says how far it was written.
const MARK: &str = "log.mark";

fn settings(folder: &Path) -> Settings {
    Settings { store: outboard::broker::Store::Disk(folder.into()), stored: true, ..Settings::default() }
}

/// Ids and data of what a log holds on each channel.
type Held = Vec<(String, Vec<(String, String)>)>;

fn held(broker: &Broker) -> Held {
    CHANNELS
        .iter()
        .map(|name| {
            let kept = broker.history(&Channel::parse(name).unwrap(), None, usize::MAX).unwrap_or_default();
            let events =
                kept.iter().map(|kept| (kept.id.to_string(), kept.event.data().unwrap_or("-").to_owned()));
            (name.to_string(), events.collect())
        })
        .collect()
}

/// A store as a crash leaves it.
struct Small {
    bytes: Vec<u8>,
    mark: Vec<u8>,
    epoch: String,
    held: Held,
}

/// A small store with events of all kinds, and a closed channel.
fn small_store(folder: &Path) -> Small {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let broker = Broker::open(&settings(folder)).unwrap();
    runtime.block_on(broker.opened()).unwrap();
    for number in 0..12 {
        let mut event = Event::with_data(&format!("event {number}"));
        if number % 3 == 0 {
            event.set_id(&format!("own-{number}")).unwrap();
        }
        let channels = if number % 4 == 0 { &CHANNELS[..2] } else { &CHANNELS[1..2] };
        let publication = Publication {
            channels: channels.iter().map(|name| Channel::parse(name).unwrap()).collect(),
            event: Some(event),
            close: number == 8,
            dedupe: Some(format!("key {number}").into()),
            ..Publication::default()
        };
        let receipt = runtime.block_on(broker.publish(publication)).unwrap();
        assert_eq!(receipt.level, Level::Stored);
    }
    let (epoch, held) = (broker.epoch().as_str().to_owned(), held(&broker));
    let (bytes, mark) = (fs::read(folder.join(FILE)).unwrap(), fs::read(folder.join(MARK)).unwrap());
    broker.close();
    Small { bytes, mark, epoch, held }
}

/// What was opened.
#[derive(Debug, Eq, PartialEq)]
enum Opened {
    /// All as it was.
    Whole,
    /// Another log, and the damaged file beside it.
    Anew,
}

/// Opens a store of these bytes; what is wrong with the outcome, if anything is.
fn open(bytes: &[u8], small: &Small) -> Result<Opened, String> {
    let folder = folder::shared();
    fs::write(folder.path().join(FILE), bytes).unwrap();
    fs::write(folder.path().join(MARK), &small.mark).unwrap();
    let broker: Arc<Broker> =
        Broker::open(&settings(folder.path())).map_err(|error| format!("it refuses: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(broker.opened()).map_err(|error| format!("it refuses: {error}"))?;
    let found = held(&broker);
    if broker.epoch().as_str() == small.epoch {
        return if found == small.held {
            Ok(Opened::Whole)
        } else {
            Err(format!("the same epoch, and it holds {found:?}"))
        };
    }
    if found.iter().any(|(_, events)| !events.is_empty()) {
        return Err(format!("another epoch, and it holds {found:?}"));
    }
    let aside: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with(FILE) && !path.ends_with(MARK))
        .collect();
    match &aside[..] {
        // Nothing was there.
        [] if bytes.is_empty() => Ok(Opened::Anew),
        // redb may have mended it before it was found to be short of what was written.
        [aside] if aside.to_string_lossy().contains(".damaged-") => Ok(Opened::Anew),
        other => Err(format!("it began anew, and the damaged file is not beside it: {other:?}")),
    }
}

/// So many flipped bits and cuts; `OUTBOARD_FLIPS=1000000` for every byte that is not 0.
#[test]
fn a_damaged_store_is_never_believed() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let folder = folder::shared();
    let small = small_store(folder.path());
    let bytes = &small.bytes;
    // Where there is something; a page of zeros is of interest now and then.
    let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let (flips, cuts) = (number("OUTBOARD_FLIPS", 400), number("OUTBOARD_FLIPS", 400).min(20_000) / 8);
    // The header, all of it, then here and there; or whatever there is, and one in 16 of the zeros.
    let places: Vec<usize> = if flips < bytes.len() {
        let rest = (320..flips.max(320)).map(|_| match dice.one_in(10) {
            true => dice.below(bytes.len()),
            false => used[dice.below(used.len())],
        });
        (0..320.min(flips)).chain(rest).collect()
    } else {
        (0..bytes.len()).filter(|&at| bytes[at] != 0 || at % 16 == 0).collect()
    };
    let (mut whole, mut anew, mut wrong) = (0, 0, Vec::new());

    let mut judge = |what: String, bytes: &[u8]| match open(bytes, &small) {
        Ok(Opened::Whole) => whole += 1,
        Ok(Opened::Anew) => anew += 1,
        Err(outcome) => wrong.push(format!("{what}: {outcome}")),
    };
    for &at in &places {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << dice.below(8);
        judge(format!("byte {at} is {:#x} and not {:#x}", flipped[at], bytes[at]), &flipped);
    }
    for number in 0..cuts {
        let at = if number < 4 { number } else { dice.below(bytes.len()) };
        judge(format!("cut at {at}"), &bytes[..at]);
    }

    println!("{whole} whole, {anew} anew, {} wrong", wrong.len());
    assert!(
        wrong.is_empty(),
        "with OUTBOARD_SEED={seed}, {} times, as in:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    let lines = [
        format!("{} flipped bits and {cuts} cuts of a store of {} bytes", places.len(), bytes.len()),
        format!(
            "{whole} times the log as it was, {anew} times another log with a new epoch and the file set aside"
        ),
        "0 wrong events, 0 events missing within the same epoch, 0 refusals to start".into(),
    ];
    report("Damaged stores", seed, &lines);
}

#[test]
fn with_a_damaged_store_the_site_is_up_and_clients_are_told() {
    let rig = Rig::new(Store::Disk("stored"));
    let mut process = rig.start();
    let said = publish_one(&rig.socket(), "channel: news\ndata: one\n\n").unwrap();
    let crate::checker::Said::Ok { id, .. } = said else { panic!("{said:?}") };
    process.kill();
    let file = rig.store().join(FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x55);
    fs::write(&file, &bytes).unwrap();

    let process = rig.start();

    assert_eq!(Request::get("/").send(&rig.address).status, 200);
    let mut stream = crate::support::outboard::subscribe(&rig.address, "/events?c=news", Some(&id));
    let gap = stream.next();
    assert_eq!(gap.name, "outboard.gap");
    assert!(gap.data.contains("\"reason\":\"epoch\""), "{}", gap.data);
    assert!(process.log().contains("it was set aside"), "{}", process.log());
    assert!(publish_one(&rig.socket(), "channel: news\ndata: two\n\n").is_some());
    assert_eq!(stream.data(), "two");
    let aside = fs::read_dir(rig.store()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| fs::read(path).unwrap() == bytes).collect();
    assert_eq!(aside.len(), 1, "the damaged file is kept, byte for byte");
}
