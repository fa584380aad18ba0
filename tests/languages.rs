//! The README's lines for publishing and for handing over, run as they stand there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::folder::{self, SOCKET};
use support::{Apache, Backend, Outboard, Reply, Request, readme};

const AWKWARD: &str =
    "50\n\n你好: \"quoted\" \\n $HOME %s\n: not a comment\r\rchannel: victim\rdata: INJECTED\r\nclose:";
/// The same as a page reads it: each kind of line end is one.
const AS_READ: &str =
    "50\n\n你好: \"quoted\" \\n $HOME %s\n: not a comment\n\nchannel: victim\ndata: INJECTED\nclose:";

/// What a language's page is made of.
struct Language {
    name: &'static str,
    file: &'static str,
    opening: &'static str,
    /// Publishes `DATA` of the environment to `CHANNEL`, prints the reply, and goes on with its page.
    page: &'static str,
    program: &'static [&'static str],
}

const SH: Language = Language {
    name: "sh",
    file: "publish.sh",
    opening: "",
    page: "outboard_publish \"$CHANNEL\" \"$DATA\" 'event: done' 'close:'\necho 'the page lives'\n",
    program: &["sh"],
};
const PERL: Language = Language {
    name: "perl",
    file: "publish.pl",
    opening: "use strict; use warnings;\n",
    page: "print outboard_publish($ENV{CHANNEL}, $ENV{DATA}, 'event: done', 'close:') // '', \"the page lives\\n\";\n",
    program: &["perl"],
};
const PHP: Language = Language {
    name: "php",
    file: "publish.php",
    opening: "<?php\n",
    page: "echo outboard_publish(getenv('CHANNEL'), getenv('DATA'), array('event: done', 'close:')), \"the page lives\\n\";\n",
    // Its error log is standard error here, as it is a server's.
    program: &["php", "-n", "-d", "display_errors=stderr"],
};
const PYTHON: Language = Language {
    name: "python",
    file: "publish.py",
    opening: "",
    page: "import os\nreply = outboard_publish(os.environ['CHANNEL'], os.environ['DATA'], 'event: done', 'close:')\n\
           print(reply or '', end='')\nprint('the page lives')\n",
    program: &["/usr/bin/python3"],
};
const TCL: Language = Language {
    name: "tcl",
    file: "publish.tcl",
    opening: "",
    page: "encoding system utf-8\nputs [outboard_publish $::env(CHANNEL) $::env(DATA) {event: done} close:]\n\
           puts {the page lives}\n",
    program: &["tclsh"],
};

/// What a page came to.
struct Page {
    reply: String,
    told: String,
    took: Duration,
}

