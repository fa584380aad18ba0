//! The name of a request, by which its traces are found in every log.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that no other request has, here or in another process: 128 bits, shown as a UUID.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(u128);

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
        Self(u128::from(source.process) << 64 | u128::from(spread ^ (spread >> 32)))
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
    /// The text of [`fmt::Display`], without a detour through a formatter.
    pub(super) fn text(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        text
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
    fn a_name_is_shown_as_a_uuid() {
        let name = RequestId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

        assert_eq!(name.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
