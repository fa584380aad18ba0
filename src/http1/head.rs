//! A message's head, in the bytes in which it came.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::field::{Field, Fields};
use super::refusal::{MAX_LINES, Refusal};
use super::value::{begins, elements, number, strip_start};

/// A message's head. `S` is what its first line says.
#[derive(Clone, Debug)]
pub struct Head<S> {
    /// What the first line says.
    pub start: S,
    pub(super) bytes: Bytes,
    pub(super) index: Index,
}

/// Where the lines of a head are.
#[derive(Clone, Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    /// Those of the lines: most that are asked for are not there.
    fields: Fields,
}

/// Where a line is.
#[derive(Clone, Debug)]
pub(super) struct Line {
    field: Field,
    name: Range<u32>,
    value: Range<u32>,
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// What its name says to us.
    pub field: Field,
    /// Its name, as it was written.
    pub name: &'a [u8],
    /// Its value, without blanks around it.
    pub value: &'a [u8],
}

impl Index {
    /// Of the lines that `httparse` has found in `bytes`.
    pub(super) fn of(bytes: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let mut fields = Fields::default();
        let line = |header: &httparse::Header<'_>| {
            let (name, value) = (header.name.as_bytes(), header.value);
            let field = Field::of(name);
            fields.add(field);
            Line { field, name: place(bytes, name), value: place(bytes, value) }
        };
        Self { lines: headers.iter().map(line).collect(), fields }
    }
}

impl<S> Head<S> {
    /// The bytes at `place`.
    pub(super) fn part(&self, place: &Range<u32>) -> &[u8] {
        &self.bytes[place.start as usize..place.end as usize]
    }

    /// The lines in their order.
    pub fn lines(&self) -> impl Iterator<Item = Header<'_>> {
        self.index.lines.iter().map(|line| Header {
            field: line.field,
            name: self.part(&line.name),
            value: self.part(&line.value),
        })
    }

    /// The values of all lines of a field.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        let lines = if self.has(field) { &self.index.lines[..] } else { &[] };
        lines.iter().filter(move |line| line.field == field).map(|line| self.part(&line.value))
    }

    /// The values of all lines with a name, in any case, that is no [`Field`].
    pub fn named(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it = move |line: &Header<'_>| line.name.eq_ignore_ascii_case(name.as_bytes());
        self.lines().filter(is_it).map(|line| line.value)
    }

    /// Whether there is a line of a field.
    pub fn has(&self, field: Field) -> bool {
        self.index.fields.has(field)
    }

    /// Whether a list in the lines of a field holds `token`, in any case.
    pub fn lists(&self, field: Field, token: &[u8]) -> bool {
        self.values(field).flat_map(elements).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// The lines as a map, for those who look up many.
    pub fn map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.index.lines.len());
        for line in self.lines() {
            // What `httparse` takes for a name and a value, these take too.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(line.name), HeaderValue::from_bytes(line.value))
            {
                map.append(name, value);
            }
        }
        map
    }

    /// How many bytes it came in.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// What the first line of a request says.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// In which version it came. What it came in decides about chunks and `Via`.
    pub version: Version,
    target: Range<u32>,
    /// The target with bytes beyond ASCII percent-encoded, if it has any.
    escaped: Option<Box<str>>,
}

/// The head of a request.
pub type RequestHead = Head<RequestLine>;

impl RequestHead {
    /// Splits the bytes of a head, up to and with the empty line.
    ///
    /// # Errors
    /// When they are none of a request.
    pub fn parse(bytes: Bytes) -> Result<Self, Refusal> {
        Self::parse_or_quote(bytes).map_err(|(refusal, _)| refusal)
    }

