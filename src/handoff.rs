//! Handoff: what a backend's answer asks for in its `Outboard-*` headers (PROTOCOL 4.1).
//!
//! Whatever comes of it, none of these headers is left afterwards: they are said to us, and a client
//! never sees one.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::channel::{Channel, MAX_PER_STREAM};
use crate::http1::title_case;
use crate::replay::Replay;
use crate::subject::Subject;
use crate::words::nearest;

/// The longest `Outboard-Recheck` and `Outboard-Keep-Alive`: a day.
const MAX_SECONDS: u64 = 86_400;

/// The longest `Outboard-Retry`: a day.
const MAX_MILLISECONDS: u64 = 86_400_000;

/// How much of a faulty value is shown, in characters.
const SHOWN: usize = 80;

/// What a backend says about a client that it hands over.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Handoff {
    /// The channels to hold the client on. Empty in the answer to an `auth` request that leaves the
    /// choice to the route.
    pub channels: Vec<Channel>,
    /// What a client without a `Last-Event-ID` gets first.
    pub replay: Option<Replay>,
    /// The name under which the connection can be ended.
    pub subject: Option<Subject>,
    /// How often to ask again.
    pub recheck: Option<Duration>,
    /// The path that is asked for then, in place of what the client asked for.
    pub recheck_path: Option<String>,
    /// The path that wants to hear that the client has left.
    pub gone: Option<String>,
    /// The reconnect hint.
    pub retry: Option<Duration>,
    /// The silence after which a comment is sent.
    pub keep_alive: Option<Duration>,
}

/// What is wrong with a backend's `Outboard-*` headers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("header `{header}: {value}` {reason}")]
pub struct InvalidHandoff {
    /// The header's name, as the protocol writes it.
    pub header: String,
    /// Its value, made printable.
    pub value: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

/// The headers of a handoff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Channel,
    Replay,
    Subject,
    Recheck,
    Gone,
    Retry,
    KeepAlive,
}

const FIELDS: [(&str, Field); 7] = [
    ("Outboard-Channel", Field::Channel),
    ("Outboard-Replay", Field::Replay),
    ("Outboard-Subject", Field::Subject),
    ("Outboard-Recheck", Field::Recheck),
    ("Outboard-Gone", Field::Gone),
    ("Outboard-Retry", Field::Retry),
    ("Outboard-Keep-Alive", Field::KeepAlive),
];

/// Takes every `Outboard-*` and `Grip-*` header out of `headers` and reads the former.
///
/// `None` when there was none of them. Unknown `Outboard-*` names are an error that suggests the
/// nearest. Names of channels and subjects are read as UTF-8.
///
/// # Errors
/// When a header has a value it cannot have; all of them are removed all the same.
pub fn take(headers: &mut HeaderMap) -> Result<Option<Handoff>, InvalidHandoff> {
    let is_ours = |name: &&HeaderName| is_control(name.as_str());
    let names: smallvec::SmallVec<[HeaderName; 4]> = headers.keys().filter(is_ours).cloned().collect();
    if names.is_empty() {
        return Ok(None);
    }
    let mut lines = Vec::new();
    for name in names {
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(&name);
        if name.as_str().starts_with("outboard") {
            lines.push((name, values));
        }
    }
    read(&lines)
}

/// In lower case, as in a [`HeaderName`].
fn is_control(name: &str) -> bool {
    name.starts_with("outboard-") || name.starts_with("grip-") || name == "outboard"
}

fn read(lines: &[(HeaderName, Vec<HeaderValue>)]) -> Result<Option<Handoff>, InvalidHandoff> {
    let mut handoff = None;
    // A backend may well send back what it was sent; it asks for nothing with that.
    for (name, values) in lines.iter().filter(|(name, _)| name.as_str() != "outboard") {
        let (written, field) = field(name, values)?;
        let handoff = handoff.get_or_insert_with(Handoff::default);
        let mut last = None;
        for value in values {
            let problem = |reason: String| InvalidHandoff {
                header: written.into(),
                value: printable(value.as_bytes()),
                reason,
            };
            let text = std::str::from_utf8(value.as_bytes());
            let text = text.map_err(|_| problem("is not UTF-8".into()))?.trim();
            let repeated = last.replace(text).is_some_and(|last| last != text);
            if repeated && field != Field::Channel {
                return Err(problem(format!("contradicts another `{written}`; send it once")));
            }
            set(handoff, field, text).map_err(problem)?;
        }
    }
    Ok(handoff)
}

