//! `outboard check` says no where the start would, in the same words.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use support::{Backend, Outboard, folder};

/// A configuration in a folder of its own, which `more` follows.
fn write(folder: &Path, listen: &str, socket: &Path, more: &str) {
    let text = format!(
        "listen = [\"{listen}\"]\n[backend]\nurl = \"http://127.0.0.1:9\"\n[publish]\nsocket = {socket:?}\n{more}\n"
    );
    folder::write(folder, "outboard.toml", &text);
}

/// What a command says about the configuration in this folder, as a user without rights if that is possible.
fn outboard(command: &str, folder: &Path) -> Output {
    let mut outboard = Command::new(env!("CARGO_BIN_EXE_outboard"));
    outboard.arg(command).arg("--config").arg(folder.join("outboard.toml")).env_remove("RUST_LOG");
    if rustix::process::geteuid().is_root() {
        outboard.uid(65534).gid(65534);
    }
    outboard.output().unwrap()
}

/// Both say these words, and fail.
fn both_say(
    words: &str,
    listen: &str,
    socket: impl Fn(&Path) -> std::path::PathBuf,
    more: impl Fn(&Path) -> String,
) {
    let temp = folder::shared();
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    write(temp.path(), listen, &socket(temp.path()), &more(temp.path()));

    for command in ["check", "run"] {
        let said = outboard(command, temp.path());

        let text = String::from_utf8(said.stderr).unwrap();
        assert!(text.contains(words), "{command}: {text}");
        assert_eq!(said.status.code(), Some(1), "{command}: {text}");
    }
    let left: Vec<_> =
        std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join("publish.sock")
}

fn nothing(_: &Path) -> String {
    String::new()
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let admin = |_: &Path| format!("[admin]\nlisten = \"{address}\"");

    both_say("stop it or choose another port with --listen", &address, socket, nothing);
    both_say("stop it or choose another port with `listen` in [admin]", "127.0.0.1:0", socket, admin);
}

#[test]
fn a_folder_without_rights_is_named() {
    let shut = |folder: &Path| {
        let shut = folder.join("shut");
        std::fs::create_dir_all(&shut).unwrap();
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o500)).unwrap();
        shut
    };
    let history = |folder: &Path| format!("[history]\nstore = \"disk\"\npath = {:?}", shut(folder));

    both_say(
        "choose a path in a folder of this user with --socket",
        "127.0.0.1:0",
        |f| shut(f).join("a.sock"),
        nothing,
    );
    both_say("cannot open the log in", "127.0.0.1:0", socket, history);
}

#[test]
fn a_path_that_something_else_has_is_named() {
    let occupied = |folder: &Path| folder::write(folder, "publish.sock", "a file");
    both_say(
        "is a regular file, and outboard replaces nothing but its own socket",
        "127.0.0.1:0",
        occupied,
        nothing,
    );
}

#[test]
fn a_group_that_the_user_is_not_in_is_named() {
    let root = |_: &Path| "group = \"root\"".to_owned();
    both_say("which this user must be a member of", "127.0.0.1:0", socket, root);
}

#[test]
fn a_history_that_another_outboard_has_is_named() {
    let backend = Backend::greeting();
    let temp = folder::shared();
    let history = format!("[history]\nstore = \"disk\"\npath = {:?}", temp.path().join("log"));
    let _running = Outboard::behind(&backend).with_config(&history).start();
    write(temp.path(), "127.0.0.1:0", &socket(temp.path()), &history);

    for command in ["check", "run"] {
        let mut outboard = Command::new(env!("CARGO_BIN_EXE_outboard"));
        outboard.arg(command).arg("--config").arg(temp.path().join("outboard.toml")).env_remove("RUST_LOG");
        let said = outboard.output().unwrap();

        let text = String::from_utf8(said.stderr).unwrap();
        assert!(text.contains("is in use by another outboard"), "{command}: {text}");
        assert_eq!(said.status.code(), Some(1), "{command}");
    }
}

#[test]
fn a_new_configuration_is_checked_while_an_outboard_runs_with_the_old_one() {
    let backend = Backend::greeting();
    let running = Outboard::behind(&backend).start();
    let temp = folder::shared();
    write(temp.path(), running.address(), &running.socket(), "");

    let mut outboard = Command::new(env!("CARGO_BIN_EXE_outboard"));
    outboard.args(["check", "--config"]).arg(temp.path().join("outboard.toml"));
    let said = outboard.output().unwrap();

    let text = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.status.success() && text.contains("note: an outboard runs with this publish socket"),
        "{text}"
    );
}
