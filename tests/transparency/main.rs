//! The same requests to a site directly, through nginx, through HAProxy and through `outboard`: what
//! each of them changed.
//!
//! `requests.txt` holds the requests, `accepted.txt` the differences that `outboard` makes on purpose.
//! Any other one that nginx or HAProxy does without is a fault. The short table is printed; the long
//! one, with every difference of each way, is the file `transparency.txt` in cargo's target folder
//! under `tmp`, and is printed as well if `OUTBOARD_TRANSPARENCY` is set, to a word that its cases'
//! names must hold, or to nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod cases;
mod client;
mod compare;
mod table;
mod tap;
mod ways;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use compare::Difference;
use support::{Apache, folder};
use ways::{NAMES, Outcome, Way};

/// The site of `tests/transparency/site`, and files that are too large to keep.
fn site() -> Apache {
    Apache::start(include_str!("apache.conf"), |root| {
        let www = root.join("www");
        fs::create_dir_all(&www).unwrap();
        for entry in fs::read_dir(folder::repository().join("tests/transparency/site")).unwrap() {
            let from = entry.unwrap().path();
            put(&www.join(from.file_name().unwrap()), &fs::read(&from).unwrap());
        }
        let line = "It is long, and compresses well.\n";
        put(&www.join("long.txt"), line.repeat(1000).as_bytes());
        put(&www.join("large.bin"), &(0..8_u32 << 20).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>());
        put(&www.join("probe.txt"), b"here\n");
    })
}

/// An old file that may be run: its entity tag is the same each time.
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let year_2003 = SystemTime::UNIX_EPOCH + Duration::from_secs(33 * 365 * 86_400);
    fs::File::options().append(true).open(path).unwrap().set_modified(year_2003).unwrap();
}

/// What a case led to, and how it differs from the direct way, for each of the others.
pub(crate) struct Row {
    case: cases::Case,
    direct: Outcome,
    differences: [Vec<Difference>; 3],
}

impl Row {
    fn new(case: &cases::Case, outcomes: &[Outcome; 4]) -> Self {
        let [direct, ways @ ..] = outcomes;
        let of = |way| {
            let mut found = compare::differences(direct, way);
            found.retain(|difference| case.compares(&difference.what));
            found
        };
        Self { case: case.clone(), direct: direct.clone(), differences: ways.each_ref().map(of) }
    }

    /// What `outboard` changed and nginx or HAProxy left alone.
    fn own(&self) -> BTreeSet<String> {
        let [nginx, haproxy, outboard] = &self.differences;
        let makes = |way: &[Difference], what: &str| way.iter().any(|difference| difference.what == what);
        let own = outboard.iter().map(|difference| difference.what.clone());
        own.filter(|what| !(makes(nginx, what) && makes(haproxy, what))).collect()
    }
}

fn walk(cases: &[cases::Case]) -> Vec<Row> {
    let apache = site();
    let mut outcomes = std::thread::scope(|scope| {
        let address = apache.address();
        let walkers = NAMES.map(|name| {
            let address = address.clone();
            scope.spawn(move || {
                let way = Way::open(name, &address);
                cases.iter().map(|case| way.go(case)).collect::<Vec<_>>()
            })
        });
        walkers.map(|walker| walker.join().unwrap().into_iter())
    });
    let row = |case| Row::new(case, &outcomes.each_mut().map(|way| way.next().unwrap()));
    cases.iter().map(row).collect()
}

#[test]
fn outboard_changes_nothing_that_nginx_and_haproxy_leave_alone_but_what_is_listed() {
    let cases = cases::read(include_str!("requests.txt"));
    let accepted = accepted::read(include_str!("accepted.txt"));

    let rows = walk(&cases);

    table::print(&rows);
    let own: BTreeMap<_, _> = rows.iter().map(|row| (row.case.name.clone(), row.own())).collect();
    let wrong = accepted::judge(&own, &accepted);
    assert!(wrong.is_empty(), "{} differences:\n    {}", wrong.len(), wrong.join("\n    "));
}
