//! What a template can take from a request.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode_str;

/// A value that a template takes from the request: `{SOURCE.NAME}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variable {
    source: Source,
    name: Box<str>,
}

/// Where a variable's value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// What the route's pattern captured.
    Path,
    /// The first query parameter of that name, decoded as a form's (WHATWG URL 5.1).
    Query,
    /// The first cookie of that name (RFC 6265 section 4.2), as it is but for quotes around it.
    Cookie,
    /// The first header of that name.
    Header,
}

/// Why a text between braces is not a variable.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidVariable {
    /// Nothing that a request has.
    #[error("{{{0}}} is none of {{path.NAME}}, {{query.NAME}}, {{cookie.NAME}} and {{header.NAME}}")]
    Unknown(Box<str>),
    /// A claim, of which there are none without JSON web tokens.
    #[error("{{claim.{0}}} needs `auth = \"jwt\"`, which is not in this version")]
    Claim(Box<str>),
    /// A name that nothing of this kind can have.
    #[error("{{{0}}} is not a name that a request can have")]
    Name(Box<str>),
}

impl Variable {
    /// Reads what stands between two braces.
    ///
    /// # Errors
    /// When it is not `path.NAME`, `query.NAME`, `cookie.NAME` or `header.NAME`.
    pub fn parse(text: &str) -> Result<Self, InvalidVariable> {
        let unknown = || InvalidVariable::Unknown(text.into());
        let (source, name) = text.split_once('.').ok_or_else(unknown)?;
        let source = match source {
            "path" => Source::Path,
            "query" => Source::Query,
            "cookie" => Source::Cookie,
            "header" => Source::Header,
            "claim" => return Err(InvalidVariable::Claim(name.into())),
            _ => return Err(unknown()),
        };
        let possible = match source {
            Source::Path | Source::Query => !name.is_empty(),
            // A cookie's name is a token, as a header's is.
            Source::Cookie | Source::Header => HeaderName::from_bytes(name.as_bytes()).is_ok(),
        };
        if possible {
            Ok(Self { source, name: name.into() })
        } else {
            Err(InvalidVariable::Name(text.into()))
        }
    }

    /// Where its value comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Path => "path",
            Source::Query => "query",
            Source::Cookie => "cookie",
            Source::Header => "header",
        };
        write!(f, "{{{source}.{}}}", self.name)
    }
}

/// What a route's pattern captured in a path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures(Vec<(Box<str>, Vec<u8>)>);

impl Captures {
    /// Decodes percent-encoding once. This comes after matching, so that an encoded slash does
    /// not become a separator.
    pub(super) fn decode(params: &matchit::Params<'_, '_>) -> Self {
        Self(params.iter().map(|(name, value)| (name.into(), percent_decode_str(value).collect())).collect())
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.as_slice())
    }
}

/// A request, as templates see it.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    captures: &'a Captures,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> Variables<'a> {
    /// The variables of a request with this query (as it was sent) and these headers.
    pub fn new(captures: &'a Captures, query: Option<&'a str>, headers: &'a HeaderMap) -> Self {
        Self { captures, query: query.unwrap_or_default(), headers }
    }

    /// The bytes that a variable stands for; `None` if the request does not have it.
    pub fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        match variable.source {
            Source::Path => self.captures.value(&variable.name).map(Cow::Borrowed),
            Source::Query => self.parameters(&variable.name).next(),
            Source::Cookie => self.cookie(&variable.name).map(Cow::Borrowed),
            Source::Header => self.headers.get(&*variable.name).map(|value| Cow::Borrowed(value.as_bytes())),
        }
    }

    /// All query parameters of this name, in order, decoded as a form's (WHATWG URL 5.1), but that bytes which
    /// are no text stay what they are: two of them must not become the same channel.
    pub fn parameters<'n>(&self, name: &'n str) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a, 'n> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(known, _)| *decoded(known) == *name.as_bytes()).map(|(_, value)| decoded(value))
    }

    fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        self.headers
            .get_all(header::COOKIE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|&b| b == b';'))
            .find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| {
                value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
            })
    }
}

/// A name or a value of a query, decoded.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).collect());
    }
    percent_decode_str(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(variable: &str, query: &str, headers: &[(&'static str, &[u8])]) -> Option<Vec<u8>> {
        let variable = Variable::parse(variable).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Variables::new(&Captures::default(), Some(query), &map).value(&variable).map(Cow::into_owned)
    }

    #[test]
    fn query_parameters_are_decoded_as_forms_are() {
        assert_eq!(value("query.q", "a=1&q=x+y%2Bz", &[]).unwrap(), b"x y+z");
        assert_eq!(value("query.q", "q", &[]).unwrap(), b"");
        assert_eq!(value("query.q", "", &[]), None);
        assert_eq!(value("query.q", "&&q=%e4%&%71=2", &[]).unwrap(), b"\xe4%");
        assert_eq!(value("query.q r", "q+r=1", &[]).unwrap(), b"1");
    }

    #[test]
    fn the_first_cookie_of_a_name_wins_and_loses_its_quotes() {
        let cookies: &[(&str, &[u8])] = &[("cookie", b"ab=1; a=\"x=y\" ;a=2"), ("cookie", b"c=3; d=\xff")];

        assert_eq!(value("cookie.a", "", cookies).unwrap(), b"x=y");
        assert_eq!(value("cookie.ab", "", cookies).unwrap(), b"1");
        assert_eq!(value("cookie.c", "", cookies).unwrap(), b"3");
        assert_eq!(value("cookie.d", "", cookies).unwrap(), b"\xff");
        assert_eq!(value("cookie.b", "", cookies), None);
        assert_eq!(value("cookie.A", "", cookies), None, "names are case-sensitive");
    }

    #[test]
    fn headers_are_found_in_any_case() {
        assert_eq!(value("header.X-User", "", &[("x-user", b"7"), ("x-user", b"8")]).unwrap(), b"7");
    }

    #[test]
    fn what_no_request_has_is_not_a_variable() {
        for (text, message) in [
            ("stream", "{stream} is none of {path.NAME}, {query.NAME}, {cookie.NAME} and {header.NAME}"),
            ("env.HOME", "{env.HOME} is none of {path.NAME}, {query.NAME}, {cookie.NAME} and {header.NAME}"),
            ("claim.sub", "{claim.sub} needs `auth = \"jwt\"`, which is not in this version"),
            ("query.", "{query.} is not a name that a request can have"),
            ("header.X User", "{header.X User} is not a name that a request can have"),
        ] {
            assert_eq!(Variable::parse(text).unwrap_err().to_string(), message);
        }
    }
}
