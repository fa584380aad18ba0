//! `outboard demo`, lived through over HTTP: each scene of its site, with netcat and without, and
//! an end that leaves nothing behind.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken fixture is a failed test, and the panic shows its log"
)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use support::process::Process;
use support::sse::Event;
use support::{Request, Response, Stream};
use tempfile::TempDir;

/// What the scripts use, besides netcat.
const TOOLS: [&str; 12] =
    ["awk", "cat", "date", "dd", "head", "nohup", "od", "rm", "sed", "sh", "sleep", "tr"];

/// A running demo, with a place of its own for temporary files.
struct Demo {
    process: Process,
    address: String,
    folder: TempDir,
    /// The only programs that scripts find, if it is not the whole machine.
    _tools: Option<TempDir>,
}

impl Demo {
    fn start() -> Self {
        Self::with_tools(None)
    }

    /// A demo on a machine that has what scripts usually need, and no netcat.
    fn without_netcat() -> Self {
        let tools = tempfile::tempdir().unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for tool in TOOLS {
            let place = std::env::split_paths(&path)
                .map(|folder| folder.join(tool))
                .find(|place| place.is_file())
                .unwrap_or_else(|| panic!("{tool} is not installed"));
            symlink(place, tools.path().join(tool)).unwrap();
        }
        Self::with_tools(Some(tools))
    }

    fn with_tools(tools: Option<TempDir>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", folder.path());
        if let Some(tools) = &tools {
            command.env("PATH", tools.path());
        }
        let process = Process::start("outboard demo", &mut command);
        let address = process.wait_for("where to look", |line| {
            let (_, rest) = line.split_once("http://")?;
            rest.split('/').next().map(str::to_owned)
        });
        Self { process, address, folder, _tools: tools }
    }

    fn get(&self, path: &str) -> Response {
        Request::get(path).send(&self.address)
    }

    fn post(&self, path: &str, form: &str, cookie: &str) -> Response {
        Request::new("POST", path, "HTTP/1.1")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Cookie", cookie)
            .body(form)
            .send(&self.address)
    }

    fn listen(&self, path: &str) -> Stream {
        self.listen_with(path, &[])
    }

    fn listen_with(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let request = Request::get(path).header("Accept", "text/event-stream");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let stream = request.open(&self.address).into_stream();
        assert_eq!(stream.status(), 200, "{path}");
        stream
    }

    /// Starts the job of a scene; its number.
    fn job(&self, scene: &str) -> String {
        let started = self.post(&format!("/cgi-bin/{scene}.cgi"), "", "");
        assert_eq!(started.status, 200, "{}", started.text());
        started.text().trim().to_owned()
    }

