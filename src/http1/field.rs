//! The headers that mean something to whoever passes a message on.

/// The length of the longest name that is known.
const LONGEST: usize = b"transfer-encoding".len();

/// What a header's name says to us. Most say nothing, and pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// `Accept` (RFC 9110 section 12.5.1).
    Accept,
    /// `Accept-Encoding` (RFC 9110 section 12.5.3).
    AcceptEncoding,
    /// `Authorization` (RFC 9110 section 11.6.2).
    Authorization,
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
    /// `Max-Forwards` (RFC 9110 section 7.6.2).
    MaxForwards,
    /// `Persistent-Auth`, by which IIS says that a connection stays authenticated.
    PersistentAuth,
    /// `TE` (RFC 9110 section 10.1.4).
    Te,
    /// `Trailer` (RFC 9110 section 6.6.2).
    Trailer,
    /// `Transfer-Encoding` (RFC 9112 section 6.1).
    TransferEncoding,
    /// `Upgrade` (RFC 9110 section 7.8).
    Upgrade,
    /// `WWW-Authenticate` (RFC 9110 section 11.6.1).
    WwwAuthenticate,
    /// Any other.
    Other,
}

impl Field {
    /// The field of this name, in any case.
    pub fn of(name: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"accept" => Self::Accept,
            b"accept-encoding" => Self::AcceptEncoding,
            b"authorization" => Self::Authorization,
            b"connection" => Self::Connection,
            b"content-length" => Self::ContentLength,
            b"content-type" => Self::ContentType,
            b"date" => Self::Date,
            b"expect" => Self::Expect,
            b"host" => Self::Host,
            b"keep-alive" => Self::KeepAlive,
            b"max-forwards" => Self::MaxForwards,
            b"persistent-auth" => Self::PersistentAuth,
            b"te" => Self::Te,
            b"trailer" => Self::Trailer,
            b"transfer-encoding" => Self::TransferEncoding,
            b"upgrade" => Self::Upgrade,
            b"www-authenticate" => Self::WwwAuthenticate,
            _ => Self::Other,
        }
    }
}

impl Field {
    /// Whether it is said from one hop to the next (RFC 9110 section 7.6.1), or tells that hop where a body ends
    /// that comes in chunks.
    pub fn is_for_one_hop(self) -> bool {
        match self {
            Self::Connection | Self::KeepAlive | Self::Te | Self::Trailer => true,
            Self::TransferEncoding | Self::Upgrade => true,
            Self::Accept | Self::AcceptEncoding | Self::Authorization | Self::ContentLength => false,
            Self::ContentType | Self::Date | Self::Expect | Self::Host | Self::MaxForwards => false,
            Self::PersistentAuth | Self::WwwAuthenticate | Self::Other => false,
        }
    }
}

/// Some fields, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields(u32);

// `Other` is the last; without a bit of its own, a field would be taken for another.
const _: () = assert!((Field::Other as u32) < u32::BITS);

impl Fields {
    pub(super) fn add(&mut self, field: Field) {
        self.0 |= 1 << field as u32;
    }

    pub(super) fn has(self, field: Field) -> bool {
        self.0 & 1 << field as u32 != 0
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
            ("Max-Forwards", Field::MaxForwards),
            ("Content-Type", Field::ContentType),
            ("Content-Length", Field::ContentLength),
            ("Authorization", Field::Authorization),
            ("Persistent-Auth", Field::PersistentAuth),
            ("WWW-Authenticate", Field::WwwAuthenticate),
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

    #[test]
    fn a_set_holds_what_was_added_and_nothing_else() {
        let mut fields = Fields::default();

        fields.add(Field::Accept);
        fields.add(Field::Other);

        assert!(fields.has(Field::Accept) && fields.has(Field::Other));
        assert!(!fields.has(Field::AcceptEncoding) && !fields.has(Field::Upgrade));
    }
}
