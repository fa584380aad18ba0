//! The client commands with a real outboard behind the socket.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use support::process::Process;
use support::{Backend, Outboard};

const ROUTE: &str = "[[event_route]]\npath = \"/events/{name}\"\nchannels = [\"{path.name}\"]\nauth = \"none\"\nreplay = \"all\"\n";

fn running() -> (Backend, Outboard) {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(ROUTE).start();
    (backend, outboard)
}

fn client(outboard: &Outboard, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.args(arguments).env("OUTBOARD_SOCKET", outboard.socket()).stdin(Stdio::null());
    command
}

/// Its standard output, after it has ended well.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn what_is_published_arrives_and_is_counted() {
    let (_backend, outboard) = running();
    let mut stream = outboard.subscribe("/events/news");

    let reply = printed(&mut client(
        &outboard,
        &["publish", "news", "two\nlines", "--event", "tick", "--id", "own-7"],
    ));

    let event = stream.next();
    assert_eq!(
        (event.name.as_str(), event.data.as_str(), event.id.as_str()),
        ("tick", "two\nlines", "own-7")
    );
    assert_eq!(reply, "own-7 1 accepted\n");
    assert!(printed(&mut client(&outboard, &["channels"])).starts_with("news\t1\t1\t"));
    assert_eq!(printed(&mut client(&outboard, &["channels", "--match", "job-*"])), "");
}

#[test]
fn more_channels_than_fit_on_a_page_are_all_listed_once() {
    let (_backend, outboard) = running();
    let frames: String = (0..1200).map(|n| format!("channel: c{n:04}\ndata: x\n\n")).collect();
    assert_eq!(outboard.frames(frames).len(), 1200);

    let list = printed(&mut client(&outboard, &["channels"]));

    let names: Vec<_> = list.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..1200).map(|n| format!("c{n:04}")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_tail_prints_the_past_and_the_present_until_the_channel_is_closed() {
    let (_backend, outboard) = running();
    outboard.publish("job-42", "before");
    let mut child = start(&mut client(&outboard, &["tail", "job-42", "--replay", "all"]));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "before");

    outboard.publish("job-42", "after");
    assert_eq!(lines.next().unwrap(), "after");
    outboard.frames("channel: job-42\ndata: last\nclose:\n\n");

    assert_eq!(lines.next().unwrap(), "last");
    assert_eq!(lines.next(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_pipe_outlives_a_crash_of_outboard() {
    let (_backend, mut outboard) = running();
    let mut child = start(&mut client(&outboard, &["pipe", "log", "--close"]));
    let mut stdin = child.stdin.take().unwrap();
    let mut stream = outboard.subscribe("/events/log");
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(stream.data(), "one");

    outboard.crash_and_restart();
    stdin.write_all(b"two\nthree\n").unwrap();
    drop(stdin);

    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("back again"), "{told}");
    let mut stream = outboard.subscribe("/events/log");
    let data: Vec<_> = stream.rest().into_iter().map(|event| event.data).collect();
    assert_eq!(data[data.len() - 2..], ["two", "three"]);
}

#[test]
fn a_pipe_is_as_fast_as_the_job_and_keeps_its_order() {
    let (_backend, outboard) = running();
    let lines: Vec<_> = (0..900).map(|n| format!("line {n}")).collect();
    let mut child = start(&mut client(&outboard, &["pipe", "log", "--close"]));

    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();

    assert!(child.wait().unwrap().success());
    let data: Vec<_> = outboard.subscribe("/events/log").rest().into_iter().map(|event| event.data).collect();
    assert_eq!(data, lines);
}

#[test]
fn a_job_that_is_faster_than_outboard_loses_no_line() {
    let (_backend, outboard) = running();
    let mut child = start(&mut client(&outboard, &["pipe", "log", "--close", "--spool", "16KiB"]));
    let text: String = (1..=20_000).map(|n| format!("line {n}\n")).collect();

    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();

    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let data: Vec<_> = outboard.subscribe("/events/log").rest().into_iter().map(|event| event.data).collect();
    assert_eq!(data.last().map(String::as_str), Some("line 20000"));
}

#[test]
fn a_job_goes_on_while_outboard_stands_still_and_its_lines_come_later() {
    let (_backend, outboard) = running();
    let mut child = start(&mut client(&outboard, &["pipe", "log", "--close"]));
    let mut stdin = child.stdin.take().unwrap();
    let mut stream = outboard.subscribe("/events/log");
    stdin.write_all(b"before\n").unwrap();
    assert_eq!(stream.data(), "before");

    outboard.process().signal(rustix::process::Signal::STOP);
    // More than the pipe and the socket hold together: all of it is read.
    let text: String = (1..=30_000).map(|n| format!("line {n}\n")).collect();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    outboard.process().signal(rustix::process::Signal::CONT);

    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_program_ends_well_when_it_is_asked_to() {
    let (_backend, mut outboard) = running();

    assert!(outboard.stop().success());
    assert!(!outboard.socket().exists(), "the socket is gone");
}

/// A program that was started with these limits (`ulimit`), and runs.
fn limited(limits: &str) -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_outboard"));
    command.args(["--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--socket"]);
    let process = Process::start("outboard", command.arg(folder.path().join("publish.sock")));
    process.wait_for("that it runs", |line| line.contains("taking events").then_some(()));
    (folder, process)
}

#[test]
fn as_many_files_may_be_open_as_the_system_admits() {
    let (_folder, process) = limited("ulimit -Sn 256");

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();

    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_eq!(soft, hard);
    assert_ne!(soft, "256", "the system of this test admits no more");
}

#[test]
fn r13_too_few_open_files_are_told_at_the_start_and_all_that_can_be_open_counts() {
    let (_folder, process) = limited("ulimit -n 256");

    let log = process.log();

    // 20,000 connections, 20,000 streams, 4,096 tunnels with two sockets each, 512 + 80 connections to the site,
    // 1,024 publishers and 64 others.
    for told in ["limit=256", "needed=49872", "max_connections=20000", "max_subscribers=20000"] {
        assert!(log.contains(told), "{told} in {log}");
    }
}
