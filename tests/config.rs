//! The configuration: what is read, which layer wins, and how mistakes are shown.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

use std::path::PathBuf;
use std::time::Duration;

use outboard::broker::Keep;
use outboard::config::{Config, Flag, Sources, keys_of};
use outboard::listen::Entrance;
use outboard::proxy::Address;
use outboard::replay::Replay;
use outboard::route::Auth;
use tempfile::TempDir;

/// A configuration file, and what else it is read with.
struct Setup {
    folder: TempDir,
    sources: Sources,
}

impl Setup {
    fn file(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("outboard.toml");
        std::fs::write(&path, text).unwrap();
        let sources =
            Sources { file: Some(path), user_folder: Some(folder.path().into()), ..Sources::default() };
        Self { folder, sources }
    }

    fn no_file() -> Self {
        let mut setup = Self::file("");
        setup.sources.file = None;
        setup
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: Flag) -> Self {
        self.sources.flags.push(flag);
        self
    }

    fn config(&self) -> Config {
        self.sources.load().unwrap_or_else(|report| panic!("{report}"))
    }

    /// The report, with the temporary folder left out of its paths.
    fn report(&self) -> String {
        let report = self.sources.load().map(|_| ()).expect_err("this configuration is wrong");
        report.render(false).replace(&format!("{}/", self.folder.path().display()), "")
    }
}

const BACKEND: &str = "[backend]\nurl = \"http://127.0.0.1:8080\"\n";

#[test]
fn one_flag_is_all_that_is_needed() {
    let config = Setup::no_file().flag(Flag::to("http://127.0.0.1:8080")).config();

    assert_eq!(config.listen, [Entrance::Tcp("0.0.0.0:8000".parse().unwrap())]);
    assert_eq!(config.backend.address, Address::Tcp { host: "127.0.0.1".into(), port: 8080 });
    assert_eq!(config.publish.mode, 0o660);
    assert_eq!(config.publish.max_event_size, 256 << 10);
    assert_eq!(config.history.limits.max_events, 1000);
    assert_eq!(config.stream.keep_alive, Duration::from_secs(15));
    assert_eq!(config.limits.max_connections, 20_000);
    assert!(config.admin.is_none());
    assert!(config.routes.is_empty());
}

#[test]
fn every_table_can_be_set() {
    let config = Setup::file(
        r#"
        listen = ["127.0.0.1:8000", "[::1]:8000"]
        [backend]
        url = "unix:/run/app.sock"
        answer_timeout = "2m"
        [publish]
        socket = "/tmp/p.sock"
        mode = "0600"
        group = "www-data"
        max_event_size = "1KiB"
        [history]
        store = "memory"
        max_bytes = 65536
        [stream]
        slow = "skip"
        [admin]
        listen = "0.0.0.0:8001"
        token = "open-sesame"
        "#,
    )
    .config();

    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.backend.address, Address::Unix("/run/app.sock".into()));
    assert_eq!(config.backend.answer_timeout, Duration::from_secs(120));
    assert_eq!(config.publish.socket, PathBuf::from("/tmp/p.sock"));
    assert_eq!(config.publish.mode, 0o600);
    assert_eq!(config.publish.group.as_deref(), Some("www-data"));
    assert_eq!(config.history.limits.max_bytes, 65536);
    assert_eq!(config.stream.slow, outboard::subscribe::Slow::Skip);
    assert_eq!(config.admin.unwrap().token.as_deref(), Some("open-sesame"));
}

#[test]
fn a_channel_table_overrides_what_it_names() {
    let config = Setup::file(&format!(
        "{BACKEND}[history]\nmax_events = 50\n\
         [[channel]]\nmatch = \"ticker.*\"\nkeep = \"latest\"\nmax_rate = \"5/s\"\nmax_age = \"5m\"\n"
    ))
    .config();

    let [rule] = config.history.rules.as_slice() else { panic!("one rule") };
    assert!(rule.pattern.is_match("ticker.eur"));
    assert!(!rule.pattern.is_match("ticker.eur/usd"));
    assert_eq!(rule.keep, Keep::Latest);
    assert_eq!(rule.max_rate.unwrap().interval, Duration::from_millis(200));
    assert_eq!(rule.limits.max_events, 50);
    assert_eq!(rule.limits.max_age, Duration::from_secs(300));
}

