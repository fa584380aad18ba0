//! A channel is closed and the process dies, right before or right after any call to the disk.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::checker::Said;
use crate::dice::{Dice, seed};
use crate::faults::{failures, is_up};
use crate::publisher::publish_one;
use crate::readback;
use crate::results::{number, report};
use crate::rig::{Rig, Store};
use crate::shim::{self, Error};
use crate::support::{DEADLINE, Request};

/// Whether it was acknowledged.
fn publish(rig: &Rig, frame: &str) -> bool {
    matches!(publish_one(&rig.socket(), frame), Some(Said::Ok { .. }))
}

/// Closes without an event; whether that was acknowledged.
fn close(socket: &Path, channel: &str) -> bool {
    let close = || -> std::io::Result<String> {
        let mut socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.write_all(format!("channel: {channel}\nclose:\n\n").as_bytes())?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut reply = String::new();
        socket.read_to_string(&mut reply).map(|_| reply)
    };
    close().is_ok_and(|reply| reply.starts_with("ok") && reply.ends_with('\n'))
}

/// What a channel holds, and whether it is closed.
fn state(rig: &Rig, channel: &str) -> (Vec<String>, bool) {
    let answer = Request::get(&format!("/channels/{channel}")).send_to_socket(&rig.socket());
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let data = readback::entries(&rig.socket(), channel).into_iter().map(|(_, data)| data).collect();
    (data, json["closed"].as_bool().unwrap_or(false))
}

const LAST: &str = "channel: done\ndedupe: last\nclose:\ndata: last\n\n";

/// Closes channels until the process dies at some call, and looks at what another finds; whether it died.
fn dies_at(at: usize, error: Error) -> bool {
    let what = format!("call {at}, {error:?}");
    let rig = Rig::new(Store::Disk("stored"));
    let log = rig.file("failed");
    let mut process = rig.spawn(&shim::failing(rig.store(), at, 1, error, &log));
    let [mut first, mut last, mut bare, mut a, mut b] = [false; 5];
    if is_up(&mut process) {
        first = publish(&rig, "channel: done\ndata: first\n\n");
        last = publish(&rig, LAST);
        let _ = publish(&rig, "channel: bare\ndata: x\n\n");
        bare = close(&rig.socket(), "bare");
        a = publish(&rig, "channel: again\nclose:\ndata: a\n\n");
        b = publish(&rig, "channel: again\ndata: b\n\n");
    }
    process.kill();

    let _process = rig.start();

    let (events, closed) = state(&rig, "done");
    assert_eq!(closed, events.contains(&"last".to_owned()), "{what}: both or neither: {events:?}");
    assert!(closed || !last, "{what}: it was acknowledged");
    assert!(events.contains(&"first".to_owned()) || !first, "{what}");
    assert!(publish(&rig, LAST), "{what}");
    let (events, closed) = state(&rig, "done");
    assert!(closed, "{what}: after a second try it is closed");
    assert_eq!(events.iter().filter(|data| *data == "last").count(), 1, "{what}: {events:?}");
    assert!(state(&rig, "bare").1 || !bare, "{what}: a close without an event was acknowledged");
    let (events, closed) = state(&rig, "again");
    assert_eq!(closed, events == ["a"], "{what}: it is closed by one and opened by the other: {events:?}");
    assert!(events.len() >= usize::from(a) + usize::from(b), "{what}: {events:?}");
    failures(&log) > 0
}

/// One call in five, beginning anywhere; `OUTBOARD_EVERY=1` for each of them.
#[test]
fn a_close_is_there_with_its_event_or_neither_is_whenever_the_process_dies() {
    let seed = seed();
    let every = number("OUTBOARD_EVERY", 5);
    let mut dice = Dice::new(seed);
    let mut lines = Vec::new();
    for error in [Error::Kill, Error::Killed] {
        let next = AtomicUsize::new(1 + dice.below(every));
        let (runs, beyond) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(every, Ordering::Relaxed);
                        if at >= beyond.load(Ordering::Relaxed) {
                            return;
                        }
                        if !dies_at(at, error) {
                            beyond.fetch_min(at, Ordering::Relaxed);
                            return;
                        }
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let (runs, beyond) = (runs.into_inner(), beyond.into_inner());
        let when = if error == Error::Kill { "before" } else { "after" };
        assert!(runs * every + every > 40, "it never died: {runs} runs");
        lines.push(format!("died right {when} a call: {runs} runs up to call {beyond}"));
    }
    lines.push("0 acknowledged closes lost, 0 closes without their events or the other way round".into());
    report("A channel is closed and the process dies at a call to the disk", seed, &lines);
}
