//! What a way changed, compared with the direct one.

use std::collections::BTreeMap;

use super::client::Answer;
use super::ways::Outcome;
use super::wire::{Framing, Line, Message};

/// One thing that is otherwise than on the direct way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Difference {
    /// In words that are the same for the same thing, whoever does it.
    pub(crate) what: String,
    /// Before and after.
    pub(crate) detail: String,
}

/// All differences of `way` to `direct`.
pub(crate) fn differences(direct: &Outcome, way: &Outcome) -> Vec<Difference> {
    let mut found = Found::default();
    let requests = direct.requests.len().max(way.requests.len());
    let answers = direct.answers.answers.len().max(way.answers.answers.len());
    for at in 0..requests.max(answers) {
        let answer = way.answers.answers.get(at);
        match (direct.requests.get(at), way.requests.get(at)) {
            (Some(_), None) => {
                let status = answer.map_or(0, |answer| answer.message.status());
                let own = direct.answers.answers.get(at).map_or(0, |answer| answer.message.status());
                let as_site = if status == own { ", as by the site" } else { "" };
                found.note(format!("request refused with {status}{as_site}"), "", "");
                // Whatever else the answer says is not the site's to be changed.
                continue;
            }
            (None, Some(request)) => found.note("request sent that was not sent", "", &request.start),
            (Some(before), Some(after)) => found.in_request(before, after),
            (None, None) => {}
        }
        match (direct.answers.answers.get(at), answer) {
            (Some(before), Some(after)) => found.in_answer(before, after),
            (Some(before), None) => found.note("answer missing", &before.message.start, ""),
            (None, Some(after)) => found.note("answer where there is none", "", &after.message.start),
            (None, None) => {}
        }
    }
    if direct.answers.kept != way.answers.kept && !found.refused() {
        let what = if way.answers.kept { "connection kept" } else { "connection closed" };
        found.note(what, "", "");
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, what: impl Into<String>, before: &str, after: &str) {
        let detail = match (before, after) {
            ("", "") => String::new(),
            ("", after) => cut(after),
            (before, "") => cut(before),
            (before, after) => format!("{} -> {}", cut(before), cut(after)),
        };
        self.0.push(Difference { what: what.into(), detail });
    }

    fn refused(&self) -> bool {
        self.0.iter().any(|difference| difference.what.starts_with("request refused"))
    }

    fn compare(&mut self, what: &str, before: &str, after: &str) {
        if before != after {
            let (before, after) = from_the_first_difference(before, after);
            self.note(what, &format!("{before:?}"), &format!("{after:?}"));
        }
    }

    fn in_request(&mut self, before: &Message, after: &Message) {
        self.compare("request method", before.word(0), after.word(0));
        self.compare("request target", before.word(1), after.word(1));
        self.compare("request version", before.word(2), after.word(2));
        self.in_message("request", before, after);
    }

    fn in_answer(&mut self, before: &Answer, after: &Answer) {
        self.in_interim(&before.interim, &after.interim);
        let (before, after) = (&before.message, &after.message);
        if before.status() != after.status() {
            // Another answer altogether: the rest would only repeat that.
            self.note(format!("answer replaced with {}", after.status()), &before.start, &after.start);
            return;
        }
        self.compare("answer version", before.word(0), after.word(0));
        self.compare("answer reason", before.word(2), after.word(2));
        self.in_message("answer", before, after);
    }

    fn in_interim(&mut self, before: &[Message], after: &[Message]) {
        let of = |messages: &[Message], status| messages.iter().filter(|m| m.status() == status).count();
        for status in 100..200 {
            let (before_count, after_count) = (of(before, status), of(after, status));
            if after_count < before_count {
                self.note(format!("interim answer gone: {status}"), "", "");
            } else if after_count > before_count {
                self.note(format!("interim answer new: {status}"), "", "");
            } else {
                let pick = |messages: &[Message]| messages.iter().find(|m| m.status() == status).cloned();
                if let (Some(before), Some(after)) = (pick(before), pick(after)) {
                    self.in_lines("interim answer header", &before.lines, &after.lines);
                }
            }
        }
    }

    fn in_message(&mut self, whose: &str, before: &Message, after: &Message) {
        self.in_lines(&format!("{whose} header"), &before.lines, &after.lines);
        if before.framing != after.framing {
            let what = format!("{whose} framing: {} for {}", say(after.framing), say(before.framing));
            self.note(what, "", "");
        }
        if before.body != after.body {
            let (before, after) = (super::wire::text(&before.body), super::wire::text(&after.body));
            self.compare(&format!("{whose} body"), &before, &after);
        }
        if before.complete != after.complete {
            self.note(format!("{whose} {}", if after.complete { "completed" } else { "cut off" }), "", "");
        }
        self.in_lines(&format!("{whose} trailer"), &before.trailers, &after.trailers);
    }

    fn in_lines(&mut self, what: &str, before: &[Line], after: &[Line]) {
        let (old, new) = (by_name(before), by_name(after));
        for (name, (spelling, values)) in &old {
            match new.get(name) {
                None => self.note(format!("{what} gone: {name}"), &values.join(" | "), ""),
                Some((_, now)) if now != values => {
                    self.note(format!("{what} changed: {name}"), &values.join(" | "), &now.join(" | "));
                }
                Some((now, _)) if now != spelling => {
                    self.note(
                        format!("{what} names spelt otherwise"),
                        &spelling.join(" | "),
                        &now.join(" | "),
                    );
                }
                Some(_) => {}
            }
        }
        for (name, (_, values)) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.note(format!("{what} new: {name}"), "", &values.join(" | "));
        }
        let order = |lines: &[Line]| -> Vec<String> {
            let names = lines.iter().map(|line| line.name.to_lowercase());
            let stays = |name: &String| old.contains_key(name) && new.contains_key(name);
            names.filter(|name| stays(name) && !FRAMING.contains(&name.as_str())).collect()
        };
        let (before, after) = (order(before), order(after));
        let same_count = before.len() == after.len();
        if same_count && before != after {
            self.note(format!("{what} order"), &before.join(" "), &after.join(" "));
        }
    }
}

