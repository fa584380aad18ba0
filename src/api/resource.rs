//! Which address of the API stands for what.

use std::borrow::Cow;

use super::problem::Problem;
use crate::channel::{Channel, InvalidChannel};
use crate::event::frame::Code;
use crate::subject::Subject;

/// What there is, for those who are lost.
const KNOWN: &str =
    "the API has /channels, /channels/NAME, /channels/NAME/events, /subjects/SUBJECT, /healthz and /readyz";

/// What an address of the API stands for.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Resource {
    /// `/channels`
    Channels,
    /// `/channels/NAME`
    Channel(Channel),
    /// `/channels/NAME/events`
    Events(Channel),
    /// `/channels/NAME/grants`
    Grants,
    /// `/subjects/SUBJECT`
    Subject(Subject),
    /// `/healthz`
    Alive,
    /// `/readyz`
    Ready,
}

impl Resource {
    /// What the path of a request stands for.
    pub(super) fn of(path: &str) -> Result<Self, Problem> {
        // What a URL has to escape in its path (WHATWG URL, path percent-encode set), as far as the gate
        // lets it through and no client is known to leave it as it is.
        if path.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'`')) {
            return Err(Problem::unescaped());
        }
        if let Some(rest) = path.strip_prefix("/channels/") {
            return Self::of_channel(rest);
        }
        match path {
            "/channels" => return Ok(Self::Channels),
            "/healthz" => return Ok(Self::Alive),
            "/readyz" => return Ok(Self::Ready),
            _ => {}
        }
        match path.strip_prefix("/subjects/") {
            Some(name) if !name.contains('/') => Ok(Self::Subject(subject(name)?)),
            _ => Err(Problem::NotFound(format!("there is nothing at `{path}`: {KNOWN}"))),
        }
    }

    fn of_channel(rest: &str) -> Result<Self, Problem> {
        match rest.split_once('/') {
            None => Ok(Self::Channel(channel(rest)?)),
            Some((name, "events")) => Ok(Self::Events(channel(name)?)),
            Some((name, "grants")) => channel(name).and_then(for_others).map(|_| Self::Grants),
            Some(_) => Err(Problem::NotFound("write %2F for each slash in a channel's name".to_owned())),
        }
    }

    /// What it answers to, as `Allow` says it.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Channels | Self::Events(_) | Self::Alive | Self::Ready => "GET, HEAD",
            Self::Channel(_) => "GET, HEAD, POST, DELETE",
            Self::Grants => "POST",
            Self::Subject(_) => "DELETE",
        }
    }
}

fn channel(segment: &str) -> Result<Channel, Problem> {
    Channel::parse_any(&decoded(segment)?)
        .map_err(|invalid| Problem::refused(Code::BadChannel, invalid.to_string()))
}

/// Channels that outboard fills itself are looked at, and nothing else.
pub(super) fn for_others(channel: Channel) -> Result<Channel, Problem> {
    match channel.is_own() {
        true => Err(Problem::refused(Code::Forbidden, InvalidChannel::Own.to_string())),
        false => Ok(channel),
    }
}

fn subject(segment: &str) -> Result<Subject, Problem> {
    Subject::parse(&decoded(segment)?)
        .map_err(|invalid| Problem::refused(Code::BadValue, invalid.to_string()))
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, Problem> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| Problem::refused(Code::BadUtf8, "a name in the path is percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the path stands for, or the code of the refusal.
    fn found(path: &str) -> Result<Resource, &'static str> {
        Resource::of(path).map_err(|problem| problem.code())
    }

    #[test]
    fn a_path_names_what_it_is_about() {
        let channel = |name| Channel::parse(name).unwrap();

        assert_eq!(found("/channels"), Ok(Resource::Channels));
        assert_eq!(found("/channels/a"), Ok(Resource::Channel(channel("a"))));
        assert_eq!(found("/channels/a%2Fb/events"), Ok(Resource::Events(channel("a/b"))));
        let own = Channel::parse_any("@a").unwrap();
        assert_eq!(found("/channels/@a/events"), Ok(Resource::Events(own)));
        assert_eq!(found("/channels/a/grants"), Ok(Resource::Grants));
        assert_eq!(found("/subjects/anna"), Ok(Resource::Subject(Subject::parse("anna").unwrap())));
        assert_eq!(found("/healthz"), Ok(Resource::Alive));
        assert_eq!(found("/readyz"), Ok(Resource::Ready));
    }

    #[test]
    fn a_path_that_is_about_nothing_is_refused() {
        for (path, code) in [
            ("/", "not-found"),
            ("/channel", "not-found"),
            ("/channels/", "bad-channel"),
            ("/channels/a/b", "not-found"),
            ("/channels/a%2C/events", "bad-channel"),
            ("/channels/%FF", "bad-utf8"),
            ("/channels/@share%2Fx/grants", "forbidden"),
            ("/subjects/a/b", "not-found"),
        ] {
            assert_eq!(found(path), Err(code), "{path}");
        }
    }

    #[test]
    fn bytes_that_a_url_has_to_escape_are_refused_wherever_they_stand() {
        for path in ["/channels/a<b", "/a>b", "/channels/`/events"] {
            assert_eq!(found(path), Err("bad-value"), "{path}");
        }
    }
}
