//! A legacy site behind `outboard`: Apache with `mod_cgid` and scripts in sh, Perl, Tcl, PHP and
//! Python, spoken to byte by byte.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::{Apache, Outboard, PhpFpm, Reply, Request};

/// The site and an `outboard` in front of it.
struct Legacy {
    outboard: Outboard,
    apache: Apache,
}

impl Legacy {
    fn start() -> Self {
        Self::with_config("")
    }

    fn with_config(toml: &str) -> Self {
        let outboard = Outboard::prepare().with_config(toml);
        let apache = Apache::with_site(&outboard.socket());
        Self { outboard: outboard.in_front_of(&apache).start(), apache }
    }

    /// A pipe named `go` beside the scripts: some of them wait for a line in it.
    fn gate(&self) -> Gate {
        let path = self.apache.www().join("go");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        Gate(path)
    }
}

/// Holds a script back until the test has seen what it wanted to see.
struct Gate(PathBuf);

impl Gate {
    fn open(self) {
        fs::write(self.0, "go\n").unwrap();
    }
}

fn post(path: &str, body: &str) -> Request {
    Request::new("POST", path, "HTTP/1.1").header("Connection", "close").body(body)
}

// ---- ordinary requests ----------------------------------------------------------------------

#[test]
fn pages_and_scripts_answer_as_they_did_without_outboard() {
    let site = Legacy::start();

    for path in ["/index.html", "/hello.tcl?a=b%20c&d", "/hello.php?x=%C3%A9"] {
        let direct = Request::get(path).header("Connection", "close").send(&site.apache.address());
        let through = site.outboard.get(path);

        assert_eq!((through.status, through.text()), (direct.status, direct.text()), "{path}");
        assert_eq!(through.headers.get("content-type"), direct.headers.get("content-type"), "{path}");
        assert_eq!(through.headers.get("etag"), direct.headers.get("etag"), "{path}");
        assert_eq!(through.headers.get("last-modified"), direct.headers.get("last-modified"), "{path}");
    }
}

#[test]
fn a_script_sees_the_client_s_request() {
    let site = Legacy::start();

    let answer = site.outboard.send(&Request::get("/hello.sh?q=%2F..%2F").header("Host", "www.example.org"));

    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers.get("set-cookie"), Some("seen=yes; path=/"));
    let text = answer.text();
    assert!(text.contains("method=GET\nquery=q=%2F..%2F\nhost=www.example.org\n"), "{text}");
    assert!(text.contains("for=127.0.0.1\nproto=http\n"), "{text}");
    assert!(text.contains(&format!("outboard={}\n", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn a_form_arrives_whole_and_the_answer_comes_back_whole() {
    let site = Legacy::start();
    let form: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();

    let answer = site.outboard.send(&Request::new("POST", "/hello.pl", "HTTP/1.1").body(form.clone()));

    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers.get("x-length"), Some("3145728"));
    assert!(answer.body == form, "the body was changed on its way");
}

#[test]
fn not_modified_not_found_and_head_pass_through() {
    let site = Legacy::start();
    let etag = site.outboard.get("/index.html").headers.get("etag").unwrap().to_owned();

    let unchanged = site.outboard.send(&Request::get("/index.html").header("If-None-Match", &etag));
    let missing = site.outboard.get("/no-such-page.html");
    let head = site.outboard.send(&Request::new("HEAD", "/index.html", "HTTP/1.1"));

    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("Not Found"), "{}", missing.text());
    let length = fs::metadata(site.apache.www().join("index.html")).unwrap().len().to_string();
    assert_eq!(head.headers.get("content-length"), Some(length.as_str()));
}

// ---- every language hands over and publishes ------------------------------------------------

/// Hands a client over with `watch.LANGUAGE`, publishes with `publish.LANGUAGE`, and reads it.
fn hands_over_and_publishes(site: &Legacy, language: &str) {
    let mut stream = site.outboard.subscribe(&format!("/watch.{language}"));
    assert_eq!(stream.status(), 200, "{}", site.apache.log());
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.header("outboard-channel"), None, "the client sees nothing of the handoff");

    let data = "50 percent\n\n你好, second part\n data: not a field";
    let answer = site.outboard.send(&post(&format!("/publish.{language}"), data));

    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), site.apache.log());
    let reply = Reply::parse(answer.text().trim_end());
    assert_eq!((reply.receivers, reply.level.as_str()), (1, "accepted"));
    let event = stream.next();
    assert_eq!((event.data.as_str(), event.id), (data, reply.id));
}

