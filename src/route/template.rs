//! Texts with holes that a request fills in.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::variables::{InvalidVariable, Source, Variable, Variables};
use crate::channel::{Channel, InvalidChannel, MAX_PER_STREAM};
use crate::subject::Subject;

/// What stays as it is when a value is put into a path or a query: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Literal text and variables, as in `user-{cookie.uid}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

/// Why a text is not a template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A brace without the other.
    #[error("a brace is open or closed without the other; a variable is written {{query.NAME}}")]
    Brace,
    /// Something between braces that no request has.
    #[error(transparent)]
    Variable(#[from] InvalidVariable),
    /// No request can make a channel of it.
    #[error(transparent)]
    Channel(#[from] InvalidChannel),
    /// Not a path on the backend.
    #[error("a path begins with `/`, and has no blanks, control characters, `#`, `.` or `..` segments")]
    Path,
}

/// Why a request does not say which channels it means: the client's fault, a 400.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A variable without a value.
    #[error("this request has no {0}")]
    Missing(Variable),
    /// A value that is not text.
    #[error("{0} is not UTF-8 in this request")]
    NotText(Variable),
    /// The values make no channel name.
    #[error("`{template}` gives no channel here: {reason}")]
    Channel {
        /// The template, as it was configured.
        template: Box<str>,
        /// What is wrong with the name.
        reason: InvalidChannel,
    },
    /// The values make no subject.
    #[error("`{0}` gives no subject here: a subject is 1 to 255 bytes without control characters")]
    Subject(Box<str>),
    /// The values would lead out of the configured path.
    #[error("`{0}` would lead out of its folder here")]
    Path(Box<str>),
    /// More channels than one stream can be held on.
    #[error("a stream has at most {MAX_PER_STREAM} channels")]
    TooMany,
}

