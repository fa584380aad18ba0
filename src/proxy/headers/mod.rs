//! The rules for headers that pass through, in both directions.
//!
//! - `request` leaves out of a client's request what is meant for one hop, or is ours to say;
//! - `told` says it (PROTOCOL 5), with what a trusted proxy has `said`;
//! - `locations` keeps the site's own address out of where clients are sent;
//! - `names` knows the headers of proxies, and `rules` what the operator wants;
//! - `ties` knows what makes a connection one client's own;
//! - `notices` tells the operator what was left out;
//! - `answer` does the same to a backend's answer.
//!
//! Both are one walk over the lines of a head as it came; no map is built of it.

mod answer;
mod locations;
mod names;
mod notices;
mod request;
mod rules;
mod said;
mod ties;
mod told;

use http::Version;
use smallvec::SmallVec;

pub use answer::{Charset, own_stream};
pub(super) use answer::{announced_trailers, interim, is_event_stream, passing, switched};
pub(super) use locations::{has_locations, rewritten};
pub(super) use notices::Notices;
pub use request::{EVENT_STREAM, accepts, is_event_source};
pub(super) use request::{Passed, on_behalf_of, pass_request};
pub use rules::{PassedName, Rules};
pub(super) use said::client;
pub(super) use ties::{is_tied_by_answer, is_tied_by_request};

use crate::http1::gate::is_end_to_end;
use crate::http1::{Field, Head, begins, elements};

/// What a hop says to the next and nobody else may hear (RFC 9110 section 7.6.1), and how it tells the
/// end of the body, which we tell ourselves.
fn is_for_one_hop(field: Field, name: &[u8]) -> bool {
    field.is_for_one_hop() || field == Field::Other && is_proxy(name)
}

/// `Proxy`, which CGI would make a variable of that HTTP libraries obey, and `Proxy-*`.
fn is_proxy(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"proxy") || begins(name, b"proxy-")
}

/// What controls this program, or is spoken by it to the backend.
pub(super) fn is_control(name: &[u8]) -> bool {
    // Looked at by its first letter: most names are none of these.
    match name.first() {
        Some(b'o' | b'O') => begins(name, b"outboard-") || name.eq_ignore_ascii_case(b"outboard"),
        Some(b'g' | b'G') => begins(name, b"grip-"),
        _ => false,
    }
}

/// Whether a backend's header of this name asks for a handoff.
pub(super) fn is_handoff(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"outboard-channel") || name.eq_ignore_ascii_case(b"grip-hold")
}

/// The names that `Connection` marks as meant for one hop.
fn named_by_connection<S>(head: &Head<S>) -> SmallVec<[&[u8]; 4]> {
    // These are in nearly every message, and are no header's names.
    let is_option =
        |name: &&[u8]| name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close");
    let names = head.values(Field::Connection).flat_map(elements);
    names.filter(|name| !is_option(name) && !is_end_to_end(name)).collect()
}

fn is_among(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// In which protocol we received a message (RFC 9110 section 7.6.3).
pub(super) fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9 outboard",
        Version::HTTP_10 => "1.0 outboard",
        Version::HTTP_2 => "2.0 outboard",
        _ => "1.1 outboard",
    }
}

/// Whether the client, or the backend in its answer, means `Upgrade: websocket`, and nothing else.
fn means_websocket<S>(head: &Head<S>) -> bool {
    let mut upgrades = head.values(Field::Upgrade);
    let websocket = upgrades.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    websocket && upgrades.next().is_none() && head.lists(Field::Connection, b"upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::RequestHead;

    /// The head of a request with these lines.
    pub(super) fn request(version: &str, target: &str, lines: &[&str]) -> RequestHead {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        RequestHead::parse(format!("GET {target} HTTP/{version}\r\n{lines}\r\n").into()).unwrap()
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
            assert_eq!(means_websocket(&request("1.1", "/", lines)), expected, "{lines:?}");
        }
    }
}
