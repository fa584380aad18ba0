//! An event as it is on disk, with its checksum.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::channel::Channel;

/// An event with all that has to be known of it after a restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::broker) struct StoredEvent {
    /// Its number in the log.
    pub(in crate::broker) sequence: u64,
    /// Where it was published.
    pub(in crate::broker) channels: Vec<Channel>,
    /// On which of these somebody was there to get it, a bit each.
    pub(in crate::broker) handed: u64,
    /// When it was published.
    pub(in crate::broker) time: SystemTime,
    /// When it leaves the history, if its publisher said so.
    pub(in crate::broker) expires: Option<SystemTime>,
    /// Whether its id is the publisher's own.
    pub(in crate::broker) has_own_id: bool,
    /// The key under which a second try is known.
    pub(in crate::broker) dedupe: Option<Box<str>>,
    /// Its text, as clients get it.
    pub(in crate::broker) block: Box<str>,
}

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("event {0} is damaged")]
pub(in crate::broker) struct Damaged(pub(in crate::broker) u64);

impl StoredEvent {
    /// The bytes, beginning with the checksum of the number and the rest.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.block.len() + 96);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&milliseconds(self.time).to_le_bytes());
        bytes.extend_from_slice(&self.expires.map_or(0, milliseconds).to_le_bytes());
        bytes.extend_from_slice(&self.handed.to_le_bytes());
        bytes.push(u8::from(self.has_own_id) | u8::from(self.dedupe.is_some()) << 1);
        bytes.push(self.channels.len() as u8);
        // Names and keys have at most 255 bytes.
        let short = self.channels.iter().map(Channel::as_str).chain(self.dedupe.as_deref());
        for text in short {
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(self.block.as_bytes());
        let sum = checksum(self.sequence, &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads event number `sequence`.
    pub(super) fn decode(sequence: u64, bytes: &[u8]) -> Result<Self, Damaged> {
        read(sequence, bytes).ok_or(Damaged(sequence))
    }
}

fn read(sequence: u64, bytes: &[u8]) -> Option<StoredEvent> {
    let (sum, mut rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(sequence, rest) {
        return None;
    }
    let time = number(&mut rest)?;
    let expires = number(&mut rest)?;
    let handed = number(&mut rest)?;
    let (&[flags, count], mut rest) = rest.split_first_chunk::<2>()?;
    let channels = (0..count).map(|_| Channel::parse(short(&mut rest)?).ok()).collect::<Option<Vec<_>>>()?;
    let dedupe = if flags & 2 == 2 { Some(short(&mut rest)?.into()) } else { None };
    Some(StoredEvent {
        sequence,
        channels,
        handed,
        time: moment(time),
        expires: (expires > 0).then(|| moment(expires)),
        has_own_id: flags & 1 == 1,
        dedupe,
        block: std::str::from_utf8(rest).ok()?.into(),
    })
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (&length, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(length.into())?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn checksum(sequence: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn moment(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> StoredEvent {
        StoredEvent {
            sequence: 7,
            channels: vec![Channel::parse("a").unwrap(), Channel::parse("聊天").unwrap()],
            handed: 2,
            time: moment(1_700_000_000_123),
            expires: Some(moment(1_700_000_005_000)),
            has_own_id: true,
            dedupe: Some("key".into()),
            block: "id: 9\ndata: x\n\n".into(),
        }
    }

    #[test]
    fn an_event_reads_back() {
        let plain = StoredEvent { expires: None, dedupe: None, has_own_id: false, handed: 0, ..event() };

        for event in [event(), plain] {
            assert_eq!(StoredEvent::decode(7, &event.encode()), Ok(event));
        }
    }

    #[test]
    fn any_other_byte_number_or_length_is_damage() {
        let bytes = event().encode();

        assert_eq!(StoredEvent::decode(8, &bytes), Err(Damaged(8)));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(StoredEvent::decode(7, &flipped), Err(Damaged(7)), "byte {at}");
            assert_eq!(StoredEvent::decode(7, &bytes[..at]), Err(Damaged(7)), "cut at {at}");
        }
    }
}