    fn split(bytes: &[u8]) -> Result<(RequestLine, Index), Refusal> {
        Self::split_utf8(bytes).or_else(|refusal| match target_place(bytes) {
            // The parser wants UTF-8 there, which links of old pages are not.
            Some(target) if std::str::from_utf8(&bytes[target.clone()]).is_err() => {
                let mut masked = bytes.to_vec();
                masked[target].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'x');
                Self::split_utf8(&masked)
            }
            None if has_spaces(bytes) => Err(Refusal::Space),
            _ => Err(refusal),
        })
    }

    fn split_utf8(bytes: &[u8]) -> Result<(RequestLine, Index), Refusal> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_LINES];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut room).map_err(Refusal::of)?;
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(Refusal::Head);
        };
        if parsed.is_partial() {
            return Err(Refusal::Head);
        }
        let start = RequestLine {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Head)?,
            version: version_of(version),
            target: place(bytes, target.as_bytes()),
            escaped: None,
        };
        let index = Index::of(bytes, request.headers);
        Ok((start, index))
    }

    /// The same, with the first line for whoever is to know what it was.
    pub(super) fn parse_or_quote(bytes: Bytes) -> Result<Self, (Refusal, Box<str>)> {
        match Self::split(&bytes) {
            Ok((mut start, index)) => {
                let target = &bytes[start.target.start as usize..start.target.end as usize];
                start.escaped = Some(target).filter(|target| !target.is_ascii()).map(escaped);
                Ok(Self { start, bytes, index })
            }
            Err(refusal) => Err((refusal, first_line(&bytes))),
        }
    }

    /// The target as the client wrote it: without control characters and blanks, or the gate refuses it.
    pub fn full_target(&self) -> &[u8] {
        self.part(&self.start.target)
    }

    /// The host of a target in absolute form (RFC 9112 section 3.2.2), with its port. A user name stays in it,
    /// and the gate refuses that as no host (RFC 9110 section 4.2.4).
    pub fn authority(&self) -> Option<&[u8]> {
        absolute(self.full_target()).map(|(authority, _)| authority)
    }

    /// The target in origin form: path and query, or the `*` of `OPTIONS`.
    pub fn target(&self) -> Target<'_> {
        self.in_origin_form(self.full_target())
    }

    /// The target in origin form, with bytes beyond ASCII percent-encoded.
    fn text_target(&self) -> Target<'_> {
        match &self.start.escaped {
            None => self.target(),
            Some(escaped) => self.in_origin_form(escaped.as_bytes()),
        }
    }

    fn in_origin_form<'a>(&self, full: &'a [u8]) -> Target<'a> {
        match absolute(full) {
            None => Target { slash: b"", rest: full },
            Some((_, rest)) if rest.starts_with(b"/") => Target { slash: b"", rest },
            // It asks about the site as a whole (RFC 9112 section 3.2.4).
            Some((_, b"")) if self.start.method == Method::OPTIONS => Target { slash: b"", rest: b"*" },
            Some((_, rest)) => Target { slash: b"/", rest },
        }
    }

    /// The path, as it was written, but that bytes beyond ASCII are percent-encoded.
    pub fn path(&self) -> &str {
        match self.text_target().split().0 {
            b"" => "/",
            path => text(path),
        }
    }

    /// The query, as it was written, but that bytes beyond ASCII are percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.text_target().split().1.map(text)
    }

    /// How many proxies may still pass the request on, for the two methods that count them (RFC 9110 section 7.6.2).
    pub fn max_forwards(&self) -> Option<u64> {
        let counts = matches!(self.start.method, Method::OPTIONS | Method::TRACE);
        self.values(Field::MaxForwards).next().filter(|_| counts).and_then(number)
    }

    /// Whether the client wants to use the connection again (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        let says = |option| self.lists(Field::Connection, option);
        !says(b"close") && (self.start.version == Version::HTTP_11 || says(b"keep-alive"))
    }
}

/// A target in origin form, which an absolute one without a path lacks the slash for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    slash: &'static [u8],
    rest: &'a [u8],
}

impl<'a> Target<'a> {
    /// Its two parts, one behind the other.
    pub fn parts(&self) -> [&'a [u8]; 2] {
        [self.slash, self.rest]
    }

    /// What stands before the first question mark, and behind it.
    fn split(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match memchr::memchr(b'?', self.rest) {
            Some(at) => (&self.rest[..at], Some(&self.rest[at + 1..])),
            None => (self.rest, None),
        }
    }
}

/// As it was written, but that bytes beyond ASCII are percent-encoded.
impl std::fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(text(self.slash))?;
        if self.rest.is_ascii() { f.write_str(text(self.rest)) } else { f.write_str(&escaped(self.rest)) }
    }
}

/// A target with bytes beyond ASCII percent-encoded: to most servers that is the same.
fn escaped(target: &[u8]) -> Box<str> {
    percent_encoding::percent_encode(target, &percent_encoding::AsciiSet::EMPTY).collect::<String>().into()
}

/// Where the target is in the bytes of a head; `None` if the first line does not have two blanks.
fn target_place(head: &[u8]) -> Option<Range<usize>> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let mut blanks = memchr::memchr_iter(b' ', line);
    let (first, second) = (blanks.next()?, blanks.next()?);
    blanks.next().is_none().then_some(first + 1..second)
}