#[test]
fn an_event_route_is_found_by_its_path() {
    let config = Setup::file(&format!(
        "{BACKEND}[[event_route]]\npath = \"/events/{{room}}\"\nchannels = [\"room-{{path.room}}\"]\n\
         auth = \"/may-listen.cgi?room={{path.room}}\"\nreplay = 10\nretry = \"1s\"\nsubject = \"{{cookie.session}}\"\n"
    ))
    .config();

    let found = config.routes.find("/events/7").unwrap();
    assert_eq!(found.route.replay, Replay::Newest(10));
    assert_eq!(found.route.retry, Some(Duration::from_secs(1)));
    assert!(
        matches!(&found.route.auth, Some(Auth::Backend(path)) if path.as_str() == "/may-listen.cgi?room={path.room}")
    );
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let setup = Setup::file(&format!("{BACKEND}[history]\nmax_events = 1\nmax_age = \"1s\"\n"))
        .variable("OUTBOARD__HISTORY__MAX_EVENTS", "2")
        .variable("OUTBOARD__BACKEND__URL", "http://127.0.0.1:2")
        .variable("OUTBOARD__LISTEN", "[\"127.0.0.1:1\", \"127.0.0.1:2\"]")
        .variable("OUTBOARD_SOCKET", "not a key")
        .flag(Flag::to("http://127.0.0.1:3"));

    let config = setup.config();

    assert_eq!(config.history.limits.max_events, 2);
    assert_eq!(config.history.limits.max_age, Duration::from_secs(1));
    assert_eq!(config.backend.address, Address::Tcp { host: "127.0.0.1".into(), port: 3 });
    assert_eq!(config.listen.len(), 2);
}

#[test]
fn a_variable_that_looks_like_a_number_can_be_text() {
    let config = Setup::file(BACKEND)
        .variable("OUTBOARD__ADMIN__LISTEN", "127.0.0.1:8001")
        .variable("OUTBOARD__ADMIN__TOKEN", "12345678")
        .variable("OUTBOARD__PUBLISH__MODE", "660")
        .variable("OUTBOARD__LISTEN", "127.0.0.1:9000")
        .config();

    assert_eq!(config.admin.unwrap().token.as_deref(), Some("12345678"));
    assert_eq!(config.publish.mode, 0o660);
    assert_eq!(config.listen, [Entrance::Tcp("127.0.0.1:9000".parse().unwrap())]);
}

