//! The disk fails while the program starts: the site is up, streams wait, and nobody is told anything
//! wrong of a log that has not been read.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::checker::Said;
use crate::client;
use crate::image::Mounted;
use crate::publisher::publish_one;
use crate::rig::{Rig, Store};
use crate::shim;
use crate::support::outboard::subscribe;
use crate::support::process::Process;
use crate::support::{DEADLINE, Request, folder};

/// A program whose disk fails as long as a file is there.
struct Ill {
    rig: Rig,
    process: Process,
    /// The ids of what was published before.
    ids: Vec<String>,
}

fn publish(rig: &Rig, channel: &str, data: &str) -> Option<String> {
    match publish_one(&rig.socket(), &format!("channel: {channel}\ndata: {data}\n\n")) {
        Some(Said::Ok { id, .. }) => Some(id),
        Some(Said::Error { code }) => {
            assert_eq!(code, "store");
            None
        }
        None => panic!("every publish is answered"),
    }
}

impl Ill {
    /// A program whose log takes as long to be read as a file is there.
    fn reading() -> Self {
        Self::with(shim::hanging_while)
    }

    fn start(reads: bool) -> Self {
        Self::with(|store, file| shim::failing_while(store, file, reads))
    }

    fn with(shim: impl Fn(&std::path::Path, &std::path::Path) -> Vec<(&'static str, String)>) -> Self {
        let rig = Rig::new(Store::Disk("stored")).with_keep_alive("1s");
        let mut process = rig.start();
        let ids = ["one", "two", "three"].map(|data| publish(&rig, "news", data).unwrap());
        publish_one(&rig.socket(), "channel: chat\nclose:\ndata: last\n\n").unwrap();
        process.kill();
        let fault = rig.file("fault");
        fs::write(&fault, "").unwrap();
        let process = rig.spawn(&shim(rig.store(), &fault));
        rig.wait_until_up(&process);
        Self { rig, process, ids: ids.into() }
    }

    fn cure(&self) {
        fs::remove_file(self.rig.file("fault")).unwrap();
    }

    fn publish_until_taken(&self, data: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(id) = publish(&self.rig, "news", data) {
                return id;
            }
            assert!(begun.elapsed() < DEADLINE, "it does not recover:\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn the_site_is_up_streams_wait_and_go_on_where_they_were_once_the_disk_is_well() {
    for reads in [false, true] {
        let ill = Ill::start(reads);
        let (rig, ids) = (&ill.rig, &ill.ids);

        assert_eq!(Request::get("/").send(&rig.address).status, 200, "the site is up");
        assert_eq!(publish(rig, "news", "too early"), None);
        let mut known = subscribe(&rig.address, "/events?c=news", Some(&ids[0]));
        let mut new = subscribe(&rig.address, "/events?c=news", None);
        let mut foreign = subscribe(&rig.address, "/events?c=news", Some("abcdefghijkl-2"));
        let mut over =
            client::open(&rig.address, "/events?c=chat", Some(&ids[2].replace("-3", "-4"))).unwrap();
        // The hint of its first bytes, then a sign of life.
        new.read_until("\n:\n");
        for path in ["/channels", "/channels/news", "/channels/news/events", "/readyz"] {
            let answer = Request::get(path).send_to_socket(&rig.socket());
            assert!(answer.status >= 500, "{path}: {} {}", answer.status, answer.text());
        }
        let log = ill.process.log();
        let told = log.lines().filter(|line| line.contains("the log cannot be opened: until it can")).count();
        assert_eq!(told, 1, "{log}");
        assert!(log.contains(rig.store().join("log.redb").to_str().unwrap()), "{log}");

        ill.cure();
        let id = ill.publish_until_taken("four");

        // A close before it has a number too.
        assert_eq!(id, ids[0].replace("-1", "-6"), "the same log goes on");
        assert_eq!([known.data(), known.data(), known.data()], ["two", "three", "four"]);
        assert_eq!([new.data(), new.data(), new.data(), new.data()], ["one", "two", "three", "four"]);
        let gap = foreign.next();
        assert_eq!(gap.name, "outboard.gap");
        assert!(gap.data.contains("\"reason\":\"epoch\""), "{}", gap.data);
        assert_eq!(foreign.data(), "one");
        while let Some(events) = over.read() {
            assert!(events.is_empty(), "it has seen all of it: {events:?}");
        }
        assert!(ill.process.log().contains("the log is open"), "{}", ill.process.log());
    }
}

#[test]
fn a_program_that_waits_for_its_log_ends_when_it_is_asked_to_and_ends_its_streams() {
    let mut ill = Ill::start(true);
    let mut stream = client::open(&ill.rig.address, "/events?c=news", Some(&ill.ids[2])).unwrap();

    ill.process.signal(rustix::process::Signal::TERM);

    while let Some(events) = stream.read() {
        assert!(events.is_empty(), "{events:?}");
    }
    assert!(ill.process.wait().success(), "{}", ill.process.log());
}

#[test]
fn a_store_for_which_there_is_no_room_is_made_when_there_is_and_leaves_nothing_else_behind() {
    let folder = folder::shared();
    let disk = Mounted::memory(1 << 20, &folder.path().join("disk"));
    let rig = Rig::new(Store::Disk("stored")).with_store_in(&disk.path().join("store"));
    let filler = disk.path().join("filler");
    assert!(fs::write(&filler, vec![0; 2 << 20]).is_err(), "the disk is full");
    let process = rig.spawn(&[]);
    rig.wait_until_up(&process);
    assert_eq!(publish(&rig, "news", "too early"), None);
    assert!(process.log().contains("make room"), "{}", process.log());

    fs::remove_file(filler).unwrap();
    let begun = Instant::now();
    while publish(&rig, "news", "one").is_none() {
        assert!(begun.elapsed() < DEADLINE, "it does not recover:\n{}", process.log());
        std::thread::sleep(Duration::from_millis(50));
    }

    let names = fs::read_dir(rig.store()).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["log.mark", "log.redb"], "{}", process.log());
}

#[test]
fn while_the_log_is_read_the_site_is_up_and_publishes_streams_and_lists_wait_for_it() {
    let ill = Ill::reading();
    let (rig, ids) = (&ill.rig, &ill.ids);

    assert_eq!(Request::get("/").send(&rig.address).status, 200, "the site is up");
    let ready = Request::get("/readyz").send_to_socket(&rig.socket());
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("being read"), "{}", ready.text());
    let mut known = subscribe(&rig.address, "/events?c=news", Some(&ids[0]));
    known.read_until("\n:\n");
    let socket = rig.socket();
    let mut publisher = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    publisher.write_all(b"channel: news\ndata: four\n\ndata: five\n\ndata: six\n\n").unwrap();
    publisher.shutdown(std::net::Shutdown::Write).unwrap();
    let list = std::thread::spawn(move || Request::get("/channels/news/events").send_to_socket(&socket));
    // Whatever is answered now is not what waits.
    known.read_until("\n:\n");
    assert!(!list.is_finished(), "the history is not there yet");

    ill.cure();

    let mut replies = String::new();
    publisher.read_to_string(&mut replies).unwrap();
    let numbers = |reply: &str| reply.split(' ').nth(1).unwrap().rsplit('-').next().unwrap().to_owned();
    let numbers: Vec<String> = replies.lines().map(numbers).collect();
    assert_eq!(numbers, ["6", "7", "8"], "a close before them has a number too: {replies}");
    assert!(replies.lines().all(|reply| reply.ends_with(" 1 stored")), "who waited is there: {replies}");
    assert_eq!([(); 5].map(|()| known.data()), ["two", "three", "four", "five", "six"]);
    assert_eq!(list.join().unwrap().status, 200);
    assert_eq!(Request::get("/readyz").send_to_socket(&rig.socket()).status, 200);
}

#[test]
fn a_program_that_reads_its_log_ends_at_once_when_it_is_asked_to() {
    let mut ill = Ill::reading();
    let mut stream = client::open(&ill.rig.address, "/events?c=news", Some(&ill.ids[2])).unwrap();
    let mut publisher = std::os::unix::net::UnixStream::connect(ill.rig.socket()).unwrap();
    publisher.write_all(b"channel: news\ndata: too early\n\n").unwrap();
    publisher.shutdown(std::net::Shutdown::Write).unwrap();
    let begun = Instant::now();

    ill.process.signal(rustix::process::Signal::TERM);

    let mut replies = String::new();
    publisher.read_to_string(&mut replies).unwrap();
    assert!(replies.starts_with("error store "), "{replies}");
    while let Some(events) = stream.read() {
        assert!(events.is_empty(), "{events:?}");
    }
    assert!(ill.process.wait().success(), "{}", ill.process.log());
    // A second is promised; a machine that is busy with other tests may take some more.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