/// Which field a header is.
fn field(name: &HeaderName, values: &[HeaderValue]) -> Result<(&'static str, Field), InvalidHandoff> {
    let known = FIELDS.into_iter().find(|(written, _)| written.eq_ignore_ascii_case(name.as_str()));
    known.ok_or_else(|| InvalidHandoff {
        header: title_case(name.as_str()),
        value: values.first().map_or_else(String::new, |value| printable(value.as_bytes())),
        reason: match nearest(name.as_str(), FIELDS.into_iter().map(|(written, _)| written)) {
            Some(near) => format!("is not known: did you mean `{near}`?"),
            None => "is not known".into(),
        },
    })
}

/// Reads one value; the error ends a sentence about it.
fn set(handoff: &mut Handoff, field: Field, text: &str) -> Result<(), String> {
    match field {
        Field::Channel => add_channels(&mut handoff.channels, text)?,
        Field::Replay => handoff.replay = Some(text.parse().map_err(|error| format!("is wrong: {error}"))?),
        Field::Subject => {
            handoff.subject = Some(Subject::parse(text).map_err(|error| format!("is wrong: {error}"))?);
        }
        Field::Recheck => {
            let (seconds, path_text) = match text.split_once(char::is_whitespace) {
                Some((seconds, path)) => (seconds, Some(path.trim_start())),
                None => (text, None),
            };
            handoff.recheck = Some(Duration::from_secs(number(seconds, 1, MAX_SECONDS, "seconds")?));
            handoff.recheck_path = path_text.map(path).transpose()?;
        }
        Field::Gone => handoff.gone = Some(path(text)?),
        Field::Retry => {
            handoff.retry = Some(Duration::from_millis(number(text, 0, MAX_MILLISECONDS, "milliseconds")?));
        }
        Field::KeepAlive => {
            handoff.keep_alive = Some(Duration::from_secs(number(text, 1, MAX_SECONDS, "seconds")?));
        }
    }
    Ok(())
}

/// Adds the names of a list, each once (RFC 9110 section 5.6.1: empty elements are skipped).
fn add_channels(channels: &mut Vec<Channel>, list: &str) -> Result<(), String> {
    let mut known: HashSet<Channel> = channels.iter().cloned().collect();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let channel = Channel::parse(name).map_err(|error| format!("is wrong: {error}"))?;
        if !known.insert(channel.clone()) {
            continue;
        }
        if channels.len() == MAX_PER_STREAM {
            return Err(format!("names too many channels: a stream listens to {MAX_PER_STREAM} at most"));
        }
        channels.push(channel);
    }
    if channels.is_empty() { Err("names no channel".into()) } else { Ok(()) }
}

fn number(text: &str, least: u64, most: u64, unit: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("is not a whole number of {unit} from {least} to {most}")),
    }
}

fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    // `//host` is a path here, and could be taken for another server's elsewhere.
    if plain && text.starts_with('/') && !text.starts_with("//") && text.parse::<http::Uri>().is_ok() {
        Ok(text.into())
    } else {
        Err("is not a path on this backend: it starts with one `/` and is visible ASCII".into())
    }
}

