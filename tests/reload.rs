//! HUP: another configuration for a running outboard.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use rustix::process::Signal;

use support::{Backend, Outboard, folder};

const NEWS: &str = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"none\"\n";
const MORE: &str = "[[event_route]]\npath = \"/more\"\nchannels = [\"news\"]\nauth = \"none\"\n";

/// Replaces the end of its configuration file and sends HUP; returns once the log says `said`.
fn reload(outboard: &Outboard, from: &str, to: &str, said: &str) {
    let file = outboard.folder().join("outboard.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace(from, to);
    folder::write(outboard.folder(), "outboard.toml", &text);
    outboard.process().signal(Signal::HUP);
    outboard.process().wait_for(said, |line| line.contains(said).then_some(()));
}

#[test]
fn a_new_route_and_another_backend_count_from_now_on_and_streams_go_on() {
    let old = Backend::start(|exchange| exchange.answer("200 OK", &[], "old"));
    let new = Backend::start(|exchange| exchange.answer("200 OK", &[], "new"));
    let outboard = Outboard::behind(&old).with_config(NEWS).start();
    let mut stream = outboard.subscribe("/news");
    assert_eq!(outboard.get("/more").body, b"old");

    let both = format!("{NEWS}{MORE}");
    reload(&outboard, NEWS, &both, "reloaded");
    reload(
        &outboard,
        old.address(),
        new.address(),
        &format!("reloaded the configuration backend=http://{}", new.address()),
    );

    let mut more = outboard.subscribe("/more");
    assert_eq!(outboard.publish("news", "to both").receivers, 2);
    assert_eq!((stream.data(), more.data()), ("to both".into(), "to both".into()));
    assert_eq!(outboard.get("/page").body, b"new");
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(NEWS).start();

    reload(&outboard, "auth = \"none\"", "auht = \"none\"", "did you mean `auth`");

    let mut stream = outboard.subscribe("/news");
    outboard.publish("news", "still here");
    assert_eq!(stream.data(), "still here");
}

#[test]
fn what_needs_a_restart_is_named() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config("[stream]\nkeep_alive = \"15s\"\n").start();

    reload(&outboard, "keep_alive = \"15s\"", "keep_alive = \"20s\"", "only after a restart");

    assert!(outboard.log().contains("[stream]"));
}

#[test]
fn what_needs_a_restart_is_named_as_long_as_it_is_needed() {
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config("[history]\nstore = \"memory\"\n").start();
    let warned = |line: &str| line.contains("only after a restart") && line.contains("[history] store");

    reload(&outboard, "store = \"memory\"", "store = \"disk\"", "only after a restart");
    reload(&outboard, "store = \"disk\"", "store = \"disk\"", "only after a restart");
    assert_eq!(outboard.log().lines().filter(|line| warned(line)).count(), 2, "{}", outboard.log());

    // What runs is what is written again: there is nothing to restart for.
    let file = outboard.folder().join("outboard.toml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("\"disk\"", "\"memory\"").replace("\"news\"", "");
    folder::write(outboard.folder(), "outboard.toml", &format!("{text}{NEWS}"));
    outboard.process().signal(Signal::HUP);
    outboard.process().wait_for("reloaded", |line| line.contains("reloaded").then_some(()));
    assert_eq!(outboard.subscribe("/news").status(), 200);
    assert_eq!(outboard.log().lines().filter(|line| warned(line)).count(), 2, "{}", outboard.log());
}
