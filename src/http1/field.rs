//! The headers that mean something to whoever passes a message on.

/// What a header's name says to us. Most say nothing, and pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// `Accept` (RFC 9110 section 12.5.1).
    Accept,
    /// `Accept-Encoding` (RFC 9110 section 12.5.3).
    AcceptEncoding,
    /// `Connection` (RFC 9110 section 7.6.1).
    Connection,
    /// `Content-Length` (RFC 9110 section 8.6).
    ContentLength,
    /// `Content-Type` (RFC 9110 section 8.3).
    ContentType,
    /// `Date` (RFC 9110 section 6.6.1).
    Date,
    /// `Expect` (RFC 9110 section 10.1.1).
    Expect,
    /// `Host` (RFC 9110 section 7.2).
    Host,
    /// `Keep-Alive`, of which HTTP/1.0 knew (RFC 9112 section C.2.2).
    KeepAlive,
    /// `TE` (RFC 9110 section 10.1.4).
    Te,
    /// `Trailer` (RFC 9110 section 6.6.2).
    Trailer,
    /// `Transfer-Encoding` (RFC 9112 section 6.1).
    TransferEncoding,
    /// `Upgrade` (RFC 9110 section 7.8).
    Upgrade,
    /// Any other.
    Other,
}

impl Field {
    /// The field of this name, in any case.
    pub fn of(name: &[u8]) -> Self {
        // The length decides between all but a few, so that one comparison is enough for most names.
        let (written, field): (&[u8], Self) = match name.len() {
            2 => (b"te", Self::Te),
            4 if matches!(name[0], b'h' | b'H') => (b"host", Self::Host),
            4 => (b"date", Self::Date),
            6 if matches!(name[0], b'a' | b'A') => (b"accept", Self::Accept),
            6 => (b"expect", Self::Expect),
            7 if matches!(name[0], b't' | b'T') => (b"trailer", Self::Trailer),
            7 => (b"upgrade", Self::Upgrade),
            10 if matches!(name[0], b'c' | b'C') => (b"connection", Self::Connection),
            10 => (b"keep-alive", Self::KeepAlive),
            12 => (b"content-type", Self::ContentType),
            14 => (b"content-length", Self::ContentLength),
            15 => (b"accept-encoding", Self::AcceptEncoding),
            17 => (b"transfer-encoding", Self::TransferEncoding),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(written) { field } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_no_other_is() {
        for (name, field) in [
            ("TE", Field::Te),
            ("host", Field::Host),
            ("Date", Field::Date),
            ("ACCEPT", Field::Accept),
            ("Expect", Field::Expect),
            ("Trailer", Field::Trailer),
            ("upgrade", Field::Upgrade),
            ("Connection", Field::Connection),
            ("Keep-Alive", Field::KeepAlive),
            ("Content-Type", Field::ContentType),
            ("Content-Length", Field::ContentLength),
            ("Accept-Encoding", Field::AcceptEncoding),
            ("Transfer-Encoding", Field::TransferEncoding),
            ("Cookie", Field::Other),
            ("Hose", Field::Other),
            ("Content-Length2", Field::Other),
            ("", Field::Other),
        ] {
            assert_eq!(Field::of(name.as_bytes()), field, "{name}");
        }
    }
}
