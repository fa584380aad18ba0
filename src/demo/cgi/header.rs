//! A script's answer, up to the blank line (RFC 3875, section 6).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::http1::Field;

/// The most bytes that a script's header may have.
pub(super) const MAX_HEADER: usize = 16 << 10;

/// What a script asks the server to do.
#[derive(Debug, PartialEq)]
pub(super) enum Head {
    /// To send this, with the body that follows (6.2.1, 6.2.3, 6.2.4).
    Response(StatusCode, HeaderMap),
    /// To answer as if this path had been asked for (6.2.2).
    LocalRedirect(String),
}

/// What is wrong with a script's answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::demo) enum BadHeader {
    /// The script ended before the blank line.
    #[error("the script ended before its header did; a blank line must follow the header")]
    CutOff,
    /// There is no end to it.
    #[error("the script's header has more than {MAX_HEADER} bytes")]
    TooLarge,
    /// A line that is not `Name: value`.
    #[error("the script's header has the line {0:?}, which is not of the form `Name: value`")]
    Line(String),
    /// Not a status.
    #[error("the script's `Status: {0}` does not begin with three digits from 200 to 599")]
    Status(String),
    /// One of `Status`, `Location`, `Content-Type` twice.
    #[error("the script's header has `{0}` twice")]
    Twice(HeaderName),
    /// None of the fields that make it an answer.
    #[error("the script's header has neither `Content-Type` nor `Location`")]
    NoContentType,
}

/// Where the header ends: the length of the header with, and the place behind, its blank line.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    loop {
        let length = bytes[line..].iter().position(|&byte| byte == b'\n')?;
        if matches!(&bytes[line..line + length], b"" | b"\r") {
            return Some(line + length + 1);
        }
        line += length + 1;
    }
}

/// Reads a header; lines end with LF or CRLF.
pub(super) fn parse(block: &[u8]) -> Result<Head, BadHeader> {
    let mut fields = HeaderMap::new();
    let mut status = None;
    for line in block.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = field(line)?;
        let single = matches!(name.as_str(), "status" | "location" | "content-type");
        if single && (fields.contains_key(&name) || name == "status" && status.is_some()) {
            return Err(BadHeader::Twice(name));
        }
        if name == "status" {
            status = Some(status_code(&value)?);
        } else if !belongs_to_the_connection(&name) {
            fields.append(name, value);
        }
    }
    head(status, fields)
}

fn head(status: Option<StatusCode>, fields: HeaderMap) -> Result<Head, BadHeader> {
    let location = fields.get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(path) = location.filter(|location| location.starts_with('/'))
        && status.is_none()
    {
        return Ok(Head::LocalRedirect(path.to_owned()));
    }
    let redirect = location.is_some();
    let status = status.unwrap_or(if redirect { StatusCode::FOUND } else { StatusCode::OK });
    let needs_type = !redirect && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    if needs_type && !fields.contains_key(header::CONTENT_TYPE) {
        return Err(BadHeader::NoContentType);
    }
    Ok(Head::Response(status, fields))
}

fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), BadHeader> {
    let bad = || BadHeader::Line(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned());
    let colon = line.iter().position(|&byte| byte == b':').ok_or_else(bad)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| bad())?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| bad())?;
    Ok((name, value))
}

fn status_code(value: &HeaderValue) -> Result<StatusCode, BadHeader> {
    let bad = || BadHeader::Status(String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (digits, rest) = value.as_bytes().split_at_checked(3).ok_or_else(bad)?;
    if !matches!(rest.first(), None | Some(b' ')) {
        return Err(bad());
    }
    StatusCode::from_bytes(digits).ok().filter(|status| (200..600).contains(&status.as_u16())).ok_or_else(bad)
}

/// How the bytes are framed between server and client is the server's business (6.3.4).
fn belongs_to_the_connection(name: &HeaderName) -> bool {
    *name == http::header::CONTENT_LENGTH || Field::of(name.as_str().as_bytes()).is_for_one_hop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_header_ends_with_a_blank_line_of_either_kind() {
        assert_eq!(end(b"A: b\n\nbody\n\n"), Some(6));
        assert_eq!(end(b"A: b\r\n\r\nbody"), Some(8));
        assert_eq!(end(b"A: b\n\r\nbody"), Some(7));
        assert_eq!(end(b"\nbody"), Some(1));
        assert_eq!(end(b"A: b\nC: d\n"), None);
        assert_eq!(end(b""), None);
    }

    #[test]
    fn a_document_is_200_unless_it_says_otherwise() {
        assert_eq!(
            parse(b"Content-Type: text/plain\nX-One: 1\n\n"),
            Ok(Head::Response(StatusCode::OK, fields(&[("content-type", "text/plain"), ("x-one", "1")])))
        );
        assert_eq!(
            parse(b"Status: 404 Not Found\r\nContent-Type:text/plain\r\n\r\n"),
            Ok(Head::Response(StatusCode::NOT_FOUND, fields(&[("content-type", "text/plain")])))
        );
        assert_eq!(parse(b"Status: 204\n\n"), Ok(Head::Response(StatusCode::NO_CONTENT, HeaderMap::new())));
    }

    #[test]
    fn a_location_is_a_redirect_for_the_client_or_within_the_server() {
        assert_eq!(parse(b"Location: /a?b=c\n\n"), Ok(Head::LocalRedirect("/a?b=c".to_owned())));
        assert_eq!(
            parse(b"Location: http://example.org/\n\n"),
            Ok(Head::Response(StatusCode::FOUND, fields(&[("location", "http://example.org/")])))
        );
        assert_eq!(
            parse(b"Status: 303 See Other\nLocation: /a\n\n"),
            Ok(Head::Response(StatusCode::SEE_OTHER, fields(&[("location", "/a")])))
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(parse(b"X-One: 1\n\n"), Err(BadHeader::NoContentType));
        assert_eq!(parse(b"\n"), Err(BadHeader::NoContentType));
        assert_eq!(parse(b"<html>\n\n"), Err(BadHeader::Line("<html>".to_owned())));
        assert_eq!(parse(b"A: b\n c\n\n"), Err(BadHeader::Line(" c".to_owned())));
        assert_eq!(parse(b"A : b\n\n"), Err(BadHeader::Line("A : b".to_owned())));
        for status in ["OK", "20", "2000", "099", "100 Continue", "600"] {
            let header = format!("Status: {status}\nContent-Type: text/plain\n\n");
            assert_eq!(parse(header.as_bytes()), Err(BadHeader::Status(status.to_owned())));
        }
        assert_eq!(
            parse(b"Content-Type: a/b\nContent-Type: c/d\n\n"),
            Err(BadHeader::Twice(header::CONTENT_TYPE))
        );
        assert!(matches!(parse(b"Status: 200\nStatus: 200\n\n"), Err(BadHeader::Twice(_))));
    }

    #[test]
    fn a_script_cannot_meddle_with_the_framing() {
        assert_eq!(
            parse(b"Content-Type: a/b\nContent-Length: 5\nTransfer-Encoding: chunked\nConnection: close\n\n"),
            Ok(Head::Response(StatusCode::OK, fields(&[("content-type", "a/b")])))
        );
    }
}