#[test]
fn sh_hands_over_and_publishes() {
    hands_over_and_publishes(&Legacy::start(), "sh");
}

#[test]
fn perl_hands_over_and_publishes() {
    hands_over_and_publishes(&Legacy::start(), "pl");
}

#[test]
fn tcl_hands_over_and_publishes() {
    hands_over_and_publishes(&Legacy::start(), "tcl");
}

#[test]
fn php_hands_over_and_publishes() {
    hands_over_and_publishes(&Legacy::start(), "php");
}

#[test]
fn python_hands_over_and_publishes() {
    hands_over_and_publishes(&Legacy::start(), "py");
}

#[test]
fn php_fpm_hands_over_and_publishes() {
    let php = PhpFpm::start();
    let outboard = Outboard::prepare();
    let apache = Apache::with_site_and(&outboard.socket(), &php.apache_lines());
    let outboard = outboard.in_front_of(&apache).start();

    hands_over_and_publishes(&Legacy { outboard, apache }, "php");
}

// ---- the field reports ----------------------------------------------------------------------

#[test]
fn r0_everybody_hears_the_voice_from_the_background() {
    let site = Legacy::start();
    let mut readers = [site.outboard.subscribe("/timer-sse.tcl"), site.outboard.subscribe("/timer-sse.tcl")];
    for reader in &mut readers {
        // The stray apostrophe in the script's `X-Accel-Buffering'` no longer matters.
        assert_eq!(reader.header("x-accel-buffering"), Some("no"));
        assert_eq!(reader.data(), "Hi There!");
        assert_eq!(reader.data(), "Start time is: 12:00");
    }

    for now in ["12:05", "12:10"] {
        let reply = Reply::parse(site.outboard.get(&format!("/tick.tcl?{now}")).text().trim_end());
        assert_eq!(reply.receivers, 2);

        for reader in &mut readers {
            assert_eq!(reader.data(), format!("A voice from the background says: it is now {now}!"));
        }
    }
}

#[test]
fn r1_a_job_reports_to_the_page_that_started_it_and_ends_for_good() {
    let site = Legacy::start();
    let gate = site.gate();
    let page = site.outboard.get("/job.sh").text();
    let session = page.split('"').find(|part| part.starts_with("?session_id=")).unwrap();
    let source = format!("/job.sh{session}");

    let mut stream = site.outboard.subscribe(&source);
    assert_eq!(stream.data(), "<li>finish 1: ... (Gustaf)</li>");
    assert_eq!(stream.data(), "<li>finish 2: ...\n(over two lines)</li>");
    gate.open();
    assert_eq!(stream.data(), "<li>finish 3: ... (完成)</li>");
    let last = stream.next();
    assert_eq!(last.data, "<li>finish 4: ...</li>");
    assert_eq!(stream.next_or_end(), None, "the job is over, and so is its stream");

    let again = site.outboard.resume(&source, &last.id);
    assert_eq!(again.status(), 204, "which makes an EventSource stop");
}

#[test]
fn r2_a_number_grows_ten_times_on_the_stream_the_client_named() {
    let site = Legacy::with_config(
        "[[event_route]]\npath = \"/events\"\nchannels = [\"{query.stream}\"]\nauth = \"none\"\nreplay = \"live\"\n",
    );
    let mut stream = site.outboard.subscribe("/events?stream=messages");

    for number in 0..10 {
        site.outboard.publish("other", "not for this stream");
        site.outboard.publish("messages", &number.to_string());
        assert_eq!(stream.data(), number.to_string());
    }
}

