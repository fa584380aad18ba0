//! The log on disk, opened again and again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::StoredEvent;
use super::disk::{Disk, Watcher};

use crate::broker::{
    Broker, Level, OpenError, Publication, Read, Reason, Receipt, Refused, Settings, Since, Store,
    Subscribed, Wake, Wish,
};
use crate::channel::Channel;
use crate::event::Event;
use crate::replay::Replay;

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

fn settings(folder: &Path) -> Settings {
    Settings { store: Store::Disk(folder.into()), ..Settings::default() }
}

fn open(settings: &Settings) -> Arc<Broker> {
    let broker = Broker::open(settings).unwrap();
    broker.settle();
    broker.add_reader(Arc::new(Silent));
    broker
}

fn channels(names: &[&str]) -> Vec<Channel> {
    names.iter().map(|name| Channel::parse(name).unwrap()).collect()
}

fn news(names: &[&str], data: &str) -> Publication {
    Publication { channels: channels(names), event: Some(Event::with_data(data)), ..Publication::default() }
}

fn publish(broker: &Broker, publication: Publication) -> Result<Receipt, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(broker.publish(publication))
}

/// Whether there is a gap, and the data of what comes.
fn resume(broker: &Arc<Broker>, names: &[&str], id: Option<&str>, replay: Replay) -> (bool, Vec<String>) {
    let since = Since { last_event_id: id, replay };
    match broker.subscribe(Wish::new(&channels(names), since, 0)).unwrap() {
        Subscribed::Over => (false, vec!["over".to_owned()]),
        Subscribed::Disconnected => panic!("nobody was asked"),
        Subscribed::Open(mut subscription, gap) => match broker.reading(0).read(&mut subscription, 1000) {
            Read::Fallen => panic!("fell behind"),
            Read::Next { entries, .. } => {
                let data =
                    |entry: &Arc<crate::broker::Entry>| entry.encoded.event().data().unwrap().to_owned();
                (gap.is_some(), entries.iter().map(data).collect())
            }
        },
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart_under_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    let first = publish(&broker, news(&["a"], "1")).unwrap();
    publish(&broker, news(&["a", "b"], "2")).unwrap();
    publish(&broker, news(&["b"], "3")).unwrap();
    assert_eq!(first.level, Level::Stored);
    let epoch = broker.epoch().clone();
    drop(broker);

    let broker = open(&settings);

    let id = first.id.unwrap().to_string();
    assert_eq!(broker.epoch(), &epoch);
    assert_eq!(resume(&broker, &["a"], Some(&id), Replay::Live), (false, vec!["2".into()]));
    assert_eq!(resume(&broker, &["a", "b"], Some(&id), Replay::Live), (false, vec!["2".into(), "3".into()]));
    let next = publish(&broker, news(&["a"], "4")).unwrap();
    assert_eq!(next.id.unwrap().to_string(), format!("{}-4", epoch.as_str()));
}

#[test]
fn what_left_the_history_is_a_gap_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let limits = crate::broker::Limits { max_events: 2, ..Settings::default().limits };
    let settings = Settings { limits, ..settings(folder.path()) };
    let broker = open(&settings);
    let ids: Vec<_> = (0..5)
        .map(|n| publish(&broker, news(&["a"], &n.to_string())).unwrap().id.unwrap().to_string())
        .collect();
    drop(broker);

    let broker = open(&settings);

    assert_eq!(resume(&broker, &["a"], Some(&ids[2]), Replay::Live), (false, vec!["3".into(), "4".into()]));
    assert_eq!(resume(&broker, &["a"], Some(&ids[1]), Replay::Live), (true, vec!["3".into(), "4".into()]));
}

