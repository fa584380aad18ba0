//! Whose store it is: one process at a time, and no version that does not know its format.

use std::fs;

use redb::{Database, TableDefinition};

use crate::checker::Said;
use crate::publisher::publish_one;
use crate::readback;
use crate::rig::{Rig, Store};

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
    step.open_table(meta).unwrap().insert("format", &2u64.to_le_bytes()[..]).unwrap();
    step.commit().unwrap();
    drop(database);
    let mark = rig.store().join("log.mark");
    fs::write(&mark, with_format(2, fs::read(&mark).unwrap())).unwrap();
    let before = fs::read(&file).unwrap();

    let mut process = rig.spawn(&[]);
    let status = process.wait();

    assert_eq!(status.code(), Some(1));
    let message =
        format!("outboard: the log in {} has format 2, and this version knows 1 at most", file.display());
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