/// Each hop writes these anew, so their place says nothing.
const FRAMING: [&str; 5] = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];

/// The lines of each name, which is in lower case and without blanks behind it: how it is spelt, and
/// the values.
fn by_name(lines: &[Line]) -> BTreeMap<String, (Vec<&str>, Vec<&str>)> {
    let mut names: BTreeMap<String, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for line in lines {
        let name = line.name.trim_end().to_lowercase();
        let (spelling, values) = names.entry(name).or_default();
        spelling.push(&line.name);
        values.push(&line.value);
    }
    names
}

fn say(framing: Framing) -> &'static str {
    match framing {
        Framing::NoBody => "no body",
        Framing::Length => "a length",
        Framing::Chunked => "chunks",
        Framing::UntilClose => "the connection's end",
    }
}

/// What a reader needs to see of two long texts.
fn from_the_first_difference<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8());
    let skip = same.sum::<usize>();
    // A little of what is the same, to find the place.
    let start = before[..skip].char_indices().rev().nth(15).map_or(0, |(at, _)| at);
    (&before[start..], &after[start..])
}

fn cut(text: &str) -> String {
    const MOST: usize = 90;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::client::Answers;
    use super::super::wire::{Kind, Reader};
    use super::*;

    fn outcome(request: &str, answer: &str) -> Outcome {
        let read = |text: &str, kind| Reader::new(text.as_bytes()).message(kind);
        let message = read(answer, Kind::AnswerTo("GET")).unwrap();
        let answers = Answers { answers: vec![Answer { interim: Vec::new(), message }], kept: true };
        Outcome { requests: read(request, Kind::Request).into_iter().collect(), answers }
    }

    #[test]
    fn whatever_is_changed_is_found() {
        let request = "GET /a%2Fb HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n";
        let answer = "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok";
        let direct = outcome(request, answer);

        for (request, answer, expected) in [
            (request, answer, &[][..]),
            ("GET /a/b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n", answer, &["request target"]),
            ("GET /a%2Fb HTTP/1.1\r\nHost: a\r\nX-B: 2\r\nX-A: 1\r\n\r\n", answer, &["request header order"]),
            (
                "GET /a%2Fb HTTP/1.1\r\nHost: b\r\nx-a: 1\r\nVia: c\r\n\r\n",
                answer,
                &[
                    "request header changed: host",
                    "request header names spelt otherwise",
                    "request header gone: x-b",
                    "request header new: via",
                ],
            ),
            (
                request,
                "HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\nX-T: 1\r\n\r\n",
                &[
                    "answer reason",
                    "answer header gone: content-length",
                    "answer header new: transfer-encoding",
                    "answer framing: chunks for a length",
                    "answer body",
                    "answer trailer new: x-t",
                ],
            ),
            (
                request,
                "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\no",
                &["answer body", "answer cut off"],
            ),
            (request, "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", &["answer replaced with 502"]),
            ("", "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", &["request refused with 400"]),
        ] {
            let found = differences(&direct, &outcome(request, answer));

            let found: Vec<_> = found.iter().map(|difference| difference.what.as_str()).collect();
            assert_eq!(found, expected, "{request:?} {answer:?}");
        }
    }
}
