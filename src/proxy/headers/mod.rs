//! The rules for headers that pass through, in both directions.
//!
//! - [`check_request`] refuses what two servers in a row could read in two ways;
//! - `request` takes out of a client's request what is meant for one hop, or is ours to say, and says
//!   it (PROTOCOL 5);
//! - `answer` does the same to a backend's answer.
//!
//! All of it works on the header map in place: a request passes with one walk over its names.

mod answer;
mod check;
mod request;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

pub(super) use answer::{check_framing, pass_answer, pass_switch};
pub use answer::{is_event_stream, own_stream};
pub use check::{Refusal, check_request};
pub(super) use request::pass_request;
pub use request::{asks_for_events, on_behalf_of, own_target};

/// Header names that leave a map.
type Names = SmallVec<[HeaderName; 8]>;

/// What a hop says to the next and nobody else may hear (RFC 9110 section 7.6.1). `name` is in lower
/// case, as in a [`HeaderName`].
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "proxy")
        || name.starts_with("proxy-")
}

/// What no `Connection` header can take away, since others rely on it. Naming one there is an attempt
/// to do just that.
fn is_end_to_end(name: &str) -> bool {
    matches!(name, "host" | "cookie" | "authorization" | "content-length" | "forwarded")
        || name.starts_with("x-forwarded")
}

/// What controls this program, or is spoken by it to the backend.
fn is_control(name: &str) -> bool {
    name == "outboard" || name.starts_with("outboard-") || name.starts_with("grip-")
}

/// Whether a backend's header of this name, in lower case, asks for a handoff.
pub(super) fn is_handoff(name: &str) -> bool {
    matches!(name, "outboard-channel" | "grip-hold")
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), without blanks and empty ones.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The names that `Connection` marks as meant for one hop.
fn named_by_connection(headers: &HeaderMap) -> Names {
    let mut names = Names::new();
    for value in headers.get_all(header::CONNECTION) {
        for element in elements(value.as_bytes()) {
            // These two are in nearly every request, and are no header's names.
            if element.eq_ignore_ascii_case(b"keep-alive") || element.eq_ignore_ascii_case(b"close") {
                continue;
            }
            match HeaderName::from_bytes(element) {
                Ok(name) if !is_end_to_end(name.as_str()) => names.push(name),
                _ => {}
            }
        }
    }
    names
}

/// Leaves of a `Trailer` header what may follow a body (RFC 9110 section 6.6.2). hyper sends the
/// trailers that are announced, so what is not announced stays behind.
fn announce_trailers(headers: &mut HeaderMap, trailer: &[HeaderValue], allowed: fn(&str) -> bool) {
    let names = trailer
        .iter()
        .flat_map(|value| elements(value.as_bytes()))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| allowed(name.as_str()) && !is_end_to_end(name.as_str()))
        .filter_map(|name| HeaderValue::from_str(name.as_str()).ok());
    for name in names {
        headers.append(header::TRAILER, name);
    }
}

/// The values of `Trailer`, if a chunked body is there for trailers to follow.
fn trailers_of(headers: &HeaderMap) -> SmallVec<[HeaderValue; 1]> {
    if headers.contains_key(header::TRAILER) && headers.contains_key(header::TRANSFER_ENCODING) {
        headers.get_all(header::TRAILER).iter().cloned().collect()
    } else {
        SmallVec::new()
    }
}

/// `1.0 outboard` or `1.1 outboard` (RFC 9110 section 7.6.3): in which protocol we received it.
fn add_via(headers: &mut HeaderMap, version: http::Version) {
    let via = if version == http::Version::HTTP_10 { "1.0 outboard" } else { "1.1 outboard" };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// Whether one of the lists in all the headers of this name holds `token`, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter().flat_map(|value| elements(value.as_bytes()));
    values.any(|element| element.eq_ignore_ascii_case(token))
}

/// Whether the client, or the backend in its answer, means `Upgrade: websocket`, and nothing else.
fn means_websocket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let websocket = upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    websocket && upgrades.next().is_none() && lists(headers, &header::CONNECTION, b"upgrade")
}

/// Says to the next hop what the last one said: `Connection: upgrade`, `Upgrade: websocket`.
fn ask_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of the lines of a message's head.
    pub(super) fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    /// The lines of a map, sorted.
    pub(super) fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn websocket_is_the_only_upgrade() {
        for (lines, expected) in [
            (&["Connection: Upgrade", "Upgrade: WebSocket"][..], true),
            (&["Connection: keep-alive, upgrade", "Upgrade: websocket"], true),
            (&["Upgrade: websocket"], false),
            (&["Connection: upgrade"], false),
            (&["Connection: upgrade", "Upgrade: h2c"], false),
            (&["Connection: upgrade", "Upgrade: websocket, h2c"], false),
            (&["Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c"], false),
        ] {
            assert_eq!(means_websocket(&headers(lines)), expected, "{lines:?}");
        }
    }
}
