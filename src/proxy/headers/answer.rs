//! A backend's answer on its way to the client.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, Version};

use super::{
    Names, add_via, announce_trailers, ask_websocket, is_control, is_hop_by_hop, means_websocket,
    named_by_connection, trailers_of,
};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Refuses an answer whose length could be read in two ways (RFC 9112 section 6.3), and brings a length
/// that is only written oddly into its usual form.
///
/// # Errors
/// What is wrong, in words that end a sentence.
pub(crate) fn check_framing(headers: &mut HeaderMap) -> Result<(), String> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(format!("its Transfer-Encoding is {coding:?}, where only \"chunked\" is understood"));
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("it has both Transfer-Encoding and Content-Length".into());
        }
        return Ok(());
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    let length = number(first)?;
    let mut odd = first.as_bytes().starts_with(b"0") && first.len() > 1;
    for other in lengths {
        if number(other)? != length {
            return Err(format!("it has two Content-Lengths, {first:?} and {other:?}"));
        }
        odd = true;
    }
    if odd {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

fn number(value: &HeaderValue) -> Result<u64, String> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| format!("its Content-Length is {value:?}"))
}

/// Takes out what is meant for one hop and adds our own mark. Control headers stay: they are for us.
pub(crate) fn pass_answer(headers: &mut HeaderMap, received: Version) {
    let trailers = trailers_of(headers);
    let mut gone: Names = named_by_connection(headers);
    gone.extend(headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned());
    for name in gone {
        headers.remove(name);
    }
    announce_trailers(headers, &trailers, |name| !is_hop_by_hop(name) && !is_control(name));
    add_via(headers, received);
}

/// The same for a 101. `false`: it switches to something that nobody asked for.
pub(crate) fn pass_switch<B>(answer: &mut Response<B>) -> bool {
    if !means_websocket(answer.headers()) {
        return false;
    }
    let received = answer.version();
    let headers = answer.headers_mut();
    pass_answer(headers, received);
    let control: Names = headers.keys().filter(|name| is_control(name.as_str())).cloned().collect();
    for name in control {
        headers.remove(name);
    }
    ask_websocket(headers);
    true
}

/// Whether the answer is an event stream, by its type.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Sets the headers of an event stream right (PROTOCOL 6.1), whatever the backend thought of them, so
/// that nothing on the way holds it back.
pub fn own_stream(headers: &mut HeaderMap) {
    if !declares_other_charset(headers) {
        let value = HeaderValue::from_static("text/event-stream; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, value);
    }
    let cache = HeaderValue::from_static("no-cache, no-store, no-transform");
    headers.insert(header::CACHE_CONTROL, cache);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.remove(header::CONTENT_LENGTH);
}

/// An event stream is always UTF-8, so this is a mistake; but it is the backend's to see and correct.
fn declares_other_charset(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let parameters = value.as_bytes().split(|&byte| byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let mut charsets = parameters.filter_map(|parameter| {
        let (name, charset) = parameter.split_at_checked(b"charset=".len())?;
        name.eq_ignore_ascii_case(b"charset=").then_some(charset)
    });
    let is_utf8 = |charset: &[u8]| {
        let charset =
            charset.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(charset);
        charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"utf8")
    };
    is_event_stream(headers) && charsets.any(|charset| !is_utf8(charset))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{headers, lines};
    use super::*;

    #[test]
    fn what_is_meant_for_one_hop_ends_here_and_control_headers_stay() {
        let mut map = headers(&[
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            "Transfer-Encoding: chunked",
            "Upgrade: h2c",
            "Trailer: X-Sum, Outboard-Channel",
            "Via: 1.1 inner",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Outboard-Channel: news",
        ]);

        pass_answer(&mut map, Version::HTTP_10);

        assert_eq!(
            lines(&map),
            [
                "outboard-channel: news",
                "set-cookie: a=1",
                "set-cookie: b=2",
                "trailer: x-sum",
                "via: 1.0 outboard",
                "via: 1.1 inner",
            ]
        );
    }

    #[test]
    fn trailers_without_a_chunked_body_are_not_announced() {
        let mut map = headers(&["Content-Length: 5", "Trailer: X-Sum"]);

        pass_answer(&mut map, Version::HTTP_11);

        assert_eq!(lines(&map), ["content-length: 5", "via: 1.1 outboard"]);
    }

    #[test]
    fn an_ambiguous_length_is_refused() {
        for (lines, problem) in [
            (&["Transfer-Encoding: chunked", "Content-Length: 5"][..], "it has both"),
            (&["Transfer-Encoding: gzip, chunked"], "its Transfer-Encoding is \"gzip, chunked\""),
            (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "its Transfer-Encoding"),
            (&["Content-Length: 5", "Content-Length: 6"], "it has two Content-Lengths"),
            (&["Content-Length: 5, 5"], "its Content-Length is \"5, 5\""),
            (&["Content-Length: +5"], "its Content-Length is"),
            (&["Content-Length: -1"], "its Content-Length is"),
            (&["Content-Length: 99999999999999999999"], "its Content-Length is"),
        ] {
            let found = check_framing(&mut headers(lines)).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }

    #[test]
    fn a_length_that_is_only_written_oddly_is_written_anew() {
        for given in [&["Content-Length: 005"][..], &["Content-Length: 5", "Content-Length: 5"]] {
            let mut map = headers(given);

            assert_eq!(check_framing(&mut map), Ok(()));
            assert_eq!(lines(&map), ["content-length: 5"]);
        }
    }

    #[test]
    fn an_event_stream_gets_the_headers_that_let_it_through() {
        let mut map =
            headers(&["Content-Type: Text/Event-Stream", "Cache-Control: public", "Content-Length: 9"]);

        own_stream(&mut map);

        assert_eq!(
            lines(&map),
            [
                "cache-control: no-cache, no-store, no-transform",
                "content-type: text/event-stream; charset=utf-8",
                "x-accel-buffering: no",
                "x-content-type-options: nosniff",
            ]
        );
    }

    #[test]
    fn a_charset_other_than_utf_8_stays_visible() {
        for (given, expected) in [
            ("text/event-stream;charset=\"UTF-8\"", "text/event-stream; charset=utf-8"),
            ("text/event-stream; x=1; charset=utf8", "text/event-stream; charset=utf-8"),
            ("text/event-stream; charset=iso-8859-1", "text/event-stream; charset=iso-8859-1"),
            ("text/html; charset=iso-8859-1", "text/event-stream; charset=utf-8"),
        ] {
            let mut map = headers(&[&format!("Content-Type: {given}")]);

            own_stream(&mut map);

            assert_eq!(map["content-type"], expected);
        }
    }

    #[test]
    fn only_the_exact_type_is_an_event_stream() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("TEXT/event-stream ; charset=utf-8", true),
            ("text/event -stream", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_event_stream(&headers(&[&format!("Content-Type: {value}")])), expected, "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