#[test]
fn r3_a_stream_the_script_writes_itself_arrives_as_it_is_written() {
    let site = Legacy::start();
    let gate = site.gate();
    assert!(site.outboard.get("/find_fix_tables.pl").text().contains("Find and fix tables"));

    let mut stream = site.outboard.subscribe("/find_fix_tables.pl?action=test_progress");
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-store, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    // The script goes no further until the gate opens: this is the first step, not all of them.
    assert_eq!(stream.data(), "1 ");
    gate.open();
    for number in 2..=100 {
        assert_eq!(stream.data(), format!("{number} "));
    }
    assert_eq!(stream.next_or_end(), None);

    let written: String = (1..=100).map(|i| format!("data: {i} \n\n")).collect();
    assert_eq!(stream.text(), written + "Status: 415 OK", "every byte, and no others");
}

#[test]
fn r4_a_template_that_ends_is_run_again_for_the_browser_that_comes_back() {
    let site = Legacy::start();

    let mut stream = site.outboard.subscribe("/outputMessages.py");
    let events = stream.rest();
    let mut again = site.outboard.resume("/outputMessages.py", "17");
    again.rest();

    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(events.len(), 5);
    assert_eq!(events[4].data, "10:00:05 你好 \nEnd of this message ");
    assert_eq!(again.comments(), [" came with 17"], "the script hears where the client was");
}

#[test]
fn r4_a_message_for_one_user_reaches_nobody_else_and_logout_ends_the_stream() {
    let site = Legacy::start();
    let open = |user: &str| {
        let request = Request::get("/inbox.php").header("Accept", "text/event-stream");
        site.outboard.open(&request.header("Cookie", &format!("user={user}"))).into_stream()
    };
    let (mut alice, mut bob) = (open("alice"), open("bob"));
    assert_eq!(site.outboard.get("/inbox.php").status, 403, "who is nobody gets nothing");

    assert_eq!(site.outboard.publish("user-alice", "for your eyes").receivers, 1);
    assert_eq!(site.outboard.publish("user-bob", "hello bob").receivers, 1);
    assert_eq!(alice.data(), "for your eyes");
    assert_eq!(bob.data(), "hello bob");

    site.outboard.frames("disconnect: alice\n\n");
    assert_eq!(alice.next_or_end(), None);
    site.outboard.publish("user-bob", "still there?");
    assert_eq!(bob.data(), "still there?");
}

#[test]
fn an_event_route_asks_the_legacy_script_who_may_listen() {
    let site = Legacy::with_config(
        "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen.sh\"\n",
    );
    let request = Request::get("/news").header("Accept", "text/event-stream");

    let stranger = site.outboard.open(&request);
    let mut alice = site.outboard.open(&request.header("Cookie", "user=alice")).into_stream();

    assert_eq!(stranger.status, 403);
    assert_eq!(site.outboard.publish("news", "extra").receivers, 1);
    assert_eq!(alice.data(), "extra");
}

#[test]
fn n5_the_scripts_of_three_languages_name_what_a_client_may_hear_and_nothing_else() {
    for script in ["may-listen.sh", "may-listen.php", "may-listen.pl"] {
        let site = Legacy::with_config(&format!(
            "[[event_route]]\npath = \"/events\"\nchannels = [\"{{query.stream}}\"]\nauth = \"/{script}\"\n"
        ));
        let open = |streams: &str, cookie: &str| {
            let request = Request::get(&format!("/events?{streams}")).header("Cookie", cookie);
            site.outboard.open(&request.header("Accept", "text/event-stream"))
        };

        let _joint = open("stream=user-bob&stream=user-alice&stream=news", "x=1; user=bob").into_stream();

        let receivers =
            ["user-bob", "news", "user-alice"].map(|channel| site.outboard.publish(channel, "x").receivers);
        assert_eq!(receivers, [1, 1, 0], "{script}");
        for (streams, cookie) in
            [("stream=user-alice", "user=bob"), ("stream=news", "user=eve"), ("stream=news", "")]
        {
            assert_eq!(open(streams, cookie).into_response().status, 403, "{script} {streams} {cookie}");
        }
    }
}