impl Language {
    /// Runs the README's lines in a page that publishes `data`; the page always lives.
    fn publish(&self, socket: &Path, channel: &str, data: &OsStr) -> Page {
        let code = readme::snippet(self.name);
        assert!(code.lines().count() <= 24, "{} takes {} lines", self.name, code.lines().count());
        let folder = tempfile::tempdir().unwrap();
        let script = format!("{}{code}{}", self.opening, self.page).replace(SOCKET, socket.to_str().unwrap());
        let script = folder::write(folder.path(), self.file, &script);
        let begun = Instant::now();
        let done = Command::new(self.program[0])
            .args(&self.program[1..])
            .arg(script)
            .env("CHANNEL", channel)
            .env("DATA", data)
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run {:?}: {error}; `tests/run` installs it", self.program)
            });
        let took = begun.elapsed();
        let (out, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let reply = out.strip_suffix("the page lives\n");
        let reply = reply.unwrap_or_else(|| panic!("{} ended its page: {out}{told}", self.name));
        assert!(done.status.success(), "{}: {told}", self.name);
        Page { reply: reply.trim_end().into(), told: told.into_owned(), took }
    }

    fn publishes(&self) {
        let name = self.name;
        let backend = Backend::greeting();
        let outboard = Outboard::behind(&backend).start();
        let socket = outboard.socket();

        let page = self.publish(&socket, "job-42", AWKWARD.as_ref());
        let latin_1 = OsStr::from_bytes(b"M\xfcller");
        let umlauts = ["Müller".as_ref(), latin_1].map(|data| self.publish(&socket, "umlauts", data).told);

        let reply = Reply::parse(&page.reply);
        assert_eq!((reply.receivers, reply.level.as_str(), reply.duplicate), (0, "accepted", false));
        assert_eq!(kept(&outboard, "job-42"), [AS_READ], "{name}");
        assert_eq!(umlauts, ["", ""], "{name}");
        assert_eq!(kept(&outboard, "umlauts"), ["Müller", "Müller"], "{name}");
        let channels = Request::get("/channels").send_to_socket(&outboard.socket());
        let channels = String::from_utf8_lossy(&channels.body).into_owned();
        assert!(!channels.contains("victim"), "{name} lets data pose as a field");
        assert!(channels.contains("\"closed\":true"), "{name} leaves further fields out: {channels}");

        // Reading the reply is what makes a refusal visible: a name with a space is refused.
        let refused = self.publish(&socket, "not a name", AWKWARD.as_ref());
        assert_eq!(refused.reply, "", "{name} takes a refusal for success");
        assert!(refused.told.contains("bad-channel"), "{name} does not pass the reason on: {}", refused.told);
    }

    /// An outboard that is not there, or stands still, costs a page no more than a moment.
    fn survives(&self) {
        let backend = Backend::greeting();
        let outboard = Outboard::behind(&backend).start();
        let nowhere = outboard.folder().join("nowhere.sock");
        // More than a socket takes that nobody reads from would be longer than a variable may be.
        let long = "x".repeat(120_000);

        outboard.process().signal(Signal::STOP);
        let stopped = self.publish(&outboard.socket(), "job-42", long.as_ref());
        outboard.process().signal(Signal::CONT);
        let absent = self.publish(&nowhere, "job-42", "50".as_ref());

        for page in [stopped, absent] {
            assert_eq!(page.reply, "", "{}", self.name);
            assert!(page.told.contains("outboard: "), "{} says nothing: {}", self.name, page.told);
            assert!(page.took < Duration::from_secs(6), "{} took {:?}", self.name, page.took);
        }
    }
}

