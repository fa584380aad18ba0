//! Why a message is not taken: a request by the gate, a backend's answer by whoever reads it.

use http::StatusCode;

use super::MAX_HEAD;
use super::excerpt::Excerpt;

/// The most lines of a request's head.
pub(super) const MAX_LINES: usize = 128;

/// The most lines of an answer's head.
pub(super) const MAX_ANSWER_LINES: usize = 300;

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// What came is no head of a request (RFC 9112 section 3 and 5).
    #[error("this is not the head of an HTTP/1.1 request")]
    Head,
    /// A line that does not end in CRLF, which some servers take for an end and others do not.
    #[error("a line of the request's head does not end in CRLF")]
    LineEnd,
    /// More bytes or lines than taken.
    #[error("the request's head is larger than {} KiB or {MAX_LINES} lines", MAX_HEAD >> 10)]
    TooLarge,
    /// More than one blank in the first line: what stands between the first and the last is no target.
    #[error("the request's target has a space in it, which must be written as %20")]
    Space,
    /// A later version, or none.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    /// HTTP/1.1 asks for a `Host` (RFC 9112 section 3.2).
    #[error("the request has no Host header")]
    NoHost,
    /// Several hosts, of which different servers would pick different ones.
    #[error("the request has several Host headers")]
    SeveralHosts,
    /// Not a host and a port.
    #[error("the Host header is not a host name or an address, with or without a port")]
    Host,
    /// Neither a path, nor a URL, nor the `*` of `OPTIONS`; or with bytes that must be escaped.
    #[error("the request's target is not a path or a URL, or has characters that must be percent-encoded")]
    Target,
    /// Only `chunked`, and only in HTTP/1.1 (RFC 9112 section 6.1).
    #[error("the only transfer coding taken is `chunked`, once, in HTTP/1.1")]
    TransferEncoding,
    /// Repeated, together with a transfer coding, or not a number.
    #[error(
        "a Content-Length that is not one plain number, or that stands beside another one or a Transfer-Encoding"
    )]
    ContentLength,
    /// More bytes than anybody can count in a signed number.
    #[error("the Content-Length is larger than {}", i64::MAX)]
    BodyTooLarge,
    /// `Connection` names a header that is not for one hop.
    #[error("the Connection header names a header that is not for one hop only")]
    Connection,
    /// An expectation besides `100-continue` (RFC 9110 section 10.1.1).
    #[error("the only expectation met is `100-continue`")]
    Expectation,
}

impl Refusal {
    /// What the client is told.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NoHost | Self::SeveralHosts | Self::Host => StatusCode::BAD_REQUEST,
            Self::Target | Self::TransferEncoding | Self::ContentLength => StatusCode::BAD_REQUEST,
            Self::Connection | Self::Head | Self::LineEnd | Self::Space => StatusCode::BAD_REQUEST,
        }
    }

    /// Reads the parser's error.
    pub(super) fn of(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::Version => Self::Version,
            httparse::Error::NewLine => Self::LineEnd,
            httparse::Error::HeaderName | httparse::Error::HeaderValue => Self::Head,
            httparse::Error::Status | httparse::Error::Token => Self::Head,
        }
    }
}

/// Why an answer cannot be passed on, in words that end a sentence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadAnswer {
    /// It is no HTTP/1.
    #[error("it does not begin with HTTP/1 but with {0}")]
    Start(Excerpt),
    /// More bytes than taken.
    #[error("its head is longer than {MAX_HEAD} bytes")]
    TooLarge,
    /// More lines than taken.
    #[error("its head has more than {MAX_ANSWER_LINES} lines")]
    TooManyLines,
    /// Its first line has no version, or no status.
    #[error("its first line is {0}")]
    StatusLine(Excerpt),
    /// A line that is no header.
    #[error("its head has the line {0}, which is no header: a name, a colon and a value")]
    Line(Excerpt),
    /// A number that is no status.
    #[error("its status is {0}")]
    Status(u16),
    /// Not a number, or several that differ.
    #[error("its Content-Length is {0}, where one number is understood")]
    ContentLength(Excerpt),
    /// Two lines that differ.
    #[error("it has two Content-Lengths, {0} and {1}")]
    TwoLengths(u64, u64),
    /// Another coding than `chunked`.
    #[error("its Transfer-Encoding is {0}, where only \"chunked\" is understood")]
    TransferEncoding(Excerpt),
    /// Two lines, whatever they say.
    #[error("it has two lines of Transfer-Encoding, the second of which is {0}")]
    TwoCodings(Excerpt),
    /// Two ways to find its end.
    #[error("it has both Transfer-Encoding and Content-Length")]
    TwoEnds,
}