/// A value for the log.
fn printable(value: &[u8]) -> String {
    crate::words::printable(&String::from_utf8_lossy(value), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[(&str, &str)]) -> Result<Option<Handoff>, InvalidHandoff> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        let taken = take(&mut headers);
        let left = headers.keys().filter(|name| is_control(name.as_str())).count();
        assert_eq!(left, 0, "control headers are left");
        taken
    }

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| Channel::parse(name).unwrap()).collect()
    }

    #[test]
    fn an_ordinary_answer_hands_nobody_over() {
        assert_eq!(taken(&[("Content-Type", "text/html")]), Ok(None));
        assert_eq!(taken(&[("Grip-Hold", "stream"), ("Outboard", "0.1.0")]), Ok(None));
    }

    #[test]
    fn every_header_is_read() {
        let handoff = taken(&[
            ("Outboard-Channel", "job-42, user-7"),
            ("Outboard-Replay", "live"),
            ("Outboard-Subject", "Jürgen"),
            ("Outboard-Recheck", "60 /may-stay.cgi?who=7"),
            ("Outboard-Gone", "/left.cgi?who=7"),
            ("Outboard-Retry", "0"),
            ("Outboard-Keep-Alive", " 86400 "),
        ]);

        assert_eq!(
            handoff,
            Ok(Some(Handoff {
                channels: channels(&["job-42", "user-7"]),
                replay: Some(Replay::Live),
                subject: Subject::parse("Jürgen").ok(),
                recheck: Some(Duration::from_secs(60)),
                recheck_path: Some("/may-stay.cgi?who=7".into()),
                gone: Some("/left.cgi?who=7".into()),
                retry: Some(Duration::ZERO),
                keep_alive: Some(Duration::from_secs(86_400)),
            }))
        );
    }

    #[test]
    fn channels_may_repeat_in_lists_and_lines_and_be_of_any_language() {
        let handoff = taken(&[
            ("Outboard-Channel", " a ,, b,a"),
            ("Outboard-Channel", "聊天,b"),
            ("Content-Type", "text/event-stream"),
        ]);

        assert_eq!(handoff.unwrap().unwrap().channels, channels(&["a", "b", "聊天"]));
    }

    #[test]
    fn a_stream_has_32_channels_at_most() {
        let names = |count| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");

        let most = taken(&[("Outboard-Channel", &names(32))]);
        let more = taken(&[("Outboard-Channel", &names(32)), ("Outboard-Channel", "one-more")]);

        assert_eq!(most.unwrap().unwrap().channels.len(), 32);
        assert!(more.unwrap_err().reason.contains("32 at most"));
    }

    #[test]
    fn an_answer_may_say_all_but_the_channel() {
        let handoff = taken(&[("Outboard-Subject", "7")]).unwrap().unwrap();

        assert_eq!(handoff.channels, []);
        assert_eq!(handoff.subject, Subject::parse("7").ok());
    }

    #[test]
    fn a_misspelt_header_is_named_with_the_nearest() {
        let problem = taken(&[("outboard-chanel", "a")]).unwrap_err();

        assert_eq!(
            problem.to_string(),
            "header `Outboard-Chanel: a` is not known: did you mean `Outboard-Channel`?"
        );
    }

    #[test]
    fn what_a_header_cannot_be_is_an_error_that_says_what_it_can() {
        for (name, value, reason) in [
            ("Outboard-Channel", "", "names no channel"),
            ("Outboard-Channel", "a b", "is wrong: a channel name cannot contain ' '"),
            ("Outboard-Replay", "sometimes", "is wrong: a replay policy is"),
            ("Outboard-Subject", "", "is wrong: a subject is"),
            ("Outboard-Recheck", "0", "is not a whole number of seconds from 1 to 86400"),
            ("Outboard-Recheck", "+5", "is not a whole number of seconds"),
            ("Outboard-Recheck", "5s /a", "is not a whole number of seconds"),
            ("Outboard-Recheck", "5 a", "is not a path on this backend"),
            ("Outboard-Recheck", "5 /a b", "is not a path on this backend"),
            ("Outboard-Keep-Alive", "86401", "is not a whole number of seconds"),
            ("Outboard-Keep-Alive", "15s", "is not a whole number of seconds"),
            ("Outboard-Retry", "86400001", "is not a whole number of milliseconds from 0"),
            ("Outboard-Retry", "-1", "is not a whole number of milliseconds"),
            ("Outboard-Retry", "", "is not a whole number of milliseconds"),
            ("Outboard-Gone", "http://other/left", "is not a path on this backend"),
            ("Outboard-Gone", "//other/left", "is not a path on this backend"),
            ("Outboard-Gone", "left.cgi", "is not a path on this backend"),
            ("Outboard-Gone", "/a b", "is not a path on this backend"),
        ] {
            let problem = taken(&[(name, value)]).unwrap_err();
            assert!(problem.reason.starts_with(reason), "{problem}");
        }
    }

    #[test]
    fn headers_that_contradict_each_other_are_an_error() {
        let twice = taken(&[("Outboard-Recheck", "5"), ("Outboard-Recheck", "5")]);
        let otherwise = taken(&[("Outboard-Recheck", "5"), ("Outboard-Recheck", "6")]);

        assert_eq!(twice.unwrap().unwrap().recheck, Some(Duration::from_secs(5)));
        assert!(otherwise.unwrap_err().reason.starts_with("contradicts another"));
    }

    #[test]
    fn a_faulty_value_is_shown_without_what_could_harm_a_log() {
        let mut headers = HeaderMap::new();
        let long = [b"\xff\t".as_slice(), &[b'x'; 200]].concat();
        headers.insert("outboard-channel", HeaderValue::from_bytes(&long).unwrap());

        let problem = take(&mut headers).unwrap_err();

        assert_eq!(problem.reason, "is not UTF-8");
        assert_eq!(problem.value, format!("\u{fffd}\\t{}…", "x".repeat(78)));
    }
}