#[test]
fn keys_own_ids_and_closed_channels_survive() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    let keyed = |data| Publication { dedupe: Some("k".into()), ..news(&["a"], data) };
    let mut own = keyed("1");
    own.event.as_mut().unwrap().set_id("own").unwrap();
    publish(&broker, own).unwrap();
    publish(&broker, Publication { close: true, ..news(&["done"], "last") }).unwrap();
    publish(&broker, Publication { close: true, ..news(&["open"], "x") }).unwrap();
    publish(&broker, news(&["open"], "open again")).unwrap();
    let head = broker.head();
    drop(broker);

    let broker = open(&settings);

    let again = publish(&broker, keyed("again")).unwrap();
    assert!(again.duplicate);
    assert_eq!(again.id.unwrap().to_string(), "own");
    assert_eq!(broker.head(), head);
    assert_eq!(resume(&broker, &["a"], Some("own"), Replay::Live), (false, vec![]));
    assert_eq!(
        resume(&broker, &["done"], Some(&head.to_string()), Replay::Live),
        (false, vec!["over".into()])
    );
    assert!(!broker.channel(&channels(&["open"])[0]).unwrap().closed);
}

#[test]
fn what_was_handed_out_before_a_restart_is_not_unseen_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    let since = Since { last_event_id: None, replay: Replay::Live };
    let listener = broker.subscribe(Wish::new(&channels(&["a"]), since, 0)).unwrap();
    publish(&broker, news(&["a"], "got")).unwrap();
    drop(listener);
    publish(&broker, news(&["a"], "not got")).unwrap();
    drop(broker);

    let broker = open(&settings);

    assert_eq!(resume(&broker, &["a"], None, Replay::Unseen), (false, vec!["not got".into()]));
    assert_eq!(resume(&broker, &["a"], None, Replay::Unseen), (false, vec![]));
}

#[test]
fn the_same_key_twice_in_one_step_is_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(&settings(folder.path()));
    let keyed = || Publication { dedupe: Some("k".into()), ..news(&["a"], "x") };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let waiting: Vec<_> = (0..50).map(|_| broker.publish(keyed())).collect();
    let receipts: Vec<_> = waiting.into_iter().map(|waiting| runtime.block_on(waiting).unwrap()).collect();

    assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.id == receipts[0].id));
    assert_eq!(broker.head().sequence, 1);
}

#[test]
fn dead_events_leave_the_disk_and_the_file_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let limits = crate::broker::Limits { max_events: 10, ..Settings::default().limits };
    let settings = Settings { limits, total_bytes: 1 << 20, ..settings(folder.path()) };
    let broker = open(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let data = "x".repeat(1000);
    for _ in 0..40 {
        let waiting: Vec<_> = (0..1000).map(|_| broker.publish(news(&["a"], &data))).collect();
        waiting.into_iter().for_each(|waiting| drop(runtime.block_on(waiting).unwrap()));
    }
    drop(broker);

    let size = std::fs::metadata(folder.path().join("log.redb")).unwrap().len();
    assert!(size < 32 << 20, "40 MB went through, and the file has {size} bytes");
    assert_eq!(open(&settings).channel(&channels(&["a"])[0]).unwrap().events, 10);
}

