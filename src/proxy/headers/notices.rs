//! What the operator is told about headers that were taken out of requests: each thing once, and not more
//! than so many things, for clients choose what they send.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::names::Forwarding;
use super::rules::Rules;
use crate::http1::{Field, RequestHead};
use crate::peer::{Endpoint, Peer};

/// How many peers are named that speak for others and are not trusted.
const MOST_SPEAKERS: usize = 16;
/// How many names of headers are named that do not pass.
const MOST_NAMES: usize = 32;
/// How much of a name is shown.
const LONGEST_NAME: usize = 64;

/// What has been told.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Notices {
    speakers: Once<String>,
    names: Once<String>,
}

/// What of a request's head did not pass, and was not to be expected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::proxy) struct Withheld {
    /// Somebody who is not trusted said for whom it speaks.
    pub(super) speech: bool,
    /// A name that a CGI program could take for another one.
    pub(super) odd_name: bool,
}

impl Withheld {
    /// Whether there is anything to tell.
    pub(in crate::proxy) fn is_something(self) -> bool {
        self.speech || self.odd_name
    }
}

impl Notices {
    /// Tells what was withheld of this request, unless it has been told before.
    #[cold]
    pub(in crate::proxy) fn tell(&self, withheld: Withheld, head: &RequestHead, peer: &Peer, rules: &Rules) {
        if withheld.speech {
            self.tell_speaker(head, peer);
        }
        if withheld.odd_name {
            for line in head.lines().filter(|line| line.field == Field::Other && !rules.lets_pass(line.name))
            {
                self.tell_name(line.name);
            }
        }
    }

    fn tell_speaker(&self, head: &RequestHead, peer: &Peer) {
        let speaks = |name: &[u8]| Forwarding::of(name).is_some_and(Forwarding::tells_of_a_proxy);
        let Some(line) = head.lines().find(|line| speaks(line.name)) else { return };
        let speaker = match peer.address {
            Endpoint::Unix => "unix".to_owned(),
            Endpoint::Tcp(address) => address.ip().to_canonical().to_string(),
        };
        let header = shown(line.name);
        match self.speakers.note(speaker.clone(), MOST_SPEAKERS) {
            News::Known => {}
            News::New => tracing::warn!(
                peer = speaker,
                header,
                "a client says for whom it speaks and is not believed; if it is a proxy of yours, write \
                 trusted_proxies = [\"{speaker}\"] in [proxy]"
            ),
            News::Last => tracing::warn!(
                peer = speaker,
                header,
                "many clients say for whom they speak and are not believed; no further ones are named"
            ),
        }
    }

    fn tell_name(&self, name: &[u8]) {
        let header = shown(name);
        match self.names.note(header.clone(), MOST_NAMES) {
            News::Known => {}
            News::New => tracing::warn!(
                header,
                "a header of a request is not passed on, for a CGI program could take its name for another one; \
                 if the site needs it, write pass_headers = [\"{header}\"] in [proxy]"
            ),
            News::Last => tracing::warn!(
                header,
                "many names of headers are not passed on, for a CGI program could take them for other ones; no \
                 further ones are named"
            ),
        }
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned()
}

/// Things that are told once.
#[derive(Debug)]
struct Once<T>(Mutex<HashSet<T>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Whether a thing is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    Known,
    New,
    /// There are as many as are told.
    Last,
}

impl<T: Eq + Hash> Once<T> {
    fn note(&self, thing: T, most: usize) -> News {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > most || !known.insert(thing) {
            return News::Known;
        }
        if known.len() > most { News::Last } else { News::New }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_and_not_more_than_so_many() {
        let once = Once::default();

        let told: Vec<_> = [1, 1, 2, 3, 2, 4, 3].into_iter().map(|thing| once.note(thing, 2)).collect();

        use News::{Known, Last, New};
        assert_eq!(told, [New, Known, New, Last, Known, Known, Known]);
    }
}