/// A site with the shipped script as its `auth`, and the sessions of anna and joe.
fn guarded_by(script: &str) -> Legacy {
    let builder = Outboard::prepare().with_config(&format!(
        "[[event_route]]\npath = \"/events\"\nchannels = [\"{{query.stream}}\"]\nauth = \"/guard/{script}\"\n"
    ));
    let env =
        "LoadModule env_module /usr/lib/apache2/modules/mod_env.so\nSetEnv SESSIONS {folder}/www/sessions\n";
    let apache = Apache::with_site_and(&builder.socket(), env);
    let (guard, sessions) = (apache.www().join("guard"), apache.www().join("sessions"));
    for folder in [&guard, &sessions] {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let shipped = support::folder::repository().join("deploy/auth").join(script);
    support::folder::write_script(&guard, script, &fs::read_to_string(shipped).unwrap());
    let ini = format!("session.save_path = {}\nsession.name = session\n", sessions.display());
    support::folder::write(&guard, ".user.ini", &ini);
    for (user, session) in [("anna", "annaannaannaanna"), ("joe", "joejoejoejoejoejoe")] {
        support::folder::write(&sessions, session, &format!("{user}\n"));
        let kept = format!("user|s:{}:\"{user}\";", user.len());
        let path = support::folder::write(&sessions, &format!("sess_{session}"), &kept);
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }
    Legacy { outboard: builder.in_front_of(&apache).start(), apache }
}

#[test]
fn n5_with_each_shipped_script_joe_s_cookie_never_reads_anna_s_channel() {
    const ANNA: &str = "session=annaannaannaanna";
    const JOE: &str = "theme=dark; session=joejoejoejoejoejoe";
    for script in ["may-listen.sh", "may-listen.php", "may-listen.pl"] {
        let site = guarded_by(script);
        let open = |streams: &str, cookie: &str| {
            let request = Request::get(&format!("/events?{streams}")).header("Cookie", cookie);
            site.outboard.open(&request.header("Accept", "text/event-stream"))
        };

        let mut anna = open("stream=user-anna&stream=news", ANNA).into_stream();
        let mut joe = open("stream=user-anna&stream=user-joe&stream=news", JOE).into_stream();

        assert_eq!(site.outboard.publish("user-anna", "for anna").receivers, 1, "{script}");
        assert_eq!(site.outboard.publish("user-joe", "for joe").receivers, 1, "{script}");
        assert_eq!(site.outboard.publish("news", "for both").receivers, 2, "{script}");
        assert_eq!([anna.data(), anna.data()], ["for anna", "for both"], "{script}");
        assert_eq!([joe.data(), joe.data()], ["for joe", "for both"], "{script}");
        for (streams, cookie, status) in [
            ("stream=user-anna", JOE, 403),
            ("stream=user-anna%2Cuser-joe", JOE, 400),
            ("stream=*", JOE, 403),
            ("stream=USER-ANNA", JOE, 403),
            ("stream=user-%61nna", JOE, 403),
            ("stream=user-anna", "", 401),
            ("stream=user-anna", "session=joejoejoejoejoejoe; user=anna", 403),
            ("stream=user-anna", "session=../sessions/annaannaannaanna", 401),
        ] {
            let answer = open(streams, cookie).into_response();
            assert_eq!(answer.status, status, "{script} {streams} {cookie}: {}", answer.text());
        }
        assert_eq!(site.outboard.publish("user-anna", "more").receivers, 1, "{script}");
    }
}

#[test]
fn a_client_that_leaves_a_passed_through_stream_frees_the_script() {
    let site = Legacy::start();
    let gate = site.gate();
    let mut stream = site.outboard.subscribe("/find_fix_tables.pl?action=test_progress");
    stream.data();

    drop(stream);
    gate.open();

    // Apache serves on: with one process and its threads all held, this would not answer.
    for _ in 0..30 {
        assert_eq!(site.outboard.get("/hello.sh").status, 200);
    }
    assert!(Path::new(&site.apache.www()).exists());
}
