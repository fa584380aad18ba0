//! The requests, read from `requests.txt`, whose head says how they are written.

/// A conversation on one connection, and what is special about it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What is sent, in order.
    pub(crate) parts: Vec<Part>,
    /// The methods of the requests in it: each has an answer.
    pub(crate) methods: Vec<String>,
    /// What the scripted site answers. `None`: Apache is asked.
    pub(crate) answer: Option<ScriptedAnswer>,
    /// The beginnings of differences that are left to chance.
    uncompared: Vec<String>,
}

/// Bytes for the wire, and when they may be sent.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) when: When,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    /// Behind what was sent before.
    AtOnce,
    /// The head of an answer has come, were it an interim one.
    SomethingCame,
    /// The answer to the request before is complete.
    Answered,
}

/// Bytes that the scripted site answers, whatever it is asked. `{site}` is its own address.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptedAnswer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then_closes: bool,
}

impl Case {
    fn named(name: String) -> Self {
        Self { name, parts: Vec::new(), methods: Vec::new(), answer: None, uncompared: Vec::new() }
    }

    pub(crate) fn compares(&self, difference: &str) -> bool {
        !self.uncompared.iter().any(|start| difference.starts_with(start))
    }

    /// Bytes that go on in the last part, or begin a new one.
    fn send(&mut self, bytes: &[u8], when: Option<When>) {
        match (when, self.parts.last_mut()) {
            (None | Some(When::AtOnce), Some(part)) => part.bytes.extend(bytes),
            (when, _) => {
                self.parts.push(Part { when: when.unwrap_or(When::AtOnce), bytes: bytes.to_vec() });
            }
        }
    }

    fn scripted(&mut self) -> &mut ScriptedAnswer {
        self.answer.get_or_insert_default()
    }
}

/// Reads all cases.
///
/// # Panics
/// At a line that is not as the file's head says.
pub(crate) fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut block: Option<(&str, Vec<&str>)> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match (line.strip_prefix("    "), &mut block) {
            (Some(inner), Some((_, lines))) => lines.push(inner),
            (Some(_), None) => panic!("a line that belongs to no case: {line}"),
            (None, _) => {
                cases.extend(block.replace((line, Vec::new())).into_iter().flat_map(read_block));
            }
        }
    }
    cases.extend(block.into_iter().flat_map(read_block));
    for (at, case) in cases.iter().enumerate() {
        assert!(cases[..at].iter().all(|other| other.name != case.name), "two cases named `{}`", case.name);
    }
    cases
}

fn read_block((name, lines): (&str, Vec<&str>)) -> Vec<Case> {
    let (each, lines): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.starts_with("each "));
    if each.is_empty() {
        return vec![read_case(name.to_owned(), lines.into_iter().map(str::to_owned))];
    }
    let one = |line: &&str| {
        let value = &line["each ".len()..];
        read_case(format!("{name}: {value}"), lines.iter().map(|line| line.replace("{}", value)))
    };
    each.iter().map(one).collect()
}

fn read_case(name: String, lines: impl Iterator<Item = String>) -> Case {
    let mut case = Case::named(name);
    // A new request begins; when it may be sent.
    let mut begins = Some(When::AtOnce);
    let mut waits = None;
    for line in lines {
        match line.as_str() {
            "at once" => begins = Some(When::AtOnce),
            "after the answer" => begins = Some(When::Answered),
            "once something came" => waits = Some(When::SomethingCame),
            "the site closes" => case.scripted().then_closes = true,
            line => {
                let (side, text) = line.split_at(1);
                let text = text.strip_prefix(' ').unwrap_or(text);
                match side {
                    ">" => {
                        if begins.is_some() {
                            case.methods.push(text.split(' ').next().unwrap().to_owned());
                        }
                        case.send(&wire_line(text), begins.take().or(waits.take()));
                    }
                    "<" => case.scripted().bytes.extend(wire_line(text)),
                    _ => match line.strip_prefix("not compared: ") {
                        Some(rest) => case.uncompared.push(rest.split(", since ").next().unwrap().to_owned()),
                        None => panic!("`{}`: what does this line mean? {line}", case.name),
                    },
                }
            }
        }
    }
    assert!(!case.parts.is_empty(), "`{}` sends nothing", case.name);
    case
}

/// The bytes of a line, with its end unless a backslash takes it away.
fn wire_line(text: &str) -> Vec<u8> {
    match text.strip_suffix('\\') {
        Some(start) if !start.ends_with('\\') => unescape(start),
        _ => [unescape(text), b"\r\n".to_vec()].concat(),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let escape = after.chars().next().unwrap();
        rest = &after[escape.len_utf8()..];
        match escape {
            '\\' => bytes.push(b'\\'),
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '{' => {
                let end = end_of_group(rest);
                let (times, what) = rest[..end].split_once(' ').unwrap();
                bytes.extend(unescape(what).repeat(times.parse().unwrap()));
                rest = &rest[end + 1..];
            }
            other => panic!("`\\{other}` is no escape: {text}"),
        }
    }
    bytes.extend(rest.bytes());
    bytes
}

/// Where the brace is that closes the group in which `text` begins.
fn end_of_group(text: &str) -> usize {
    let mut depth = 1;
    let end = text.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    });
    end.map(|(at, _)| at).unwrap_or_else(|| panic!("a group does not end: {text}"))
}

#[test]
fn a_case_is_read_as_the_files_head_says() {
    let text = "\
# a comment
two requests
    each 1
    each 2
    > GET /{} HTTP/1.1
    >
    after the answer
    > POST /\\xff HTTP/1.1
    >
    once something came
    > \\{2 a\\{2 b}}\\
    < HTTP/1.1 200 OK\\n\\
    < \\\\
    the site closes
    not compared: request body, since it may be cut
";

    let cases = read(text);

    assert_eq!(
        cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(),
        ["two requests: 1", "two requests: 2"]
    );
    let case = &cases[1];
    assert_eq!(case.methods, ["GET", "POST"]);
    let parts: Vec<_> = case.parts.iter().map(|part| (part.when, &part.bytes[..])).collect();
    assert_eq!(
        parts,
        [
            (When::AtOnce, &b"GET /2 HTTP/1.1\r\n\r\n"[..]),
            (When::Answered, b"POST /\xff HTTP/1.1\r\n\r\n"),
            (When::SomethingCame, b"abbabb"),
        ]
    );
    let answer = case.answer.as_ref().unwrap();
    assert_eq!((&answer.bytes[..], answer.then_closes), (&b"HTTP/1.1 200 OK\n\\\r\n"[..], true));
    assert!(!case.compares("request body changed") && case.compares("request header new: Via"));
}
