//! The head of an answer, which is read less strictly than a request's: nobody behind us reads it too,
//! and everything about it that matters is written anew. What is not as it should be goes through `repair`.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::excerpt::Excerpt;
use super::field::Field;
use super::head::{Head, Index, version_of};
use super::refusal::{BadAnswer, MAX_ANSWER_LINES};
use super::repair::repair;
use super::value::{elements, number};
use super::{Length, is_bodyless};

/// What the first line of an answer says.
#[derive(Clone, Debug)]
pub struct StatusLine {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1, or HTTP/0.9 for an answer that is nothing but a body.
    pub version: Version,
    reason: Range<u32>,
}

/// The head of an answer.
pub type AnswerHead = Head<StatusLine>;

impl AnswerHead {
    /// Splits the bytes of a head, up to and with the empty line.
    ///
    /// # Errors
    /// When they are none of an answer, and cannot be read as one in one way only.
    pub fn parse(bytes: Bytes) -> Result<Self, BadAnswer> {
        match Self::split(bytes.clone()) {
            Some(split) => split,
            None => {
                let repaired = Bytes::from(repair(&bytes)?);
                Self::split(repaired).unwrap_or_else(|| Err(BadAnswer::StatusLine(first_line(&bytes))))
            }
        }
    }

    /// The head of an answer of HTTP/0.9, which has none: all that comes is its body.
    pub fn none() -> Self {
        let start = StatusLine { status: StatusCode::OK, version: Version::HTTP_09, reason: 0..0 };
        Self { start, bytes: Bytes::new(), index: Index::of(b"", &[]) }
    }

    /// Splits a head that is as it should be; `None` for any other.
    fn split(bytes: Bytes) -> Option<Result<Self, BadAnswer>> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_ANSWER_LINES];
        let mut answer = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let (code, version) = match config.parse_response_with_uninit_headers(&mut answer, &bytes, &mut room)
        {
            Ok(httparse::Status::Complete(_)) => (answer.code?, answer.version?),
            Err(httparse::Error::TooManyHeaders) => return Some(Err(BadAnswer::TooManyLines)),
            Ok(httparse::Status::Partial) | Err(_) => return None,
        };
        let Ok(status) = StatusCode::from_u16(code) else { return Some(Err(BadAnswer::Status(code))) };
        let index = Index::of(&bytes, answer.headers);
        let start = StatusLine { status, version: version_of(version), reason: reason(&bytes) };
        Some(Ok(Self { start, bytes, index }))
    }

    /// What stands behind the status, if anything does.
    pub fn reason(&self) -> &[u8] {
        self.part(&self.start.reason)
    }

    /// How the end of the body is found, in the answer to a request with `method` (RFC 9112 section 6.3).
    ///
    /// # Errors
    /// When it could be read in two ways.
    pub fn length(&self, method: &Method) -> Result<Length, BadAnswer> {
        let stated = self.stated_length()?;
        let chunked = self.is_chunked()?;
        // As nginx does, whatever the coding says: one of the two may be somebody else's.
        if self.has(Field::TransferEncoding) && stated.is_some() {
            return Err(BadAnswer::TwoEnds);
        }
        let bodyless = is_bodyless(self.start.status) || *method == Method::HEAD;
        Ok(match (bodyless, chunked, stated) {
            (true, ..) => Length::NONE,
            (false, true, _) => Length::Chunked,
            (false, false, Some(length)) => Length::Exactly(length),
            (false, false, None) => Length::UntilClose,
        })
    }

    /// The `Content-Length`, which in the answer to `HEAD` is that of the body that is not sent. One that
    /// is repeated as it was does no harm.
    ///
    /// # Errors
    /// When it is no number, or several.
    pub fn stated_length(&self) -> Result<Option<u64>, BadAnswer> {
        let mut stated = None;
        for value in self.values(Field::ContentLength) {
            let bad = || BadAnswer::ContentLength(Excerpt::of(value));
            let mut numbers = elements(value).map(number);
            let length = numbers.next().flatten().ok_or_else(bad)?;
            if !numbers.all(|other| other == Some(length)) {
                return Err(bad());
            }
            if let Some(other) = stated.replace(length).filter(|other| *other != length) {
                return Err(BadAnswer::TwoLengths(other, length));
            }
        }
        Ok(stated)
    }

    fn is_chunked(&self) -> Result<bool, BadAnswer> {
        let mut lines = self.values(Field::TransferEncoding);
        let Some(line) = lines.next() else { return Ok(false) };
        if let Some(second) = lines.next() {
            return Err(BadAnswer::TwoCodings(Excerpt::of(second)));
        }
        // `identity` is the word of RFC 2616 for no coding at all.
        let mut codings = elements(line).filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        match (codings.next(), codings.next()) {
            (None, _) => Ok(false),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
            _ => Err(BadAnswer::TransferEncoding(Excerpt::of(line))),
        }
    }

    /// Whether it announces a body that it cannot have (RFC 9110 section 8.6): what its sender takes for the end
    /// of the answer is then not what everybody else does.
    pub fn announces_too_much(&self) -> bool {
        let announces = |length: Option<u64>| length.is_some_and(|length| length > 0);
        let told = announces(self.stated_length().unwrap_or_default()) || self.has(Field::TransferEncoding);
        self.start.status == StatusCode::NO_CONTENT && told
    }

    /// Whether the connection can be used again afterwards (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        self.start.version == Version::HTTP_11 && !self.lists(Field::Connection, b"close")
    }
}

