//! The README's lines for publishing and for handing over, run as they stand there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use support::folder::{self, SOCKET};
use support::{Apache, Backend, Outboard, Reply, Request, readme};

const AWKWARD: &str =
    "50\n\n你好: \"quoted\" \\n $HOME %s\n: not a comment\r\rchannel: victim\rdata: INJECTED\r\nclose:";
/// The same as a page reads it: each kind of line end is one.
const AS_READ: &str =
    "50\n\n你好: \"quoted\" \\n $HOME %s\n: not a comment\n\nchannel: victim\ndata: INJECTED\nclose:";

/// Runs the README's lines for `language`, then `call`, which publishes `AWKWARD` from the
/// environment and prints the reply.
fn publishes(language: &str, file: &str, call: &str, program: &[&str]) {
    let code = readme::snippet(language);
    assert!(code.lines().count() < 12, "{language} takes {} lines", code.lines().count());
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).start();
    let opening = if language == "php" { "<?php\n" } else { "" };
    let script = format!("{opening}{code}{call}").replace(SOCKET, outboard.socket().to_str().unwrap());
    let script = folder::write(outboard.folder(), file, &script);

    let done = run(program, &script, "job-42");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let reply = Reply::parse(String::from_utf8_lossy(&done.stdout).trim_end());
    assert_eq!((reply.receivers, reply.level.as_str(), reply.duplicate), (0, "accepted", false));
    let mut replayed = kept(&outboard, "job-42");
    assert_eq!(replayed.pop().as_deref(), Some(AS_READ));
    let channels = Request::get("/channels").send_to_socket(&outboard.socket());
    assert!(
        !String::from_utf8_lossy(&channels.body).contains("victim"),
        "{language} lets data pose as a field"
    );

    // Reading the reply is what makes a refusal visible: a name with a space is refused.
    let refused = run(program, &script, "not a name");
    assert!(!refused.status.success(), "{language} takes a refusal for success");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("bad-channel"), "{language} does not pass the reason on: {told}");
}

fn run(program: &[&str], script: &Path, channel: &str) -> Output {
    Command::new(program[0])
        .args(&program[1..])
        .arg(script)
        .env("CHANNEL", channel)
        .env("DATA", AWKWARD)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program:?}: {error}; `tests/run` installs it"))
}

/// The data of every event the channel keeps.
fn kept(outboard: &Outboard, channel: &str) -> Vec<String> {
    let answer = Request::get(&format!("/channels/{channel}/events")).send_to_socket(&outboard.socket());
    let events: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sh_publishes_as_the_readme_says() {
    publishes("sh", "publish.sh", "outboard_publish \"$CHANNEL\" \"$DATA\"\n", &["sh"]);
}

#[test]
fn perl_publishes_as_the_readme_says() {
    publishes("perl", "publish.pl", "print outboard_publish($ENV{CHANNEL}, $ENV{DATA});\n", &["perl"]);
}

#[test]
fn php_publishes_as_the_readme_says() {
    let call = "echo outboard_publish(getenv('CHANNEL'), getenv('DATA'));\n";
    // What PHP says of an uncaught exception goes to stderr here, as it goes to a server's log.
    let program = ["php", "-n", "-d", "display_errors=stderr"];
    let code = readme::snippet("php");
    assert!(!code.contains("<?php"), "the README's lines go into a script that is already PHP");
    publishes("php", "publish.php", call, &program);
}

#[test]
fn python_publishes_as_the_readme_says() {
    let call = "import os\nprint(outboard_publish(os.environ['CHANNEL'], os.environ['DATA']), end='')\n";
    publishes("python", "publish.py", call, &["/usr/bin/python3"]);
}

#[test]
fn tcl_publishes_as_the_readme_says() {
    let call = "encoding system utf-8\nputs [outboard_publish $::env(CHANNEL) $::env(DATA)]\n";
    publishes("tcl", "publish.tcl", call, &["tclsh"]);
}

/// No free CFML engine is packaged; the README's template is shown, and what its `cfhttp` sends is
/// sent here by curl, to where it would send it.
#[test]
fn what_cfml_sends_is_published() {
    let code = readme::snippet("cfml");
    assert!(code.lines().count() < 12);
    assert!(code.contains("http://127.0.0.1:8001/channels/"), "{code}");
    let backend = Backend::greeting();
    let port = support::ports::free();
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"s3cret-s3cret-s3cret\"\n");
    let outboard = Outboard::behind(&backend).with_config(&admin).start();
    let url = format!("http://127.0.0.1:{port}/channels/job-42");

    let curl = |token: &str| {
        let done = Command::new("curl")
            .args([
                "--silent",
                "--write-out",
                " %{http_code}",
                "--header",
                "Content-Type: text/plain; charset=utf-8",
            ])
            .args(["--header", &format!("Authorization: Bearer {token}"), "--data-binary", AWKWARD, &url])
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap()
    };

    assert!(curl("wrong").contains(" 40"), "the token is asked for");
    let answer = curl("s3cret-s3cret-s3cret");
    assert!(answer.starts_with("{\"id\":") && answer.ends_with(" 200"), "{answer}");
    assert_eq!(kept(&outboard, "job-42"), [AS_READ]);
}

#[test]
fn the_three_lines_of_cgi_hand_a_client_over() {
    let block = readme::blocks().into_iter().find(|block| block.code.contains("Outboard-Channel:"));
    let script = block.expect("the README shows a handoff").code;
    assert_eq!(script.lines().count(), 3, "{script}");
    let outboard = Outboard::prepare();
    let apache = Apache::with_site(&outboard.socket());
    let path = folder::write(&apache.www(), "handoff.cgi", &script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let outboard = outboard.in_front_of(&apache).start();

    let mut stream = outboard.subscribe("/handoff.cgi");
    outboard.publish("job-42", "50");

    assert_eq!(stream.data(), "50");
}
