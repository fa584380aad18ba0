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

    let (code, _, told) = run(&mut outboard(&["publish", "a", "data", "--id", "a\tb"]));
    assert_eq!(code, 2);
    assert!(told.starts_with("outboard: --id: an id consists of printable ASCII"), "{told}");
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
    for arguments in [&["publish", "a", "x"][..], &["tail", "a"], &["channels"]] {
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
fn what_the_manual_shows_can_be_pasted_and_names_only_pages_that_exist() {
    let folder = TempDir::new().unwrap();
    let (code, _, told) = run(&mut outboard(&["man", "--folder", folder.path().to_str().unwrap()]));
    assert_eq!((code, told.as_str()), (0, ""));

    let pages: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(pages.len() > 9);
    for page in &pages {
        let name = page.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(page.path()).unwrap();
        // No word is hyphenated, and no example is filled into lines of another length.
        assert!(text.contains("\n.nh\n"), "{name}");
        assert_eq!(text.matches(".SH EXAMPLES\n.nf\n").count(), text.matches("\n.fi\n").count(), "{name}");
        for other in text.replace('\\', "").split_whitespace().filter_map(|word| word.strip_suffix("(1)")) {
            assert!(folder.path().join(format!("{other}.1")).exists(), "{name} names {other}(1)");
        }
    }

    let (code, page, _) = run(&mut outboard(&["man", "pipe"]));
    assert_eq!(code, 0);
    assert_eq!(page, std::fs::read_to_string(folder.path().join("outboard-pipe.1")).unwrap());
    let (code, _, told) = run(&mut outboard(&["man", "pip"]));
    assert_eq!(code, 2);
    assert!(told.contains("there is no command `pip`"), "{told}");
}

#[test]
fn help_shows_examples() {
    for command in ["run", "check", "publish", "pipe", "tail", "channels", "completions", "man"] {
        let (code, out, _) = run(&mut outboard(&[command, "--help"]));

        assert_eq!(code, 0);
        assert!(out.contains("Examples:\n"), "{command}");
    }
}

#[test]
fn a_check_says_what_a_configuration_will_do() {
    let site = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", site.local_addr().unwrap());
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("outboard.toml");
    std::fs::write(
        &file,
        r#"
        listen = ["127.0.0.1:0"]
        [publish]
        socket = "/tmp/publish.sock"
        group = "www-data"
        [[channel]]
        match = "ticker.*"
        keep = "latest"
        max_rate = "5/s"
        [[event_route]]
        path = "/events"
        channels = ["{query.stream}"]
        auth = "none"
        [[event_route]]
        path = "/rooms/{room}"
        channels = ["room-{path.room}", "all"]
        auth = "/may-listen.cgi?room={path.room}"
        "#,
    )
    .unwrap();

    let (code, out, told) = run(&mut outboard(&["check", "--config", file.to_str().unwrap(), "--to", &url]));

    assert_eq!((code, told.as_str()), (0, ""));
    assert_eq!(
        out.replace(&url, "http://SITE"),
        "\
listen    http://127.0.0.1:0
backend   http://SITE, which can be reached
clients   their addresses reach the site in X-Forwarded-For; REMOTE_ADDR is 127.0.0.1 for all
          note: to have them in REMOTE_ADDR again, write for Apache (mod_remoteip): RemoteIPHeader X-Forwarded-For,
                RemoteIPInternalProxy 127.0.0.1; for nginx: set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
                for PHP: $_SERVER['HTTP_X_FORWARDED_FOR'], whose last addresses are those of your own proxies
          note: `Require local`, `Allow from 127.0.0.1` and the like at the site let everybody in, for everybody
                comes from here: write such rules for the addresses above, or for a password
          whoever says for whom it speaks is not believed; if a proxy of yours stands in front, write
                trusted_proxies = [\"127.0.0.1\"], or what its address is, in [proxy]: else the site hears http, and
                the proxy's address, for everybody
publish   /tmp/publish.sock, mode 0660, group www-data, events up to 256 KiB
history   in memory; of each channel 1000 events, 1h, 4 MiB; 256 MiB in all
stream    a comment after 15s of silence, retry after 3s, 20000 at most
log       standard error, info and worse
admin     off
channel   ticker.*: the newest event only, at most one each 200ms to a subscriber
route     /events -> {query.stream}; everybody may listen
          note: on this route everybody may listen to every channel whose name they know
route     /rooms/{room} -> room-{path.room}, all; /may-listen.cgi?room={path.room} says who may listen
          note: its answer names in `Outboard-Channel` which of the wished channels this client may hear
"
    );
}

#[test]
fn a_check_tells_of_a_site_that_is_not_there() {
    let (code, out, _) = run(&mut outboard(&[
        "check",
        "--to",
        "unix:/nowhere/app.sock",
        "--socket",
        "/tmp/p.sock",
        "--listen",
        "127.0.0.1:0",
    ]));

    assert_eq!(code, 0);
    assert!(
        out.contains("backend   unix:/nowhere/app.sock\n          note: cannot connect to backend"),
        "{out}"
    );
}