/// Where the words behind the status are, in a head that is as it should be.
fn reason(head: &[u8]) -> Range<u32> {
    const STATUS: u32 = b"HTTP/1.1 200".len() as u32;
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let end = (line.len() as u32).max(STATUS);
    // They may hold bytes of any charset.
    (STATUS + 1).min(end)..end
}

fn first_line(head: &[u8]) -> Excerpt {
    Excerpt::of(head.split(|&byte| byte == b'\n').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[&str]) -> AnswerHead {
        let text = format!("HTTP/1.1 200 Fine so far\r\n{}\r\n\r\n", lines.join("\r\n"));
        AnswerHead::parse(text.into()).unwrap()
    }

    #[test]
    fn the_end_of_a_body_is_found_in_one_of_three_ways() {
        for (lines, length) in [
            (&["Content-Length: 12"][..], Length::Exactly(12)),
            (&["Content-Length: 0012", "content-length: 12"], Length::Exactly(12)),
            (&["Content-Length: 12, 12"], Length::Exactly(12)),
            (&["Transfer-Encoding: Chunked"], Length::Chunked),
            (&["Transfer-Encoding: chunked,"], Length::Chunked),
            (&["Transfer-Encoding: identity"], Length::UntilClose),
            (&["Transfer-Encoding: identity, chunked"], Length::Chunked),
            (&["Transfer-Encoding:", " chunked"], Length::Chunked),
            (&["Connection: close"], Length::UntilClose),
        ] {
            assert_eq!(head(lines).length(&Method::GET), Ok(length), "{lines:?}");
            assert_eq!(head(lines).length(&Method::HEAD), Ok(Length::NONE), "{lines:?}");
        }
    }

    #[test]
    fn a_length_that_could_be_two_is_none() {
        for lines in [
            &["Content-Length: 1", "Content-Length: 2"][..],
            &["Content-Length: 1, 2"],
            &["Content-Length: 1 2"],
            &["Content-Length: 1\x0b2"],
            &["Content-Length:"],
            &["Content-Length: -1"],
            &["Content-Length: 99999999999999999999"],
            &["Transfer-Encoding: chunked", "Content-Length: 5"],
            &["Transfer-Encoding: gzip, chunked"],
            &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            &["Transfer-Encoding: identity", "Content-Length: 5"],
            &["Transfer-Encoding: chunked, chunked"],
            &["Transfer-Encoding: chunked\0x"],
        ] {
            assert!(head(lines).length(&Method::GET).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn an_old_server_that_knows_chunks_is_understood_and_its_connection_not_used_again() {
        let head = AnswerHead::parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into()).unwrap();

        assert_eq!(head.length(&Method::GET), Ok(Length::Chunked));
        assert!(!head.keeps_alive());
    }

    #[test]
    fn a_body_is_announced_where_there_can_be_none() {
        let announces = |status: u16, line: &str| {
            let text = format!("HTTP/1.1 {status} X\r\n{line}\r\n\r\n");
            AnswerHead::parse(text.into()).unwrap().announces_too_much()
        };

        assert!(announces(204, "Content-Length: 42") && announces(204, "Transfer-Encoding: chunked"));
        assert!(!announces(204, "Content-Length: 0") && !announces(304, "Content-Length: 42"));
    }

    #[test]
    fn a_reason_is_kept_or_missing() {
        assert_eq!(head(&["A: b"]).reason(), b"Fine so far");
        let latin =
            AnswerHead::parse(Bytes::from_static(b"HTTP/1.1 404 Nicht da, \xfcbrigens\r\n\r\n")).unwrap();
        assert_eq!(latin.reason(), b"Nicht da, \xfcbrigens");
        for text in ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 200 \nA: b\n\n"] {
            assert_eq!(AnswerHead::parse(text.into()).unwrap().reason(), b"", "{text:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_in_words() {
        for (text, told) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", r#"its first line is "SSH-2.0-OpenSSH""#),
            ("HTTP/1.1 099 X\r\n\r\n", "its status is 99"),
            (
                "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
                r#"its head has the line "A b: c", which is no header: a name, a colon and a value"#,
            ),
        ] {
            assert_eq!(AnswerHead::parse(text.into()).unwrap_err().to_string(), told, "{text:?}");
        }
    }
}