/// With a search in a list for each of them this takes minutes.
#[test]
fn a_hundred_thousand_names_that_clients_came_with_are_told_to_the_disk_in_portions() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    publish(&broker, news(&["a"], "so that there is something to be seen")).unwrap();
    let since = Since { last_event_id: None, replay: Replay::Unseen };
    let begun = Instant::now();

    for client in 0..3125 {
        let names: Vec<_> =
            (0..32).map(|n| Channel::parse(&format!("name-{}", client * 32 + n)).unwrap()).collect();
        drop(broker.subscribe(Wish::new(&names, since, 0)).unwrap());
    }
    for _ in 0..64 {
        let names: Vec<_> = (0..64).map(|n| Channel::parse(&format!("closed-{n}")).unwrap()).collect();
        publish(&broker, Publication { channels: names, close: true, ..Publication::default() }).unwrap();
    }
    drop(broker);

    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn keyed_events_leave_the_disk_as_others_do_and_their_keys_stay() {
    let folder = tempfile::tempdir().unwrap();
    let limits = crate::broker::Limits { max_events: 10, ..Settings::default().limits };
    let settings = Settings { limits, total_bytes: 1 << 20, ..settings(folder.path()) };
    let broker = open(&settings);
    let keyed = |number: usize| {
        let mut publication =
            Publication { dedupe: Some(format!("key {number}").into()), ..news(&["a"], &"x".repeat(4000)) };
        publication.event.as_mut().unwrap().set_id(&format!("own-{number}")).unwrap();
        publication
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for step in 0..20 {
        let waiting: Vec<_> = (0..1000).map(|n| broker.publish(keyed(step * 1000 + n))).collect();
        waiting.into_iter().for_each(|waiting| drop(runtime.block_on(waiting).unwrap()));
    }
    drop(broker);

    let size = std::fs::metadata(folder.path().join("log.redb")).unwrap().len();
    assert!(size < 32 << 20, "80 MB went through, and the file has {size} bytes");
    let broker = open(&settings);
    for number in [0, 7, 9_999, 19_999] {
        let again = publish(&broker, keyed(number)).unwrap();
        assert!(again.duplicate, "{number}");
        assert_eq!(again.id.unwrap().to_string(), format!("own-{number}"));
    }
    assert_eq!(broker.channel(&channels(&["a"])[0]).unwrap().events, 10);
}

#[test]
fn a_forgotten_key_leaves_the_disk_and_is_not_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let limits = crate::broker::Limits { max_events: 1, ..Settings::default().limits };
    let brief = Settings { limits, dedupe_window: Duration::ZERO, ..settings(folder.path()) };
    let keyed = || Publication { dedupe: Some("k".into()), ..news(&["a"], "x") };
    let broker = open(&brief);
    publish(&broker, keyed()).unwrap();
    publish(&broker, news(&["a"], "y")).unwrap();
    broker.sweep();
    // What has left is taken off the disk with the last step.
    drop(broker);

    let broker = open(&Settings { dedupe_window: Duration::from_secs(120), ..brief });

    assert!(!publish(&broker, keyed()).unwrap().duplicate);
}

#[test]
fn keys_that_outlive_their_events_are_bounded_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let limits = crate::broker::Limits { max_events: 1, ..Settings::default().limits };
    let settings = Settings { limits, total_bytes: 1 << 20, ..settings(folder.path()) };
    let broker = open(&settings);
    let key = |number: usize| format!("{number:0>250}");
    let keyed = |number| Publication { dedupe: Some(key(number).into()), ..news(&["a"], "x") };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // 16 MiB are 44,384 of these.
    for step in 0..60 {
        let waiting: Vec<_> = (0..1000).map(|n| broker.publish(keyed(step * 1000 + n))).collect();
        waiting.into_iter().for_each(|waiting| drop(runtime.block_on(waiting).unwrap()));
    }

    assert!(publish(&broker, keyed(59_999)).unwrap().duplicate);
    assert!(publish(&broker, keyed(17_000)).unwrap().duplicate);
    assert!(!publish(&broker, keyed(15_000)).unwrap().duplicate, "the oldest are forgotten early");
    drop(broker);
    let size = std::fs::metadata(folder.path().join("log.redb")).unwrap().len();
    assert!(size <= 64 << 20, "the file has {size} bytes");
}

#[test]
fn accepted_events_of_a_process_that_was_killed_begin_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { stored: false, ..settings(folder.path()) };
    let broker = open(&settings);
    assert_eq!(publish(&broker, news(&["a"], "1")).unwrap().level, Level::Accepted);
    let epoch = broker.epoch().clone();
    drop(broker);
    let broker = open(&settings);
    assert_eq!(broker.epoch(), &epoch, "it was closed cleanly");
    let id = publish(&broker, news(&["a"], "2")).unwrap().id.unwrap().to_string();
    assert_eq!(resume(&broker, &["a"], None, Replay::All).1, ["1", "2"]);

    // The file as a kill would leave it: while it is open.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("log.redb"), copy.path().join("log.redb")).unwrap();
    let killed = open(&Settings { store: Store::Disk(copy.path().into()), ..settings.clone() });

    assert_ne!(killed.epoch(), &epoch);
    assert!(resume(&killed, &["a"], Some(&id), Replay::Live).0, "a gap is told");
}

