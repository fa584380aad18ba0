//! What the operator is told about headers that were taken out of requests: each thing once, and not more
//! than so many things, for clients choose what they send.

use super::names::Forwarding;
use super::rules::Rules;
use crate::http1::{Field, RequestHead};
use crate::once::{News, Once};
use crate::peer::{Endpoint, Peer};

/// How many peers are named that speak for others and are not trusted.
const MOST_SPEAKERS: usize = 16;
/// How many names of headers are named that do not pass.
const MOST_NAMES: usize = 32;
/// How much of a name is shown.
const LONGEST_NAME: usize = 64;

/// What has been told.
#[derive(Debug)]
pub(in crate::proxy) struct Notices {
    speakers: Once<String>,
    names: Once<String>,
}

impl Default for Notices {
    fn default() -> Self {
        Self { speakers: Once::at_most(MOST_SPEAKERS), names: Once::at_most(MOST_NAMES) }
    }
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
        match self.speakers.note(speaker.clone()) {
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
        match self.names.note(header.clone()) {
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
