//! Whose store it is: one process at a time, and no version that does not know its format.

use std::fs;

use redb::{Database, TableDefinition};

use crate::checker::Said;
use crate::publisher::publish_one;
use crate::readback;
use crate::rig::{Rig, Store};
use crate::support::Request;
use crate::support::folder::repository;

/// The format after ours.
const LATER: u64 = 3;

#[test]
fn a_second_process_on_the_same_store_ends_at_once_and_says_why() {
    let first = Rig::new(Store::Disk("stored"));
    let _process = first.start();
    let second = Rig::new(Store::Disk("stored")).with_store_in(first.store());

    let mut process = second.spawn(&[]);
    let status = process.wait();

    assert_eq!(status.code(), Some(1));
    let file = first.store().join("log.redb");
    let message = format!(
        "outboard: the log in {} is in use by another outboard; stop that one, or give this one its own `path` in [history]",
        file.display()
    );
    assert!(process.log().contains(&message), "{}", process.log());
    let said = publish_one(&first.socket(), "channel: news\ndata: one\n\n").unwrap();
    assert!(matches!(said, Said::Ok { .. }), "the first goes on: {said:?}");
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_as_it_is() {
    let rig = Rig::new(Store::Disk("stored"));
    let mut process = rig.start();
    publish_one(&rig.socket(), "channel: news\ndata: one\n\n").unwrap();
    process.signal(rustix::process::Signal::TERM);
    process.wait();
    let file = rig.store().join("log.redb");
    let database = Database::open(&file).unwrap();
    let step = database.begin_write().unwrap();
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    step.open_table(meta).unwrap().insert("format", &LATER.to_le_bytes()[..]).unwrap();
    step.commit().unwrap();
    drop(database);
    let mark = rig.store().join("log.mark");
    fs::write(&mark, with_format(LATER, fs::read(&mark).unwrap())).unwrap();
    let before = fs::read(&file).unwrap();

    let mut process = rig.spawn(&[]);
    let status = process.wait();

    assert_eq!(status.code(), Some(1));
    let message =
        format!("outboard: the log in {} has format 3, and this version knows 2 at most", file.display());
    assert!(process.log().contains(&message), "{}", process.log());
    assert!(fs::read(&file).unwrap() == before, "not a byte is changed");
    assert_eq!(fs::read_dir(rig.store()).unwrap().count(), 2, "and nothing is put beside it");

    // Without its mark it is refused as well.
    fs::remove_file(&mark).unwrap();
    let mut process = rig.spawn(&[]);
    assert_eq!(process.wait().code(), Some(1));
    assert!(process.log().contains(&message), "{}", process.log());
}

/// A mark as a later version writes it: the format and the checksum have the same places.
fn with_format(format: u64, mut mark: Vec<u8>) -> Vec<u8> {
    mark[..8].copy_from_slice(&format.to_le_bytes());
    let sum = crc32fast::hash(&mark[..28]);
    mark[28..32].copy_from_slice(&sum.to_le_bytes());
    mark
}

#[test]
fn a_key_and_a_close_are_known_after_a_kill_although_the_history_has_moved_on() {
    let rig = Rig::new(Store::Disk("stored")).with_history("max_events = 1");
    let mut process = rig.start();
    let first = publish_one(&rig.socket(), "channel: news\ndedupe: key\ndata: one\n\n").unwrap();
    let Said::Ok { id, .. } = first else { panic!("{first:?}") };
    publish_one(&rig.socket(), "channel: news\ndata: two\n\n").unwrap();
    publish_one(&rig.socket(), "channel: chat\nclose:\ndata: last\n\n").unwrap();
    // Long enough for what has left the history to be taken off the disk.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    process.kill();

    let _process = rig.start();

    let again = publish_one(&rig.socket(), "channel: news\ndedupe: key\ndata: one\n\n").unwrap();
    let Said::Ok { id: same, duplicate, .. } = again else { panic!("{again:?}") };
    assert!(duplicate, "within two minutes it is known, although it has left the history");
    assert_eq!(same, id);
    let (_, data): (Vec<_>, Vec<_>) = readback::entries(&rig.socket(), "news").into_iter().unzip();
    assert_eq!(data, ["two"]);
    let mut stream = crate::support::outboard::subscribe(&rig.address, "/events?c=chat", None);
    assert_eq!(stream.data(), "last");
    assert_eq!(stream.next_or_end(), None, "the channel is closed still");
}

/// `format-1` is a store as its version left it when it was killed. In `news`, whose history has three
/// events, were published: `one` (key `gone`, id `own-1`), `two` (key `held`), `three` (id `own-3`), `four`,
/// and, with `chat`, `five` (key `both`); `last` closed `done`.
#[test]
fn a_store_of_format_1_is_taken_over_with_its_events_keys_and_closes() {
    let rig = Rig::new(Store::Disk("stored")).with_history("max_events = 3\nmax_age = \"876000h\"");
    fs::create_dir_all(rig.store()).unwrap();
    for name in ["log.redb", "log.mark"] {
        fs::copy(repository().join("tests/durability/format-1").join(name), rig.store().join(name)).unwrap();
    }
    let epoch = "svqb3w3p7v4d";
    let id = |number: usize| format!("{epoch}-{number}");

    // The second time it is of our format.
    for _ in 0..2 {
        let mut process = rig.start();

        let held = readback::entries(&rig.socket(), "news");
        let expected = [("own-3".into(), "three"), (id(4), "four"), (id(5), "five")];
        assert_eq!(held, expected.map(|(id, data)| (id, data.to_owned())));
        assert_eq!(readback::entries(&rig.socket(), "chat"), [(id(5), "five".into())]);
        for (channel, key, first) in [
            ("news", "gone", "own-1".into()),
            ("news", "held", id(2)),
            ("news", "both", id(5)),
            ("chat", "both", id(5)),
        ] {
            let frame = format!("channel: {channel}\ndedupe: {key}\ndata: again\n\n");
            let said = publish_one(&rig.socket(), &frame).unwrap();
            let Said::Ok { id, duplicate, .. } = said else { panic!("{said:?}") };
            assert_eq!((id, duplicate), (first, true), "`{key}` in {channel}");
        }
        let last = id(6);
        let answer = Request::get("/events?c=done").header("Last-Event-ID", &last).send(&rig.address);
        assert_eq!(answer.status, 204, "it is closed, and that client has seen all of it");
        process.kill();
    }
    assert_eq!(fs::read_dir(rig.store()).unwrap().count(), 2, "nothing is set aside");
}

#[test]
fn a_copy_of_the_file_and_its_mark_is_a_backup_and_the_file_alone_beside_a_later_mark_is_set_aside() {
    let rig = Rig::new(Store::Disk("stored"));
    let names = ["log.redb", "log.mark"];
    let copy = |from: &std::path::Path, to: &std::path::Path, names: &[&str]| {
        fs::create_dir_all(to).unwrap();
        for name in names {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    };
    let publish =
        |data: &str| publish_one(&rig.socket(), &format!("channel: news\ndata: {data}\n\n")).unwrap();
    let held = || -> Vec<String> {
        readback::entries(&rig.socket(), "news").into_iter().map(|(_, data)| data).collect()
    };
    let (backup, later) = (rig.file("backup"), rig.file("later"));
    let mut process = rig.start();
    publish("one");
    process.signal(rustix::process::Signal::TERM);
    process.wait();
    copy(rig.store(), &backup, &names);
    let mut process = rig.start();
    publish("two");
    process.kill();
    copy(rig.store(), &later, &names);

    // The file alone would give out the number of `two` again.
    copy(&backup, rig.store(), &names[..1]);
    let mut process = rig.start();
    assert!(held().is_empty());
    assert!(process.log().contains("it was set aside"), "{}", process.log());
    process.kill();

    copy(&backup, rig.store(), &names);
    let mut process = rig.start();
    assert_eq!(held(), ["one"]);
    process.kill();

    copy(&later, rig.store(), &names);
    let _process = rig.start();
    assert_eq!(held(), ["one", "two"]);
}