#[test]
fn two_cannot_have_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let _first = open(&settings);

    assert!(matches!(Broker::open(&settings), Err(OpenError::InUse(_))));
}

#[test]
fn a_damaged_log_is_set_aside_and_a_new_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    let id = publish(&broker, news(&["a"], "find me")).unwrap().id.unwrap().to_string();
    drop(broker);
    let path = folder.path().join("log.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|bytes| bytes == b"find me").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();

    let broker = open(&settings);

    assert_eq!(resume(&broker, &["a"], Some(&id), Replay::Live), (true, vec![]));
    publish(&broker, news(&["a"], "anew")).unwrap();
    let aside = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains("damaged")).collect();
    assert_eq!(aside.len(), 1);
    let kept = std::fs::read(&aside[0]).unwrap();
    assert!(kept[at..at + 7] == bytes[at..at + 7], "what is left can still be looked at");
}

/// Changes a store as nobody does who knows what belongs there: with sums that are right.
fn write_into(folder: &Path, write: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(folder.join("log.redb")).unwrap();
    let step = database.begin_write().unwrap();
    write(&step);
    step.commit().unwrap();
}

fn set_aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
}

#[test]
fn an_epoch_that_is_no_word_is_damage_and_never_part_of_an_id() {
    for word in [&b"abc\xff\xfe"[..], b"", b"a-b", b"a b"] {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        drop(open(&settings));
        write_into(folder.path(), |step| {
            let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
            step.open_table(meta).unwrap().insert("epoch", word).unwrap();
        });

        let broker = open(&settings);

        assert_eq!(set_aside(folder.path()), 1, "{word:?}");
        assert_eq!(broker.epoch().as_str().len(), 12);
    }
}

#[test]
fn an_event_whose_text_is_no_text_is_damage_and_never_an_empty_event() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    publish(&broker, news(&["a"], "one")).unwrap();
    drop(broker);
    let event = StoredEvent {
        sequence: 1,
        channels: channels(&["a"]),
        handed: 0,
        time: SystemTime::now(),
        expires: None,
        has_own_id: false,
        dedupe: None,
        block: "id: x-1\ndata: ".bytes().chain([0xff, 0xfe, b'\n', b'\n']).collect(),
    };
    write_into(folder.path(), |step| {
        let events = redb::TableDefinition::<u64, &[u8]>::new("events");
        step.open_table(events).unwrap().insert(1, &event.encode()[..]).unwrap();
    });

    let broker = open(&settings);

    assert_eq!(set_aside(folder.path()), 1);
    assert!(broker.channel(&channels(&["a"])[0]).is_none());
}

/// Puts something in the place of the log that cannot be opened, as a disk that is ill.
fn block(folder: &Path) {
    std::fs::rename(folder.join("log.redb"), folder.join("kept")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("log.redb")).unwrap());
}

fn unblock(folder: &Path) {
    std::fs::rename(folder.join("kept"), folder.join("log.redb")).unwrap();
}

