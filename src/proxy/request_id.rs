//! The name of a request, by which its traces are found in every log.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::headers::Rules;
use crate::http1::RequestHead;
use crate::peer::Peer;

/// The longest name that is taken over from a proxy in front.
const LONGEST: usize = 96;

/// The name of a request: one that no other has, here or in another process (128 bits, shown as a UUID), or
/// the one that a trusted proxy in front has given it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestId {
    length: u8,
    text: [u8; LONGEST],
}

/// Chosen at random once per process, so that a name costs an addition.
struct Source {
    process: u64,
    next: AtomicU64,
}

impl RequestId {
    /// A new name.
    pub fn generate() -> Self {
        static SOURCE: OnceLock<Source> = OnceLock::new();
        let source = SOURCE.get_or_init(Source::random);
        let number = source.next.fetch_add(1, Ordering::Relaxed);
        // Spread over all bits, one to one, so that neighbours look different in a log.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self::of_number(u128::from(source.process) << 64 | u128::from(spread ^ (spread >> 32)))
    }

    /// The name that a trusted proxy has given a request, so that the traces in its log and in ours are
    /// found by one name; else a new one.
    pub(super) fn of(head: &RequestHead, peer: &Peer, rules: &Rules) -> Self {
        let given = || head.named("X-Request-Id").next().and_then(Self::given);
        let given = if rules.trusted.includes(peer.address) { given() } else { None };
        given.unwrap_or_else(Self::generate)
    }

    /// A name that somebody else has given; `None` if it is none.
    fn given(name: &[u8]) -> Option<Self> {
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut text = [0; LONGEST];
        text.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { length: name.len() as u8, text })
    }
}

impl Source {
    fn random() -> Self {
        let mut seed = [0; 16];
        if getrandom::fill(&mut seed).is_err() {
            // Without the system's random source the time has to do; nothing is protected by it.
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            seed = since.as_nanos().to_ne_bytes();
        }
        let seed = u128::from_ne_bytes(seed);
        Self { process: (seed >> 64) as u64, next: AtomicU64::new(seed as u64) }
    }
}

impl RequestId {
    /// The number as a UUID is written, without a detour through a formatter.
    fn of_number(number: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; LONGEST];
        let mut at = 0;
        for (index, byte) in number.to_be_bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text[at] = b'-';
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        Self { length: 36, text }
    }

    /// Its text, in visible ASCII.
    pub(super) fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|&byte| fmt::Write::write_char(f, byte.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_requests_share_a_name() {
        let names: HashSet<_> = (0..10_000).map(|_| RequestId::generate()).collect();

        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn a_name_of_somebody_else_is_one_word() {
        assert_eq!(RequestId::given(b"a/b:c-1").unwrap().to_string(), "a/b:c-1");
        for name in [&b""[..], b"a b", b"a\xffb", &[b'a'; 97]] {
            assert_eq!(RequestId::given(name), None);
        }
    }

    #[test]
    fn a_name_is_shown_as_a_uuid() {
        let name = RequestId::of_number(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

        assert_eq!(name.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
