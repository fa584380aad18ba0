//! The power goes while the log is written.
//!
//! The log is in an ext4 file system within a file. What the file holds at some moment is what a disk
//! would hold then: what was synced, and whatever else the system happened to have written. A copy of
//! it, made without a sync, is mounted (which recovers the journal), and outboard started on it.
//!
//! While the copy is made the program is stopped, for a copy takes longer than many syncs, and a mix of
//! several states is nothing that a disk could hold. A sync that is under way goes on meanwhile, so
//! that some copies have one half done.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::checker::{Class, History, Life, Said, Verdict, check};
use crate::dice::{Dice, seed};
use crate::image::{self, Mounted};
use crate::load::{Load, read_back};
use crate::results::{number, report};
use crate::rig::{Rig, Store};
use crate::shim;

/// So many cuts of one log, then another begins.
const CUTS: usize = 4;

/// A program under load whose log is in a file system in a file.
struct Powered {
    // Dropped in this order, also when a test has failed: a folder in which something is mounted stays.
    process: crate::support::process::Process,
    load: Load,
    _disk: Mounted,
    rig: Rig,
}

impl Powered {
    fn start(dice: &mut Dice, syncs: bool) -> Self {
        let rig = Rig::new(Store::Disk("stored"));
        let (image, point) = (rig.file("disk.img"), rig.file("disk"));
        let rig = rig.with_store_in(&point.join("store"));
        image::make(&image);
        let disk = Mounted::image(&image, &point);
        let variables = if syncs { Vec::new() } else { shim::without_sync(disk.path()) };
        let process = rig.spawn(&variables);
        let load = Load::start(&rig, dice);
        rig.wait_until_up(&process);
        Self { process, load, _disk: disk, rig }
    }

    /// What was seen before the power went, and what the disk was found to hold afterwards.
    fn cut(&self) -> History {
        let copy = self.rig.file("copy.img");
        let before = self.load.run.now();
        self.process.signal(Signal::STOP);
        std::fs::copy(self.rig.file("disk.img"), &copy).unwrap();
        self.process.signal(Signal::CONT);

        let mut history = self.load.run.history(before);
        history.lives.push(Life { continues: true });
        let disk = Mounted::image(&copy, &self.rig.file("copy"));
        let rig = Rig::new(Store::Disk("stored")).with_store_in(&disk.path().join("store"));
        let process = rig.start();
        let run = Arc::clone(&self.load.run);
        read_back(&mut history, &rig, 1, || run.now());
        drop(process);
        history
    }

    fn end(self) {
        drop(self.process);
        self.load.abandon();
    }
}

/// How many events were acknowledged as stored.
fn stored(history: &History) -> usize {
    let is_stored = |said: &Said| matches!(said, Said::Ok { .. });
    history
        .sends
        .iter()
        .filter(|sent| sent.reply.as_ref().is_some_and(|reply| is_stored(&reply.said)))
        .count()
}

/// 10 cuts; `OUTBOARD_CUTS=500` for so many.
#[test]
fn what_was_stored_is_there_after_the_power_went() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (cuts, mut done, mut events) = (number("OUTBOARD_CUTS", 10), 0, 0);

    while done < cuts {
        let powered = Powered::start(&mut dice, true);
        for _ in 0..CUTS.min(cuts - done) {
            std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
            let history = powered.cut();
            let verdict = check(&history);
            assert!(verdict.is_clean(), "with OUTBOARD_SEED={seed}, cut {done}:\n{verdict}");
            events += stored(&history);
            done += 1;
        }
        powered.end();
        println!("{done} cuts");
    }

    assert!(events > 100 * cuts, "too little was published to mean anything");
    let lines = [
        format!(
            "{cuts} copies of an ext4 image, made without a sync while it was written, recovered and read back"
        ),
        format!("{events} times an event was `stored` before a copy began, and was looked for in it"),
        "0 of them missing, 0 doubled, 0 reordered, 0 that nobody sent, 0 clients ahead of the log".into(),
    ];
    report("Power cut, `durability = \"stored\"`", seed, &lines);
}

#[test]
fn a_program_that_acknowledges_before_the_sync_is_found_out() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let powered = Powered::start(&mut dice, false);

    let verdicts = (1..=20).map(|cut| {
        std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
        (cut, try_check(&powered))
    });
    let (cut, verdict) = verdicts.into_iter().find(|(_, verdict)| !verdict.is_clean()).expect("it is found");

    powered.end();
    assert!(verdict.has(Class::Lost) || verdict.has(Class::Ahead), "{verdict}");
    let lines = [
        "the same program with `fdatasync` and `fsync` doing nothing (`OUTBOARD_SHIM_NOSYNC`)".into(),
        format!(
            "found at cut {cut}: {} events lost, {} held by clients and not by the log",
            verdict.count(Class::Lost),
            verdict.count(Class::Ahead)
        ),
    ];
    report("Power cut, a program that acknowledges before the sync", seed, &lines);
}

fn try_check(powered: &Powered) -> Verdict {
    check(&powered.cut())
}