/// The data of every event the channel keeps.
fn kept(outboard: &Outboard, channel: &str) -> Vec<String> {
    let answer = Request::get(&format!("/channels/{channel}/events")).send_to_socket(&outboard.socket());
    let events: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sh_publishes_as_the_readme_says() {
    SH.publishes();
}

#[test]
fn perl_publishes_as_the_readme_says() {
    PERL.publishes();
}

#[test]
fn php_publishes_as_the_readme_says() {
    assert!(
        !readme::snippet("php").contains("<?php"),
        "the README's lines go into a script that is already PHP"
    );
    PHP.publishes();
}

#[test]
fn python_publishes_as_the_readme_says() {
    PYTHON.publishes();
}

#[test]
fn tcl_publishes_as_the_readme_says() {
    TCL.publishes();
}

#[test]
fn the_readmes_lines_for_apache_tell_the_site_who_asks() {
    let block = readme::blocks().into_iter().find(|block| block.language == "apache");
    let lines = block.expect("the README shows Apache's lines").code;
    let modules: String = ["remoteip", "setenvif", "authz_host"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let private = "<Files private.cgi>\nRequire local\n</Files>\n";
    let outboard = Outboard::prepare().with_config("[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let apache = Apache::with_site_and(&outboard.socket(), &format!("{modules}{lines}{private}"));
    for name in ["who.cgi", "private.cgi"] {
        let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s' \"$REMOTE_ADDR\" \"$HTTPS\"\n";
        let path = folder::write(&apache.www(), name, script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let outboard = outboard.in_front_of(&apache).start();
    let ask = |path: &str| {
        let request = Request::get(path).header("X-Forwarded-For", "203.0.113.7");
        outboard.send(&request.header("X-Forwarded-Proto", "https"))
    };

    assert_eq!(ask("/who.cgi").text(), "203.0.113.7 on");
    assert_eq!(ask("/private.cgi").status, 403);
    assert_eq!(outboard.get("/private.cgi").status, 200);
}

/// The shipped scripts for `auth`, each as its server runs it, with the session `0123456789abcdef` of anna.
#[test]
fn the_scripts_for_auth_name_only_channels_that_the_client_may_hear() {
    let sessions = tempfile::tempdir().unwrap();
    folder::write(sessions.path(), "0123456789abcdef", "anna\n");
    folder::write(sessions.path(), "sess_0123456789abcdef", "user|s:4:\"anna\";");
    let save_path = format!("session.save_path={}", sessions.path().display());
    let php = ["php-cgi", "-d", &save_path, "-d", "session.name=session", "-d", "cgi.force_redirect=0"];
    let programs: [(&str, &[&str]); 3] =
        [("may-listen.sh", &["sh"]), ("may-listen.pl", &["perl"]), ("may-listen.php", &php)];
    let session = "session=0123456789abcdef";

    for (file, program) in programs {
        let script = folder::repository().join("deploy/auth").join(file);
        let ask = |cookie: &str, wished: &str| {
            let done = Command::new(program[0])
                .args(&program[1..])
                .arg(&script)
                .env("SESSIONS", sessions.path())
                .env("HTTP_COOKIE", cookie)
                .env("HTTP_OUTBOARD_CHANNEL", wished)
                .env("SCRIPT_FILENAME", &script)
                .env("REQUEST_METHOD", "GET")
                .output()
                .unwrap_or_else(|error| panic!("cannot run {program:?}: {error}; `tests/run` installs it"));
            String::from_utf8(done.stdout).unwrap().replace("\r\n", "\n")
        };

        let anna = ask(&format!("theme=dark; {session}"), "news, user-anna, user-ben, *");
        assert!(anna.starts_with("Status: 204") || anna.contains("\nStatus: 204"), "{file}: {anna}");
        assert!(anna.contains("Outboard-Channel: news, user-anna\n"), "{file}: {anna}");
        assert!(anna.contains("Outboard-Subject: anna\n"), "{file}: {anna}");
        for (cookie, wished, status) in [
            ("", "news", "401"),
            ("session=../0123456789abcdef", "news", "401"),
            (session, "user-ben", "403"),
            (session, "", "403"),
        ] {
            let answer = ask(cookie, wished);
            assert!(answer.contains(&format!("Status: {status}")), "{file}, {cookie}, {wished}: {answer}");
            assert!(!answer.contains("Outboard-Channel"), "{file}, {cookie}, {wished}: {answer}");
        }
    }
}

/// The lines of the demo's pages, as their readers copy them.
#[test]
fn the_demo_shows_the_functions_of_the_readme() {
    for (page, languages) in
        [("htdocs/progress.html", &["perl", "php"][..]), ("cgi-bin/same-url.html", &["tcl"])]
    {
        let html = std::fs::read_to_string(folder::repository().join("deploy/demo").join(page)).unwrap();
        let shown = html.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        for language in languages {
            assert!(
                shown.contains(readme::snippet(language).trim()),
                "{page} has another function for {language}"
            );
        }
    }
}

#[test]
fn no_page_fails_or_waits_because_outboard_is_absent_or_stands_still() {
    for language in [SH, PERL, PHP, PYTHON, TCL] {
        language.survives();
    }
}

/// No free CFML engine is packaged; the README's template is shown, and what its `cfhttp` sends is
/// sent here by curl, to where it would send it.
#[test]
fn what_cfml_sends_is_published() {
    let code = readme::snippet("cfml");
    assert!(code.contains("timeout=\"2\"") && code.contains("charset=utf-8"), "{code}");
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