    /// Logs `user` in; the cookie.
    fn log_in(&self, user: &str) -> String {
        let answer = self.post("/cgi-bin/login.cgi", &format!("user={user}"), "");
        assert_eq!(answer.text(), format!("{user}\n"));
        let cookie = answer.headers.get("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Where the running demo has its files.
    fn home(&self) -> PathBuf {
        let mut homes = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        homes.find(|path| path.to_string_lossy().contains("outboard-demo-")).unwrap()
    }

    /// Ends it as Ctrl-C does, and waits for that.
    fn end(&mut self) {
        self.process.signal(Signal::INT);
        let status = self.process.wait();
        assert!(status.success(), "{status}\n{}", self.process.log());
    }
}

/// Reads to the end of a closed channel, and shows that the next visit would be the last.
fn rest_and_end(demo: &Demo, path: &str, stream: &mut Stream) -> Vec<Event> {
    let events = stream.rest();
    let last = events.last().unwrap().id.clone();
    let again = Request::get(path)
        .header("Accept", "text/event-stream")
        .header("Last-Event-ID", &last)
        .send(&demo.address);
    assert_eq!(again.status, 204, "whoever has seen all of a closed channel is told to stay away");
    events
}

fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}

#[test]
fn every_page_is_there_with_all_that_it_needs() {
    let demo = Demo::start();
    let mut seen = Vec::new();
    let mut waiting = vec!["/".to_owned()];

    while let Some(path) = waiting.pop() {
        if seen.contains(&path) {
            continue;
        }
        let page = demo.get(&path);
        assert_eq!(page.status, 200, "{path}");
        if page.headers.get("content-type").unwrap().starts_with("text/html") {
            for attribute in ["href=\"", "src=\""] {
                waiting.extend(page.text().split(attribute).skip(1).map(until_quote));
            }
            for files in page.text().split("data-files=\"").skip(1).map(until_quote) {
                let shown = files.split(',').filter(|file| *file != "second terminal");
                waiting.extend(shown.map(|file| format!("/cgi-bin/source.cgi?file={file}")));
            }
        }
        seen.push(path);
    }

    for path in ["/progress.html", "/log.html", "/ticker.html", "/messages.html", "/cgi-bin/same-url.cgi"] {
        assert!(seen.iter().any(|seen| seen == path), "{path} is linked: {seen:?}");
    }
    assert!(seen.iter().all(|path| path.starts_with('/')), "nothing comes from elsewhere: {seen:?}");
}

fn until_quote(text: &str) -> String {
    text.split('"').next().unwrap().to_owned()
}

#[test]
fn the_shown_files_are_those_that_run_and_nothing_else_can_be_read() {
    let demo = Demo::start();

    let shown = demo.get("/cgi-bin/source.cgi?file=progress-job.sh");
    assert_eq!(shown.body, fs::read(demo.home().join("cgi-bin/progress-job.sh")).unwrap());
    assert_eq!(shown.headers.get("content-type"), Some("text/plain; charset=utf-8"));

    for file in
        ["../outboard.toml", "..%2Foutboard.toml", "%2Fetc%2Fpasswd.sh", "x.sh", "", "a%00.sh", "*.sh"]
    {
        assert_eq!(demo.get(&format!("/cgi-bin/source.cgi?file={file}")).status, 404, "{file}");
    }
    for path in ["/cgi-bin/publish.sh", "/cgi-bin/", "/../outboard.toml", "/%2e%2e/outboard.toml", "/state"] {
        assert_ne!(demo.get(path).status, 200, "{path}");
    }
}

#[test]
fn a_job_tells_how_far_it_is_after_its_script_has_ended() {
    let demo = Demo::start();
    let path = format!("/cgi-bin/progress.cgi?job={}", demo.job("progress"));
    // The answer's end was the script's end, and the ticker and the job are what goes on.
    assert_eq!(demo.get("/server-status").text(), r#"{"jobs":2,"scripts":0}"#);

    let mut first = demo.listen(&path);
    while first.data() != "10" {}
    // A reload in the middle, or a second window.
    let mut second = demo.listen(&path);
    let begun: u32 = second.data().parse().unwrap();
    let rest = rest_and_end(&demo, &path, &mut second);

    assert!(begun >= 10, "the second window begins where the job is, not at {begun}");
    let expected: Vec<String> = (begun + 1..=100).map(|percent| percent.to_string()).collect();
    assert_eq!(data(&rest), expected);
    assert_eq!(rest.last().unwrap().name, "done");
    assert_eq!(data(&first.rest()).len(), 90);
}

#[test]
fn a_job_that_nobody_started_is_not_there() {
    let demo = Demo::start();

    for job in ["", "0123456789abcdef", "../../x", "x;id", "0123456789abcdeg"] {
        let path = format!("/cgi-bin/progress.cgi?job={job}");
        let answer = Request::get(&path).header("Accept", "text/event-stream").send(&demo.address);
        assert_eq!(answer.status, 404, "{job}");
    }
}

#[test]
fn a_log_arrives_line_by_line_in_every_writing() {
    let demo = Demo::start();
    let path = format!("/cgi-bin/log.cgi?job={}", demo.job("log"));
    let mut stream = demo.listen(&path);

    let events = rest_and_end(&demo, &path, &mut stream);

    let lines = data(&events);
    assert_eq!(lines[0], "reading customers.csv");
    assert!(lines.contains(&"row  3  你好，世界"), "{lines:?}");
    assert!(lines.contains(&"row  7  <script>alert(\"only text\")</script> & so is this"), "{lines:?}");
    assert!(lines.contains(&"row  9  data: looks like a field, and is none"), "{lines:?}");
    let report = events.last().unwrap();
    assert_eq!(report.name, "report");
    assert_eq!(report.data.lines().count(), 5, "{}", report.data);
    assert!(report.data.contains("\n客户 "), "{}", report.data);

    // Whoever comes when it is all over gets the same.
    assert_eq!(demo.listen(&path).rest(), events);
}

#[test]
fn the_ticker_counts_and_knows_who_listens() {
    let demo = Demo::start();
    let mut first = demo.listen("/events/ticker");
    let told = |stream: &mut Stream, listeners: &str| loop {
        let event = stream.next();
        if event.name == "listeners" && event.data == listeners {
            return;
        }
    };
    told(&mut first, "1");

    let mut second = demo.listen("/events/ticker");
    told(&mut first, "2");
    let mut number = || loop {
        let event = second.next();
        if event.name == "message" {
            return event.data.parse::<u64>().unwrap();
        }
    };
    let numbers: Vec<u64> = (0..5).map(|_| number()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");

    drop(second);
    told(&mut first, "1");
}

#[test]
fn a_message_reaches_the_one_it_is_for() {
    one_user_writes_to_another(&Demo::start());
}

#[test]
fn without_netcat_the_command_does_it() {
    let demo = Demo::without_netcat();

    one_user_writes_to_another(&demo);
    let path = "/cgi-bin/same-url.cgi";
    the_steps_of_a_page(&demo, path);
}

fn one_user_writes_to_another(demo: &Demo) {
    let inbox = "/cgi-bin/inbox.cgi";
    for stranger in ["", "session=", "session=0123456789abcdef", "session=../anna", "user=anna"] {
        let answer = Request::get(inbox).header("Cookie", stranger).send(&demo.address);
        assert_eq!(answer.status, 403, "{stranger}");
    }
    let (anna, ben) = (demo.log_in("anna"), demo.log_in("ben"));
    let mut annas = demo.listen_with(inbox, &[("Cookie", &format!("a=b; {anna}"))]);
    let mut bens = demo.listen_with(inbox, &[("Cookie", &ben)]);

    // What is typed stays what it is: for the shell, for printf, and for the socket.
    let typed =
        "to=anna&text=%24(id)+%60id%60+%5Cn+%25s+%C2%B0%E4%BD%A0%0D%0Achannel%3A+user-ben%0Ddata%3A+%3Cb%3E";
    let reply = demo.post("/cgi-bin/send.cgi", typed, &ben);
    demo.post("/cgi-bin/send.cgi", "to=ben&text=for+Ben", &anna);

    assert_eq!(support::Reply::parse(reply.text().trim()).receivers, 1);
    let seen = annas.data().replace('\n', "|");
    // A carriage return is no way to write a line: with netcat it is dropped, else a line break.
    let expected = "ben|$(id) `id` \\n %s °你|channel: user-bendata: <b>";
    assert_eq!(seen.replace("user-ben|data:", "user-bendata:"), expected);
    assert_eq!(bens.data(), "anna\nfor Ben", "nothing else came to Ben");

    for (form, cookie, status) in [
        ("to=anna&text=x", "", 403),
        ("to=nobody&text=x", ben.as_str(), 400),
        ("to=anna%0Achannel:x&text=x", ben.as_str(), 400),
        ("to=anna&text=", ben.as_str(), 400),
    ] {
        assert_eq!(demo.post("/cgi-bin/send.cgi", form, cookie).status, status, "{form}");
    }
    assert_eq!(demo.post("/cgi-bin/send.cgi", &"x".repeat(9000), &ben).status, 413);

    demo.post("/cgi-bin/logout.cgi", "", &anna);
    assert_eq!(annas.rest(), [], "the stream ends with the session");
    assert_eq!(Request::get(inbox).header("Cookie", &anna).send(&demo.address).status, 403);
}

#[test]
fn what_nobody_has_read_waits_for_its_reader() {
    let demo = Demo::start();
    let ben = demo.log_in("ben");
    let reply = demo.post("/cgi-bin/send.cgi", "to=mei&text=%E5%9C%A8%E5%90%97", &ben);
    assert_eq!(support::Reply::parse(reply.text().trim()).receivers, 0);

    let mei = demo.log_in("mei");

    assert_eq!(demo.listen_with("/cgi-bin/inbox.cgi", &[("Cookie", &mei)]).data(), "ben\n在吗");
}

#[test]
fn page_and_events_have_the_same_url() {
    let demo = Demo::start();
    // By what the browser accepts, and by the query.
    the_steps_of_a_page(&demo, "/cgi-bin/same-url.cgi");

    let page = demo.get("/cgi-bin/same-url.cgi").text();
    let path = format!("/cgi-bin/same-url.cgi?events=1&session_id={}", session(&page));
    let stream = Request::get(&path).open(&demo.address).into_stream();
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
}

fn the_steps_of_a_page(demo: &Demo, path: &str) {
    let page = demo.get(path);
    assert_eq!(page.headers.get("content-type"), Some("text/html; charset=utf-8"));
    let path = format!("{path}?session_id={}", session(&page.text()));

    let mut stream = demo.listen(&path);
    let events = rest_and_end(demo, &path, &mut stream);

    let steps: Vec<_> = data(&events).iter().map(|text| text.split(':').next().unwrap()).collect();
    let expected = ["finish 1", "finish 2", "finish 3", "finish 4", "all steps are finished"];
    assert_eq!(steps, expected, "what came before the browser listened is not lost");
}

fn session(page: &str) -> String {
    until_quote(page.split("data-session=\"").nth(1).unwrap())
}

#[test]
fn the_end_leaves_nothing_behind() {
    let mut demo = Demo::start();
    let job = demo.job("progress");
    let mut stream = demo.listen(&format!("/cgi-bin/progress.cgi?job={job}"));
    stream.next();
    let home = demo.home();
    assert!(!processes_in(&home).is_empty());

    demo.end();

    assert!(demo.process.log().contains("ending the jobs"), "{}", demo.process.log());
    assert!(!home.exists());
    assert_eq!(processes_in(&home), Vec::<String>::new());
}

/// The processes that work in `folder`.
fn processes_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    processes
        .filter(|process| {
            // The folder may be gone already: the link then says so behind its name.
            let place = fs::read_link(process.join("cwd")).unwrap_or_default();
            place.to_string_lossy().starts_with(&*folder.to_string_lossy())
        })
        .map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default())
        .collect()
}

#[test]
fn a_taken_address_is_an_error_that_says_so() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_outboard"))
        .args(["demo", "--listen", &address])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("--listen"), "{said}");
    assert_eq!(said.matches("in use").count(), 1, "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}