#[test]
fn a_variable_can_set_whole_tables() {
    let config = Setup::file(BACKEND)
        .variable("OUTBOARD__EVENT_ROUTE", r#"[{ path = "/events", channels = "news", auth = "none" }]"#)
        .config();

    assert!(config.routes.find("/events").is_some());
}

#[test]
fn the_shipped_file_is_what_happens_without_it() {
    let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/outboard.toml"));
    let mut setup = Setup::no_file().flag(Flag::to("http://127.0.0.1:8080"));
    let without = setup.config();
    setup.sources.file = Some(shipped);
    setup.sources.flags.clear();

    let with = setup.config();

    assert_eq!(format!("{with:?}"), format!("{without:?}"));
}

#[test]
fn the_shipped_file_still_holds_when_its_comments_are_taken_off() {
    let text = include_str!("../config/outboard.toml");
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.contains(" = ") && !code.contains("  ") || code.starts_with('[') => code,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();

    let config = Setup::file(&uncommented.replace("at least 8 characters", "0123456789")).config();

    assert_eq!(config.routes.iter().count(), 1);
    assert_eq!(config.history.rules.len(), 1);
    assert!(config.admin.is_some());
}

#[test]
fn the_shipped_file_names_every_key() {
    let text = include_str!("../config/outboard.toml");
    let mut tables = keys_of("");
    tables.retain(|key| key != "listen");
    assert!(tables.len() >= 8, "{tables:?}");

    for table in tables {
        let header = format!("[{table}]");
        let section = text.split(&format!("\n{header}")).nth(1);
        let section = section.or_else(|| text.split(&format!("\n# {header}")).nth(1));
        let section = section.or_else(|| text.split(&format!("\n# [{header}]")).nth(1));
        let section = section.unwrap_or_else(|| panic!("{header} is missing"));
        let section = section.split("\n[").next().unwrap_or(section);
        for key in keys_of(&table) {
            let line = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(section.lines().any(line), "{table}.{key} is missing");
        }
    }
}

#[test]
fn clients_find_the_socket_in_a_configuration_that_would_not_start() {
    let setup = Setup::file("nonsense = 1\n[publish]\nsocket = \"/tmp/a.sock\"\n");

    assert_eq!(setup.sources.socket().unwrap(), Some("/tmp/a.sock".into()));

    let setup = setup.variable("OUTBOARD__PUBLISH__SOCKET", "/tmp/b.sock");
    assert_eq!(setup.sources.socket().unwrap(), Some("/tmp/b.sock".into()));
}

#[test]
fn without_a_backend_the_report_says_what_to_type() {
    assert_eq!(
        Setup::no_file().report(),
        r#"error: no backend is given: where does your site listen?
 |
 = help: outboard --to http://127.0.0.1:8080
         or, in the configuration file, [backend] with url = "http://127.0.0.1:8080"
         or, in the environment, OUTBOARD__BACKEND__URL=http://127.0.0.1:8080"#
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut setup = Setup::no_file();
    setup.sources.file = Some(setup.folder.path().join("other.toml"));

    assert_eq!(setup.report(), "error: cannot read other.toml: No such file or directory (os error 2)");
}

#[test]
fn mistakes_in_variables_and_flags_name_them() {
    let setup = Setup::no_file()
        .variable("OUTBOARD__HISTORY__STOR", "memory")
        .variable("OUTBOARD__HISTORY__MAX_AGE", "soon")
        .flag(Flag::to("ftp://example.com"));

    assert_eq!(
        setup.report(),
        r#"error: `backend.url`: expected an address such as "http://127.0.0.1:8080" or "unix:/run/app.sock", not "ftp://example.com"
 |
 = note: from --to on the command line

error: `history.max_age`: expected a duration such as "30s", "500ms" or "1h", not "soon"
 |
 = note: from the variable OUTBOARD__HISTORY__MAX_AGE

error: unknown key `stor` in `history`
 |
 = note: from the variable OUTBOARD__HISTORY__STOR
 = help: did you mean OUTBOARD__HISTORY__STORE?"#
    );
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let setup = Setup::file(
        r#"listen = []
max_age = "1h"

[history]
stor = "memory"
max_events = 0

[[event_route]]
path = "/events"
channels = ["news", "{path.room}"]
"#,
    );

    assert_eq!(
        setup.report(),
        r#"error: `listen` is empty, so no client could connect
 --> outboard.toml:1:10
  |
1 | listen = []
  |          ^^
  |
  = help: write listen = ["0.0.0.0:8000"]

error: unknown key `max_age`
 --> outboard.toml:2:1
  |
2 | max_age = "1h"
  | ^^^^^^^
  |
  = help: `max_age` is a key of [history]

error: unknown key `stor` in `history`
 --> outboard.toml:5:1
  |
5 | stor = "memory"
  | ^^^^
  |
  = help: did you mean `store`?

error: `history.max_events`: expected a whole number from 1 to 1000000000, not 0
 --> outboard.toml:6:14
  |
6 | max_events = 0
  |              ^

error: this [[event_route]] does not say who may listen
 --> outboard.toml:8:1
  |
8 | [[event_route]]
  | ^^^^^^^^^^^^^^^
  |
  = help: write auth = "/may-listen.cgi", a path of the backend that answers 2xx to those who may, or auth = "none" for everybody

error: {path.room} is not captured by the path `/events`
  --> outboard.toml:10:21
   |
10 | channels = ["news", "{path.room}"]
   |                     ^^^^^^^^^^^^^
   |
   = help: write {room} where the value stands in the path

error: no backend is given: where does your site listen?
 |
 = help: outboard --to http://127.0.0.1:8080
         or, in the configuration file, [backend] with url = "http://127.0.0.1:8080"
         or, in the environment, OUTBOARD__BACKEND__URL=http://127.0.0.1:8080"#
    );
}

#[test]
fn no_value_of_any_key_goes_wrong_without_a_report() {
    let values = [
        "0",
        "-1",
        "9223372036854775807",
        "1.5",
        "nan",
        "true",
        "1979-05-27",
        "[]",
        "[[]]",
        "[0]",
        "{}",
        "{ x = 1 }",
        "[{}]",
        r#""""#,
        r#""x""#,
        r#""\u0000""#,
        r#""\n""#,
        r#""{""#,
        r#""/{*""#,
        r#""[""#,
        r#"" 1 ""#,
        r#""99999999999999999999GiB""#,
        r#""99999999999999999999s""#,
        r#""1000000000/s""#,
        r#""4294967296/h""#,
    ];
    for table in
        ["", "backend", "publish", "history", "stream", "limits", "log", "admin", "channel", "event_route"]
    {
        for key in keys_of(table) {
            for value in values {
                let text = match table {
                    "" => format!("{key} = {value}\n"),
                    "channel" | "event_route" => format!("[[{table}]]\n{key} = {value}\n"),
                    table => format!("[{table}]\n{key} = {value}\n"),
                };
                // Whatever else is missing, only a report that is empty would be wrong.
                if let Err(report) = Setup::file(&text).sources.load() {
                    assert!(report.count() > 0, "{text}");
                    assert!(report.render(false).starts_with("error: "), "{text}");
                }
            }
        }
    }
}

#[test]
fn no_report_prints_a_secret() {
    for text in [
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken = \"p4ssw0rd\" typo\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken = \"p4ssw0rd\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken = p4ssw0rd\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken \"p4ssw0rd\"\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntokn = \"p4ssw0rd\"\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken = 44550066\n",
        "[admin]\nlisten = \"127.0.0.1:1\"\ntoken = \"p4ss w0rd\"\n",
        "[admin]\ntoken = \"p4ssw0rd\"\nlisten = \"0.0.0.0:1\"\n",
        "[admin]\nlisten = [1]\ntoken = \"\"\"\np4ssw0rd\"\"\"\n",
        "admin = { listen = \"nowhere\", token = \"p4ssw0rd\" }\n",
        "[publish.tcp]\ntoken = \"p4ssw0rd\"\n",
        "[backend]\nurl = \"http://me:p4ssw0rd@127.0.0.1:1\"\n",
        "[backend]\nurl = \"ftp://me:p4ssw0rd@127.0.0.1:1\"\n",
        "[backend]\nurl = \"http://me:p4ssw0rd@127.0.0.1:1/path\"\n",
        "[backend]\nurl = http://me:p4ssw0rd@127.0.0.1:1\n",
        "[backend]\nurls = [\"http://me:p4ssw0rd@127.0.0.1:1\"]\n",
    ] {
        let file = Setup::file(text).variable("OUTBOARD__BACKEND__MAX_CONNECTIONS", "0");
        let report = file.report();
        for part in ["p4ss", "w0rd", "44550066"] {
            assert!(!report.contains(part), "{text}\n{report}");
        }
    }
    for (name, value) in [
        ("OUTBOARD__ADMIN__TOKEN", "p4ss w0rd"),
        ("OUTBOARD__ADMIN__TOKN", "p4ssw0rd"),
        ("OUTBOARD__BACKEND__URL", "http://me:p4ssw0rd@127.0.0.1:1/x"),
        ("OUTBOARD__BACKEND__CONNECT_TIMEOUT", "http://me:p4ssw0rd@127.0.0.1:1/x"),
    ] {
        let report = Setup::no_file().variable(name, value).report();
        assert!(!report.contains("w0rd"), "{name}\n{report}");
    }
}

/// `config/mistakes.txt` holds cases, each what is written below `[backend]` and its `url` in lines 1
/// and 2, then `----`, then the report; `====` stands between cases.
#[test]
fn each_mistake_has_its_place_and_its_way_out() {
    let cases: Vec<_> = include_str!("config/mistakes.txt").split("\n====\n").collect();
    assert!(cases.len() > 20);

    for case in cases {
        let (text, report) = case.split_once("\n----\n").expect("a case has a report");

        assert_eq!(Setup::file(&format!("{BACKEND}{text}\n")).report(), report.trim_end(), "\n{text}");
    }
}