/// Whether a first line is one but for blanks within its target.
fn has_spaces(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let (Some(first), Some(last)) = (memchr::memchr(b' ', line), memchr::memrchr(b' ', line)) else {
        return false;
    };
    let target = &line[first..=last];
    let is_request = begins(&line[last + 1..], b"HTTP/1.") && target.get(1).is_some_and(|byte| *byte != b' ');
    is_request && target.len() > 1 && memchr::memchr(b' ', &target[1..target.len() - 1]).is_some()
}

/// The authority of a URL, and what follows it.
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.starts_with(b"/") {
        return None;
    }
    let rest = strip_start(target, b"http://").or_else(|| strip_start(target, b"https://"))?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// A part of a target, which is visible ASCII.
fn text(part: &[u8]) -> &str {
    std::str::from_utf8(part).unwrap_or_default()
}

/// HTTP/1.0 or HTTP/1.1: `httparse` takes no other.
pub(super) fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Where `part` is in `bytes`, of which it is a part. Heads are far shorter than 4 GiB.
pub(super) fn place(bytes: &[u8], part: &[u8]) -> Range<u32> {
    let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

/// The first line of what came, without what could harm a log or a terminal, and no longer than a person reads.
pub(super) fn first_line(bytes: &[u8]) -> Box<str> {
    const MOST: usize = 120;
    // Without the query, in which a secret may stand.
    let end = memchr::memchr3(b'\r', b'\n', b'?', bytes).unwrap_or(bytes.len());
    let line = &bytes[..end.min(MOST)];
    let dots = if end > MOST || bytes.get(end) == Some(&b'?') { "..." } else { "" };
    format!("{}{dots}", line.escape_ascii()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> RequestHead {
        RequestHead::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn lines_are_found_as_they_were_written() {
        let head = head("GET /a?b=c HTTP/1.1\r\nHost: x\r\ncOOkie:  a=1; b \r\nEmpty:\r\n\r\n");

        let lines: Vec<_> = head.lines().map(|line| (line.field, line.name, line.value)).collect();
        assert_eq!(
            lines,
            [
                (Field::Host, &b"Host"[..], &b"x"[..]),
                (Field::Other, b"cOOkie", b"a=1; b"),
                (Field::Other, b"Empty", b""),
            ]
        );
        assert_eq!((head.path(), head.query()), ("/a", Some("b=c")));
    }

    #[test]
    fn a_url_is_a_host_and_a_target() {
        for (target, authority, origin, path, query) in [
            ("/a?b", None, "/a?b", "/a", Some("b")),
            ("//a/b", None, "//a/b", "//a/b", None),
            ("*", None, "*", "*", None),
            ("http://h", Some("h"), "/", "/", None),
            ("HTTP://u:p@h:80?b", Some("u:p@h:80"), "/?b", "/", Some("b")),
            ("https://h/a?b?c", Some("h"), "/a?b?c", "/a", Some("b?c")),
            ("ftp://h/a", None, "ftp://h/a", "ftp://h/a", None),
        ] {
            let head = head(&format!("GET {target} HTTP/1.1\r\n\r\n"));

            assert_eq!(head.authority(), authority.map(str::as_bytes), "{target}");
            assert_eq!(head.target().to_string(), origin, "{target}");
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn a_target_beyond_ascii_passes_as_it_came_and_is_looked_at_percent_encoded() {
        let head = RequestHead::parse(Bytes::from_static(
            b"GET http://h/\xfc\xc3\xbc%FF?q=\xe4 HTTP/1.1\r\nHost: x\r\n\r\n",
        ));

        let head = head.unwrap();
        assert_eq!(head.target().parts().concat(), b"/\xfc\xc3\xbc%FF?q=\xe4");
        assert_eq!((head.path(), head.query()), ("/%FC%C3%BC%FF", Some("q=%E4")));
        assert_eq!(head.target().to_string(), "/%FC%C3%BC%FF?q=%E4");
    }

    #[test]
    fn a_connection_is_kept_unless_somebody_says_otherwise() {
        for (version, line, kept) in [
            ("1.1", "X: y", true),
            ("1.1", "Connection: foo, Close", false),
            ("1.0", "X: y", false),
            ("1.0", "Connection: Keep-Alive", true),
            ("1.0", "Connection: keep-alive, close", false),
        ] {
            let head = head(&format!("GET / HTTP/{version}\r\n{line}\r\n\r\n"));

            assert_eq!(head.keeps_alive(), kept, "{version} {line}");
        }
    }
}
