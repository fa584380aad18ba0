//! The head of an answer, which is read less strictly than a request's: nobody behind us reads it too,
//! and everything about it that matters is written anew.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::field::Field;
use super::gate::number;
use super::head::{Head, Index, place, version_of};
use super::{Length, is_bodyless};

/// The most lines of an answer's head.
const MAX_LINES: usize = 300;

/// What the first line of an answer says.
#[derive(Clone, Debug)]
pub struct StatusLine {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    reason: Range<u32>,
}

/// The head of an answer.
pub type AnswerHead = Head<StatusLine>;

impl AnswerHead {
    /// Splits the bytes of a head, up to and with the empty line.
    ///
    /// # Errors
    /// When they are none of an answer; in words that end a sentence.
    pub fn parse(bytes: Bytes) -> Result<Self, String> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_LINES];
        let mut answer = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut answer, &bytes, &mut room);
        let parsed = parsed.map_err(|error| match error {
            httparse::Error::TooManyHeaders => format!("its head has more than {MAX_LINES} lines"),
            other => format!("its head cannot be read ({other})"),
        })?;
        let (Some(code), Some(version), false) = (answer.code, answer.version, parsed.is_partial()) else {
            return Err("its head cannot be read".into());
        };
        let reason = answer.reason.map_or(0..0, |reason| match reason.is_empty() {
            // `httparse` gives an empty text of its own.
            true => 0..0,
            false => place(&bytes, reason.as_bytes()),
        });
        let start = StatusLine {
            status: StatusCode::from_u16(code).map_err(|_| format!("its status is {code}"))?,
            version: version_of(version),
            reason,
        };
        let index = Index::of(&bytes, answer.headers);
        Ok(Self { start, bytes, index })
    }

    /// What stands behind the status, if anything does.
    pub fn reason(&self) -> &[u8] {
        self.part(&self.start.reason)
    }

    /// How the end of the body is found, in the answer to a request with `method` (RFC 9112 section 6.3).
    ///
    /// # Errors
    /// When it could be read in two ways; in words that end a sentence.
    pub fn length(&self, method: &Method) -> Result<Length, String> {
        let stated = self.stated_length()?;
        let chunked = self.is_chunked()?;
        if chunked && stated.is_some() {
            return Err("it has both Transfer-Encoding and Content-Length".into());
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
    pub fn stated_length(&self) -> Result<Option<u64>, String> {
        let mut stated = None;
        for value in self.values(Field::ContentLength) {
            let text = || String::from_utf8_lossy(value);
            let length = number(value).ok_or_else(|| format!("its Content-Length is {:?}", text()))?;
            if stated.replace(length).is_some_and(|other| other != length) {
                return Err(format!("it has two Content-Lengths, the second of which is {:?}", text()));
            }
        }
        Ok(stated)
    }

    fn is_chunked(&self) -> Result<bool, String> {
        let mut codings = self.values(Field::TransferEncoding);
        let Some(coding) = codings.next() else { return Ok(false) };
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            let coding = String::from_utf8_lossy(coding);
            return Err(format!("its Transfer-Encoding is {coding:?}, where only \"chunked\" is understood"));
        }
        if self.start.version == Version::HTTP_10 {
            return Err("it has a Transfer-Encoding, which HTTP/1.0 has not".into());
        }
        Ok(true)
    }

    /// Whether the connection can be used again afterwards (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        self.start.version == Version::HTTP_11 && !self.lists(Field::Connection, b"close")
    }
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
            (&["Transfer-Encoding: Chunked"], Length::Chunked),
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
            &["Content-Length: 1, 1"],
            &["Content-Length: -1"],
            &["Content-Length: 99999999999999999999"],
            &["Transfer-Encoding: chunked", "Content-Length: 5"],
            &["Transfer-Encoding: gzip, chunked"],
            &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ] {
            assert!(head(lines).length(&Method::GET).is_err(), "{lines:?}");
        }
        let old =
            AnswerHead::parse(Bytes::from_static(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
                .unwrap();
        assert!(old.length(&Method::GET).is_err());
    }

    #[test]
    fn a_reason_is_kept_or_missing() {
        assert_eq!(head(&["A: b"]).reason(), b"Fine so far");
        for text in ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 200 \nA: b\n\n"] {
            assert_eq!(AnswerHead::parse(text.into()).unwrap().reason(), b"", "{text:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_in_words() {
        for (text, told) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", "its head cannot be read (invalid HTTP version)"),
            ("HTTP/1.1 099 X\r\n\r\n", "its status is 99"),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "its head cannot be read (invalid header name)"),
        ] {
            assert_eq!(AnswerHead::parse(text.into()).unwrap_err(), told, "{text:?}");
        }
    }
}
