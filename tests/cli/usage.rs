//! What is typed, and what is found without being typed.

use tempfile::TempDir;

use crate::scripted::*;

#[test]
fn wrong_usage_ends_with_2_and_names_what_was_meant() {
    let (code, _, told) = run(&mut outboard(&["--too", "http://127.0.0.1:8080"]));
    assert_eq!(code, 2);
    assert!(told.contains("'--to'"), "{told}");

    let (code, _, told) = run(&mut outboard(&["publish", "a b", "data"]));
    assert_eq!(code, 2);
    assert!(told.contains("a channel name cannot contain ' '"), "{told}");

    let (code, _, told) = run(&mut outboard(&["publish", "a", "data", "--id", "a b"]));
    assert_eq!(code, 2);
    assert!(told.starts_with("outboard: --id: an id consists of visible ASCII"), "{told}");
}

#[test]
fn a_wrong_configuration_ends_with_2_and_the_report() {
    let (code, out, told) = run(outboard(&["--to", "ftp://example.com", "--socket", "/tmp/p.sock"])
        .env("OUTBOARD__HISTORY__STOR", "memory"));

    assert_eq!(code, 2);
    assert_eq!(out, "");
    assert_eq!(
        told,
        r#"error: `backend.url`: expected an address such as "http://127.0.0.1:8080" or "unix:/run/app.sock", not "ftp://example.com"
 |
 = note: from --to on the command line

error: unknown key `stor` in `history`
 |
 = note: from the variable OUTBOARD__HISTORY__STOR
 = help: did you mean OUTBOARD__HISTORY__STORE?
"#
    );
}

#[test]
fn without_anything_a_newcomer_is_told_what_to_type() {
    let (code, _, told) = run(&mut outboard(&["--socket", "/tmp/p.sock"]));

    assert_eq!(code, 2);
    assert!(told.contains("outboard --to http://127.0.0.1:8080"), "{told}");
}

#[test]
fn without_an_outboard_the_way_to_one_is_told() {
    for arguments in [&["publish", "a", "x"][..], &["pipe", "a"], &["tail", "a"], &["channels"]] {
        let (code, _, told) = run(outboard(arguments).env("OUTBOARD_SOCKET", "/nowhere/p.sock"));

        assert_eq!(code, 1);
        assert!(told.contains("is outboard running? Nobody listens on /nowhere/p.sock"), "{told}");
    }
}

#[test]
fn the_socket_is_found_by_the_configuration() {
    let socket = Socket::new();
    let file = socket.path.with_file_name("outboard.toml");
    std::fs::write(&file, format!("[publish]\nsocket = {:?}\n", socket.path)).unwrap();
    let mut client = outboard(&["publish", "a", "x", "--config", file.to_str().unwrap()]);
    let answering = socket.answer_frames(&["ok e-1 0 accepted"]);

    assert_eq!(run(&mut client).0, 0);
    answering.join().unwrap();
}

#[test]
fn a_user_without_a_configuration_has_a_socket_of_the_own() {
    let runtime = TempDir::new().unwrap();
    std::fs::create_dir(runtime.path().join("outboard")).unwrap();
    let mut client = outboard(&["publish", "a", "x"]);
    client.env("XDG_RUNTIME_DIR", runtime.path());
    let socket = Socket::at(runtime.path().join("outboard/publish.sock"), runtime);
    let answering = socket.answer_frames(&["ok e-1 0 accepted"]);

    assert_eq!(run(&mut client).0, 0);
    answering.join().unwrap();
}

#[test]
fn completions_and_manual_know_every_command() {
    let (code, script, _) = run(&mut outboard(&["completions", "bash"]));
    assert_eq!(code, 0);
    let (code, manual, _) = run(&mut outboard(&["man"]));
    assert_eq!(code, 0);

    for command in ["run", "check", "publish", "pipe", "tail", "channels", "demo", "completions", "man"] {
        assert!(script.contains(command), "{command}");
        assert!(manual.contains(&format!(".TH outboard-{command} 1")), "{command}");
    }
}

#[test]
fn help_shows_examples() {
    for command in ["run", "check", "publish", "pipe", "tail", "channels", "completions"] {
        let (code, out, _) = run(&mut outboard(&[command, "--help"]));

        assert_eq!(code, 0);
        assert!(out.contains("Examples:\n"), "{command}");
    }
}