#[test]
fn who_waits_for_the_log_is_put_where_it_was_before_anything_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let broker = open(&settings);
    let ids: Vec<_> = ["1", "2", "3"]
        .map(|data| publish(&broker, news(&["a"], data)).unwrap().id.unwrap().to_string())
        .into();
    publish(&broker, Publication { close: true, ..news(&["done"], "last") }).unwrap();
    let head = broker.head().to_string();
    drop(broker);
    block(folder.path());

    let broker = open(&settings);

    assert!(matches!(publish(&broker, news(&["a"], "too early")), Err(Refused::Store(_))));
    assert!(!broker.is_writable());
    let wait = |name, id, replay| {
        let since = Since { last_event_id: id, replay };
        broker.wait_for_log(Wish::new(&channels(&[name]), since, 0)).expect("there is no log yet")
    };
    let since = Since { last_event_id: None, replay: Replay::Live };
    assert!(matches!(broker.subscribe(Wish::new(&channels(&["a"]), since, 0)), Err(Refused::Store(_))));
    let resumed = wait("a", Some(&*ids[0]), Replay::Live);
    let live = wait("a", None, Replay::Live);
    let stranger = wait("a", Some("otherepoch00-2"), Replay::Live);
    let over = wait("done", Some(&*head), Replay::Live);
    drop(wait("a", None, Replay::All));
    unblock(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut opened = [resumed, live, stranger].map(|waiting| match runtime.block_on(waiting).unwrap() {
        Subscribed::Open(subscription, gap) => (subscription, gap.map(|gap| gap.reason)),
        other => panic!("it is open: {other:?}"),
    });

    assert!(matches!(runtime.block_on(over).unwrap(), Subscribed::Over));
    let fourth = publish(&broker, news(&["a"], "4")).unwrap();
    assert_eq!(fourth.receivers, 3, "who has left does not count");
    assert_eq!(fourth.id.unwrap().to_string(), ids[0].replace("-1", "-6"), "the close has a number too");
    let all = opened.each_mut().map(|(subscription, gap)| {
        let Read::Next { entries, .. } = broker.reading(0).read(subscription, 100) else { panic!() };
        let data = entries.iter().map(|entry| entry.encoded.event().data().unwrap().to_owned());
        (*gap, data.collect::<Vec<_>>().join(" "))
    });
    assert_eq!(all, [(None, "2 3 4".into()), (None, "4".into()), (Some(Reason::Epoch), "1 2 3 4".into())]);
}

#[test]
fn a_log_that_never_comes_is_given_up_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    drop(open(&settings));
    block(folder.path());
    let broker = open(&settings);
    let since = Since { last_event_id: None, replay: Replay::Live };
    let waiting = broker.wait_for_log(Wish::new(&channels(&["a"]), since, 0)).unwrap();

    broker.close();

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(waiting).is_err());
    assert!(broker.wait_for_log(Wish::new(&channels(&["a"]), since, 0)).is_none());
}

#[test]
fn other_limits_hold_for_a_log_that_came_after_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    drop(open(&settings));
    block(folder.path());
    let broker = open(&settings);
    let limits = crate::broker::Limits { max_events: 1, ..settings.limits };

    broker.reconfigure(&Settings { limits, ..settings });
    unblock(folder.path());
    while publish(&broker, news(&["a"], "1")).is_err() {
        std::thread::yield_now();
    }
    publish(&broker, news(&["a"], "2")).unwrap();

    assert_eq!(resume(&broker, &["a"], None, Replay::All).1, ["2"]);
}

#[test]
fn what_somebody_has_set_up_wrongly_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let linked = folder.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(&file, linked.join("log.redb")).unwrap();

    for wrong in [file.clone(), file.join("below"), linked] {
        let opened = Broker::open(&settings(&wrong));

        assert!(matches!(opened, Err(OpenError::Io { .. })), "{}", wrong.display());
    }
}

/// Numbers that look as if there were no rule behind them.
fn mixed(number: usize) -> usize {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

fn file_size(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("log.redb")).unwrap().len()
}

