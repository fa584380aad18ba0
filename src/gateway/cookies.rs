//! The cookies of a client after an answer that changed them, as the client would send them.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::http1::{Header, Lines, RequestHead};
use crate::proxy::Asked;

/// The client's request with the cookies that it has since an answer with these `Set-Cookie` values.
pub(super) fn changed<'a>(asked: &Asked, set: impl Iterator<Item = &'a [u8]>) -> Asked {
    let changes: Vec<_> = set.filter_map(|value| Change::read(value, asked.path())).collect();
    if changes.is_empty() {
        return asked.clone();
    }
    let is_cookie = |line: &Header<'_>| line.name.eq_ignore_ascii_case(b"cookie");
    let mut cookies: Vec<(&[u8], &[u8])> =
        asked.head.named("cookie").flat_map(|line| line.split(|&byte| byte == b';')).map(pair).collect();
    for change in &changes {
        cookies.retain(|(name, _)| *name != change.name);
        cookies.extend(change.value.map(|value| (change.name, value)));
    }
    let mut first = asked.method().as_str().as_bytes().to_vec();
    first.push(b' ');
    first.extend_from_slice(asked.head.full_target());
    first.extend_from_slice(b" HTTP/1.1\r\n");
    let mut lines = Lines::after(first);
    asked.head.lines().filter(|line| !is_cookie(line)).for_each(|line| lines.copy(line));
    if !cookies.is_empty() {
        let pairs: Vec<_> = cookies.iter().map(|(name, value)| join(name, value)).collect();
        lines.add("Cookie", &pairs.join(&b"; "[..]));
    }
    match RequestHead::parse(Bytes::from(lines.into_head())) {
        Ok(head) => Asked { head: Arc::new(head), ..asked.clone() },
        // It was parsed before, but for a line that is one by its making.
        Err(_) => asked.clone(),
    }
}

/// What one `Set-Cookie` does to a client's cookies.
struct Change<'a> {
    name: &'a [u8],
    /// `None`: the cookie goes.
    value: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// `None`: nothing to the request for `path` (RFC 6265 section 5.2).
    fn read(set_cookie: &'a [u8], path: &str) -> Option<Self> {
        let mut parts = set_cookie.split(|&byte| byte == b';');
        let (name, value) = pair(parts.next()?);
        if name.is_empty() {
            return None;
        }
        let (mut until, mut max_age) = (None, None);
        for (attribute, text) in parts.map(pair) {
            let text = std::str::from_utf8(text).unwrap_or_default();
            if attribute.eq_ignore_ascii_case(b"expires") {
                until = httpdate::parse_http_date(text).ok();
            } else if attribute.eq_ignore_ascii_case(b"max-age") {
                max_age = text.parse::<i64>().ok();
            } else if attribute.eq_ignore_ascii_case(b"path") && !is_below(path, text) {
                return None;
            }
        }
        let is_over = match max_age {
            Some(seconds) => seconds <= 0,
            None => until.is_some_and(|until| until <= SystemTime::now()),
        };
        Some(Self { name, value: (!is_over).then_some(value) })
    }
}

/// Whether a cookie of `folder` goes along with a request for `path` (RFC 6265 section 5.1.4).
fn is_below(path: &str, folder: &str) -> bool {
    let Some(rest) = path.strip_prefix(folder) else { return !folder.starts_with('/') };
    rest.is_empty() || rest.starts_with('/') || folder.ends_with('/')
}

/// The two sides of `name=value`, without blanks around them.
fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (text[..at].trim_ascii(), text[at + 1..].trim_ascii()),
        None => (text.trim_ascii(), b""),
    }
}

fn join(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"=", value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Length;
    use crate::peer::{Endpoint, Peer};
    use crate::proxy::RequestId;

    fn after(cookie: &str, set: &[&str]) -> Vec<String> {
        let head = format!("GET /shop/events?a=b HTTP/1.1\r\nHost: x\r\n{cookie}\r\n");
        let address = Endpoint::Tcp("127.0.0.1:80".parse().unwrap());
        let head = RequestHead::parse(head.into()).unwrap();
        let asked = Asked::new(head, Length::NONE, Peer::plain(address, address), RequestId::generate());
        let changed = changed(&asked, set.iter().map(|value| value.as_bytes()));
        assert_eq!(changed.head.full_target(), b"/shop/events?a=b");
        assert_eq!(changed.head.named("host").count(), 1);
        changed.head.named("cookie").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_cookie_is_added_replaced_or_taken_away() {
        for (cookie, set, expected) in [
            ("Cookie: a=1; b=2\r\n", &[][..], &["a=1; b=2"][..]),
            ("Cookie: a=1; b=2\r\n", &["a=3; Path=/; HttpOnly"], &["b=2; a=3"]),
            ("", &["a=1", "b=2; Secure"], &["a=1; b=2"]),
            ("Cookie: a=1\r\nCookie: b=2\r\n", &["c=3"], &["a=1; b=2; c=3"]),
            ("Cookie: a=1; b=2\r\n", &["a=; Max-Age=0"], &["b=2"]),
            ("Cookie: a=1\r\n", &["a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], &[]),
            ("Cookie: a=1\r\n", &["a=2; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=60"], &["a=2"]),
            ("Cookie: a=1\r\n", &["a=2; Path=/shop", "b=3; path=/shop/events"], &["a=2; b=3"]),
            ("Cookie: a=1\r\n", &["a=2; Path=/sho", "b=3; Path=/admin"], &["a=1"]),
            ("Cookie: a=1\r\n", &["=2", ""], &["a=1"]),
            ("Cookie: a=1\r\n", &["b=x=y"], &["a=1; b=x=y"]),
        ] {
            assert_eq!(after(cookie, set), expected, "{cookie:?} {set:?}");
        }
    }
}