impl Template {
    /// Reads text with `{path.NAME}`, `{query.NAME}`, `{cookie.NAME}` and `{header.NAME}` in it.
    ///
    /// # Errors
    /// When a brace has no partner or holds something else.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, behind) = after.split_once('}').ok_or(InvalidTemplate::Brace)?;
            push_text(&mut parts, before)?;
            parts.push(Part::Variable(Variable::parse(inside)?));
            rest = behind;
        }
        push_text(&mut parts, rest)?;
        Ok(Self { text: text.into(), parts })
    }

    /// The same, for a template that is to give channel names.
    ///
    /// # Errors
    /// As [`Template::parse`], and when no request could make a channel name of it.
    pub fn parse_channel(text: &str) -> Result<Self, InvalidTemplate> {
        let template = Self::parse(text)?;
        if template.parts.is_empty() {
            return Err(InvalidChannel::Empty.into());
        }
        for (place, part) in template.parts.iter().enumerate() {
            match part {
                Part::Text(text) if place == 0 => drop(Channel::parse(text)?),
                Part::Text(text) => drop(Channel::parse_any(text)?),
                _ => {}
            }
        }
        Ok(template)
    }

    /// The same, for a template that is to give a path on the backend, with a query if need be.
    ///
    /// # Errors
    /// As [`Template::parse`], and when no request could make a path of it.
    pub fn parse_path(text: &str) -> Result<Self, InvalidTemplate> {
        let template = Self::parse(text)?;
        let literal: String = template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Variable(_) => "x",
            })
            .collect();
        let plain = matches!(template.parts.first(), Some(Part::Text(text)) if text.starts_with('/'))
            && literal.chars().all(|c| c.is_ascii_graphic() && c != '#')
            // `//host` is another host to some who read it.
            && !literal.starts_with("//")
            && !has_dot_segment(&literal);
        if plain { Ok(template) } else { Err(InvalidTemplate::Path) }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(variable),
        })
    }

    /// Whether anything in it comes from the client's request.
    pub fn is_filled_in(&self) -> bool {
        self.variables().next().is_some()
    }

    /// Whether a client can make any channel of it that it likes.
    pub fn is_free(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Text(_)))
    }

    /// The channels it stands for in a request: several if it is just `{query.NAME}` and the query
    /// repeats the parameter, else one.
    ///
    /// # Errors
    /// When a variable has no value, or when the result is no channel name.
    pub fn channels(&self, variables: &Variables<'_>) -> Result<Vec<Channel>, Unfit> {
        if let [Part::Variable(variable)] = self.parts.as_slice()
            && variable.source() == Source::Query
        {
            let channels: Vec<_> = variables
                .parameters(variable.name())
                .map(|name| {
                    let name = str::from_utf8(&name).map_err(|_| Unfit::NotText(variable.clone()))?;
                    self.channel(name)
                })
                .collect::<Result<_, _>>()?;
            return if channels.is_empty() { Err(Unfit::Missing(variable.clone())) } else { Ok(channels) };
        }
        Ok(vec![self.channel(&self.fill(variables, |value| value)?)?])
    }

    /// The subject it stands for in a request.
    ///
    /// # Errors
    /// When a variable has no value, or when the result is no subject.
    pub fn subject(&self, variables: &Variables<'_>) -> Result<Subject, Unfit> {
        let text = self.fill(variables, |value| value)?;
        Subject::parse(&text).map_err(|_| Unfit::Subject(self.text.clone()))
    }

    /// The path it stands for in a request, with all values percent-encoded.
    ///
    /// # Errors
    /// When a variable has no value, or when a server that decodes first would read a `..` that is
    /// not in the template.
    pub fn path(&self, variables: &Variables<'_>) -> Result<String, Unfit> {
        let path = self.fill(variables, |value| match value {
            Cow::Borrowed(text) => utf8_percent_encode(text, ENCODED).into(),
            Cow::Owned(text) => utf8_percent_encode(&text, ENCODED).to_string().into(),
        })?;
        if has_dot_segment(&path) { Err(Unfit::Path(self.text.clone())) } else { Ok(path) }
    }

    fn channel(&self, name: &str) -> Result<Channel, Unfit> {
        Channel::parse(name).map_err(|reason| Unfit::Channel { template: self.text.clone(), reason })
    }

    fn fill<'a>(
        &self,
        variables: &Variables<'a>,
        encode: impl for<'v> Fn(Cow<'v, str>) -> Cow<'v, str>,
    ) -> Result<String, Unfit> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Variable(variable) => text.push_str(&encode(value(variables, variable)?)),
            }
        }
        Ok(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn value<'a>(variables: &Variables<'a>, variable: &Variable) -> Result<Cow<'a, str>, Unfit> {
    let not_text = || Unfit::NotText(variable.clone());
    match variables.value(variable) {
        None => Err(Unfit::Missing(variable.clone())),
        Some(Cow::Borrowed(bytes)) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| not_text()),
        Some(Cow::Owned(bytes)) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| not_text()),
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), InvalidTemplate> {
    if text.contains('}') {
        return Err(InvalidTemplate::Brace);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(())
}

/// Whether a server that decodes a path before it resolves it would find `.` or `..` in it.
fn has_dot_segment(path: &str) -> bool {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    percent_decode_str(path)
        .decode_utf8_lossy()
        .split(['/', '\\'])
        .any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::route::Captures;

    fn path(template: &str, query: &str) -> Result<String, Unfit> {
        let captures = Captures::default();
        let headers = HeaderMap::new();
        Template::parse_path(template).unwrap().path(&Variables::new(&captures, Some(query), &headers))
    }

    #[test]
    fn text_and_variables_alternate() {
        let template = Template::parse("a-{query.x}-{cookie.y}{header.z}").unwrap();

        let names: Vec<_> = template.variables().map(ToString::to_string).collect();

        assert_eq!(names, ["{query.x}", "{cookie.y}", "{header.z}"]);
    }

    #[test]
    fn every_variable_is_filled_in() {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_static("uid=7"));
        headers.insert("x-site", HeaderValue::from_static("shop"));
        let captures = Captures::default();
        let variables = Variables::new(&captures, Some("job=42"), &headers);

        let template = Template::parse_channel("{header.X-Site}.{cookie.uid}/{query.job}").unwrap();

        assert_eq!(template.channels(&variables).unwrap(), [Channel::parse("shop.7/42").unwrap()]);
    }

    #[test]
    fn braces_come_in_pairs() {
        for text in ["{", "}", "a{query.x", "a}b", "{query.x}}", "{}", "{{query.x}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_template_that_never_gives_a_channel_is_refused() {
        for text in ["", "a b", "a,{query.x}", "x;"] {
            assert!(matches!(Template::parse_channel(text), Err(InvalidTemplate::Channel(_))), "{text}");
        }
    }

    #[test]
    fn a_template_that_never_gives_a_path_is_refused() {
        for text in ["", "may.cgi", "{query.x}", "//host/x", "/a b", "/a/../b", "/a/%2e%2E/b", "/a#b", "/ä"]
        {
            assert_eq!(Template::parse_path(text), Err(InvalidTemplate::Path), "{text}");
        }
        assert!(Template::parse_path("/a/{query.x}/b.cgi?to={cookie.y}").is_ok());
    }

    #[test]
    fn values_in_a_path_stay_values() {
        assert_eq!(path("/a/{query.v}", "v=b/c?d%26e%23").unwrap(), "/a/b%2Fc%3Fd%26e%23");
        assert_eq!(path("/a?v={query.v}", "v=../x").unwrap(), "/a?v=..%2Fx");
    }

    #[test]
    fn values_cannot_lead_out_of_a_path() {
        for query in ["v=..", "v=.", "v=x/../../y", "v=..%5Cy", "v=%2e%2e"] {
            assert_eq!(path("/a/{query.v}/b", query), Err(Unfit::Path("/a/{query.v}/b".into())), "{query}");
        }
        assert_eq!(path("/a/{query.v}{query.v}", "v=."), Err(Unfit::Path("/a/{query.v}{query.v}".into())));
        assert_eq!(path("/a/{query.v}", "v=..x").unwrap(), "/a/..x");
    }

    #[test]
    fn a_subject_is_checked_like_any_other() {
        let captures = Captures::default();
        let headers = HeaderMap::new();
        let template = Template::parse("user {query.u}").unwrap();

        let good = template.subject(&Variables::new(&captures, Some("u=7"), &headers)).unwrap();
        let bad = template.subject(&Variables::new(&captures, Some("u=%0A"), &headers)).unwrap_err();

        assert_eq!(good.as_str(), "user 7");
        assert_eq!(bad, Unfit::Subject("user {query.u}".into()));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_typed_is_a_template_or_an_error(text in ".*") {
            let _ = Template::parse_channel(&text);
            let _ = Template::parse_path(&text);
            let _ = crate::route::Pattern::parse(&text);
        }

        #[test]
        fn whatever_a_client_sends_stays_in_its_place_in_a_path(value in proptest::collection::vec(0u8.., 0..20)) {
            let encoded = percent_encoding::percent_encode(&value, NON_ALPHANUMERIC);

            if let Ok(path) = path("/a/{query.v}/b?to={query.v}", &format!("v={encoded}")) {
                let (folder, query) = path.split_once('?').unwrap();
                let segments: Vec<_> = folder.split('/').collect();
                proptest::prop_assert_eq!(segments.len(), 4);
                proptest::prop_assert_eq!(percent_decode_str(segments[2]).decode_utf8_lossy(), String::from_utf8_lossy(&value));
                proptest::prop_assert!(!query.contains(['/', '?', '&', '#', ' ']));
                proptest::prop_assert!(path.is_ascii());
            }
        }
    }
}
