//! What ties a connection to one client: schemes that authenticate the connection and not the request.

use crate::http1::{AnswerHead, Field, RequestHead, elements};

/// Whether a request begins, or goes on with, the authentication of its connection.
pub(in crate::proxy) fn is_tied_by_request(head: &RequestHead) -> bool {
    head.values(Field::Authorization).any(is_of_connection)
}

/// Whether an answer offers that, goes on with it, or says that it lasts (`Persistent-Auth`, which IIS sends).
pub(in crate::proxy) fn is_tied_by_answer(head: &AnswerHead) -> bool {
    let lasts = || head.values(Field::PersistentAuth).any(|value| value.eq_ignore_ascii_case(b"true"));
    head.values(Field::WwwAuthenticate).flat_map(elements).any(is_of_connection) || lasts()
}

/// Whether a challenge, or the answer to one, is of a scheme that authenticates the connection.
pub(super) fn is_of_connection(challenge: &[u8]) -> bool {
    let scheme = challenge.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let schemes: [&[u8]; 4] = [b"ntlm", b"negotiate", b"kerberos", b"nego2"];
    schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    #[test]
    fn some_schemes_authenticate_the_connection_and_most_do_not() {
        for (line, expected) in [
            ("Authorization: NTLM TlRMTVNTUAAB", true),
            ("Authorization: negotiate YII", true),
            ("Authorization: Basic eDp5", false),
            ("Authorization: Bearer negotiate", false),
            ("X-Authorization: NTLM a", false),
        ] {
            assert_eq!(is_tied_by_request(&request("1.1", "/", &[line])), expected, "{line}");
        }
        for (line, expected) in [
            ("WWW-Authenticate: NTLM", true),
            ("WWW-Authenticate: Basic realm=\"a\", Negotiate", true),
            ("www-authenticate: Negotiate oRQwEqADCgEB", true),
            ("Persistent-Auth: true", true),
            ("Persistent-Auth: false", false),
            ("WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"", false),
        ] {
            let head = format!("HTTP/1.1 401 Unauthorized\r\n{line}\r\n\r\n");
            assert_eq!(is_tied_by_answer(&AnswerHead::parse(head.into()).unwrap()), expected, "{line}");
        }
    }
}