#[test]
fn several_times_the_bound_goes_through_a_file_that_stays_under_it() {
    let folder = tempfile::tempdir().unwrap();
    // A history that is always full, and the same part of the bound as the smallest that is configured.
    let settings = Settings { total_bytes: 4 << 20, ..settings(folder.path()) };
    const BOUND: u64 = 18 << 20;
    let (disk, log) = Disk::open_bounded(folder.path(), &settings, 2 * BOUND, Watcher::default()).unwrap();
    let broker = Broker::with_disk(&settings, disk, log);
    broker.add_reader(Arc::new(Silent));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut through, mut largest, mut number) = (0, 0, 0);

    while through < 100 << 20 {
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                number += 1;
                // From a few bytes to the largest event there may be, on some of many channels.
                let size = if mixed(number).is_multiple_of(20) { 256 << 10 } else { mixed(number) % 3000 };
                through += size;
                broker.publish(news(&[&format!("c{}", mixed(number) % 50)], &"x".repeat(size)))
            })
            .collect();
        waiting.into_iter().for_each(|waiting| drop(runtime.block_on(waiting).expect("publishes go on")));
        largest = largest.max(file_size(folder.path()));
    }

    assert!(largest <= BOUND, "{largest}");
    assert!(largest > 4 << 20, "the history is in it: {largest}");
    let held = |broker: &Broker| -> Vec<_> {
        let channels = broker.channels(None, None, 100);
        channels.iter().map(|state| (state.channel.clone(), state.events, state.bytes)).collect()
    };
    let before = held(&broker);
    drop(broker);
    assert_eq!(held(&open(&settings)), before);
}

#[test]
fn a_history_that_does_not_fit_in_the_file_is_shortened_and_publishes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    const MOST: u64 = 8 << 20;
    let (disk, log) = Disk::open_bounded(folder.path(), &settings, MOST, Watcher::default()).unwrap();
    let broker = Broker::with_disk(&settings, disk, log);
    broker.add_reader(Arc::new(Silent));
    let event =
        |number: usize| news(&[&format!("c{}", number % 20)], &format!("{number} {}", "x".repeat(4000)));
    let mut refused = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    // 6 MB, into a file that may have 4 MiB, and 8 while it makes room; the history may have 256.
    for step in 0..60 {
        let waiting: Vec<_> = (25 * step..25 * step + 25).map(|n| (n, broker.publish(event(n)))).collect();
        for (number, waiting) in waiting {
            let (mut outcome, begun) = (runtime.block_on(waiting), Instant::now());
            while let Err(error) = outcome {
                refused.push(error.to_string());
                assert!(begun.elapsed() < Duration::from_secs(20), "it takes nothing again: {error}");
                outcome = publish(&broker, event(number));
            }
        }
        assert!(file_size(folder.path()) <= MOST);
    }

    assert!(refused[0].contains("the log's file has reached its bound of 4 MiB"), "{}", refused[0]);
    drop(broker);
    let broker = open(&settings);
    let states = broker.channels(None, None, 100);
    let held: usize = states.iter().map(|state| state.events).sum();
    assert!(held > 200 && held < 1100, "{held}");
    assert_eq!(states.len(), 20);
    let kept = broker.history(&channels(&["c19"])[0], None, 1000).unwrap();
    assert!(kept.iter().any(|kept| kept.event.data().unwrap().starts_with("1499 ")));
    let first = format!("{}-1", broker.epoch().as_str());
    assert!(resume(&broker, &["c0"], Some(&first), Replay::Live).0, "who wants what has gone is told");
}

#[test]
fn a_number_that_an_ending_has_is_never_given_to_an_event() {
    let anna = || vec![crate::subject::Subject::parse("anna").unwrap()];
    for stored in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { stored, ..settings(folder.path()) };
        let broker = open(&settings);
        publish(&broker, news(&["a"], "1")).unwrap();
        publish(&broker, Publication { close: true, ..Publication { event: None, ..news(&["a"], "") } })
            .unwrap();
        publish(&broker, Publication { disconnect: anna(), ..Publication::default() }).unwrap();
        let head = broker.head();
        assert_eq!(head.sequence, 3);
        broker.close();
        drop(broker);

        let broker = open(&settings);

        assert_eq!(broker.head(), head);
        let next = publish(&broker, news(&["a"], "4")).unwrap().id.map(|id| id.to_string());
        assert_eq!(next, Some(format!("{}-4", head.epoch.as_str())));
    }
}
