//! An event, and what outlives it of one with a `dedupe` key, as they are on disk, with their checksums.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

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
    /// Its text, as clients get it. Nobody has looked yet whether it is UTF-8.
    pub(in crate::broker) block: Bytes,
}

/// What has to be known of an event with a `dedupe` key when the event itself has left the history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::broker) struct StoredKey {
    /// The event's number in the log.
    pub(in crate::broker) sequence: u64,
    /// Where it was published.
    pub(in crate::broker) channels: Vec<Channel>,
    /// The key.
    pub(in crate::broker) dedupe: Box<str>,
    /// The id it was published with.
    pub(in crate::broker) own_id: Option<Box<str>>,
}

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("event {0} is damaged")]
pub(in crate::broker) struct Damaged(pub(in crate::broker) u64);

impl StoredEvent {
    /// The bytes, beginning with the checksum of the number and the rest. The `dedupe` key is not among
    /// them: it has a row of its own.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.block.len() + 96);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&milliseconds(self.time).to_le_bytes());
        bytes.extend_from_slice(&self.expires.map_or(0, milliseconds).to_le_bytes());
        bytes.extend_from_slice(&self.handed.to_le_bytes());
        bytes.push(if self.has_own_id { OWN_ID } else { 0 });
        put_names(&mut bytes, &self.channels);
        bytes.extend_from_slice(&self.block);
        sealed(self.sequence, bytes)
    }

    /// Reads event number `sequence`, also as format 1 has it, with its key.
    pub(super) fn decode(sequence: u64, bytes: &[u8]) -> Result<Self, Damaged> {
        event(sequence, bytes).ok_or(Damaged(sequence))
    }

    /// What is kept for longer than the event, if it has a key.
    pub(super) fn key(&self) -> Option<StoredKey> {
        let dedupe = self.dedupe.clone()?;
        let (sequence, channels) = (self.sequence, self.channels.clone());
        // It is written first, on a line of its own, and has no line break.
        let id = || self.block.split(|&byte| byte == b'\n').next()?.strip_prefix(b"id: ");
        let own_id = Some(()).filter(|()| self.has_own_id).and_then(|()| id());
        let own_id = own_id.and_then(|id| std::str::from_utf8(id).ok()).map(Into::into);
        Some(StoredKey { sequence, channels, dedupe, own_id })
    }
}

impl StoredKey {
    /// The bytes, beginning with the checksum of the number and the rest.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.push(if self.own_id.is_some() { OWN_ID } else { 0 });
        put_names(&mut bytes, &self.channels);
        put_short(&mut bytes, &self.dedupe);
        bytes.extend_from_slice(self.own_id.as_deref().unwrap_or_default().as_bytes());
        sealed(self.sequence, bytes)
    }

    /// Reads the key of event number `sequence`.
    pub(super) fn decode(sequence: u64, bytes: &[u8]) -> Result<Self, Damaged> {
        key(sequence, bytes).ok_or(Damaged(sequence))
    }
}

/// The flag of an event with an id of its publisher.
const OWN_ID: u8 = 1;
/// The flag of an event whose row has its key, as in format 1.
const KEY: u8 = 2;

// Names and keys have at most 255 bytes, and a frame names at most 64 channels.
fn put_names(bytes: &mut Vec<u8>, channels: &[Channel]) {
    bytes.push(channels.len() as u8);
    channels.iter().for_each(|channel| put_short(bytes, channel.as_str()));
}

fn put_short(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

/// Fills in the checksum, for which the first 4 bytes are kept free.
fn sealed(sequence: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(sequence, &bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// What is behind the checksum, if that is right.
fn opened(sequence: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = bytes.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(sequence, rest)).then_some(rest)
}

fn event(sequence: u64, bytes: &[u8]) -> Option<StoredEvent> {
    let mut rest = opened(sequence, bytes)?;
    let time = number(&mut rest)?;
    let expires = number(&mut rest)?;
    let handed = number(&mut rest)?;
    let flags = byte(&mut rest)?;
    let channels = names(&mut rest)?;
    let dedupe = if flags & KEY == KEY { Some(short(&mut rest)?.into()) } else { None };
    Some(StoredEvent {
        sequence,
        channels,
        handed,
        time: moment(time),
        expires: (expires > 0).then(|| moment(expires)),
        has_own_id: flags & OWN_ID == OWN_ID,
        dedupe,
        block: Bytes::copy_from_slice(rest),
    })
}

fn key(sequence: u64, bytes: &[u8]) -> Option<StoredKey> {
    let mut rest = opened(sequence, bytes)?;
    let flags = byte(&mut rest)?;
    let channels = names(&mut rest)?;
    let dedupe = short(&mut rest)?.into();
    let own_id = if flags & OWN_ID == OWN_ID { Some(std::str::from_utf8(rest).ok()?.into()) } else { None };
    Some(StoredKey { sequence, channels, dedupe, own_id })
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

fn names(rest: &mut &[u8]) -> Option<Vec<Channel>> {
    let count = byte(rest)?;
    (0..count).map(|_| Channel::parse_any(short(rest)?).ok()).collect()
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = byte(rest)?;
    let (text, after) = rest.split_at_checked(length.into())?;
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
    fn an_event_reads_back_and_its_key_by_itself() {
        let plain = StoredEvent { expires: None, dedupe: None, has_own_id: false, handed: 0, ..event() };
        let channels = event().channels;
        let key = StoredKey { sequence: 7, channels, dedupe: "key".into(), own_id: Some("9".into()) };
        let plain_key = StoredKey { own_id: None, ..key.clone() };

        for event in [StoredEvent { dedupe: None, ..event() }, plain.clone()] {
            assert_eq!(StoredEvent::decode(7, &event.encode()), Ok(event));
        }
        for key in [key.clone(), plain_key.clone()] {
            assert_eq!(StoredKey::decode(7, &key.encode()), Ok(key));
        }
        assert_eq!(StoredEvent::decode(7, &event().encode()).unwrap().dedupe, None);
        assert_eq!(event().key(), Some(key));
        assert_eq!(StoredEvent { has_own_id: false, ..event() }.key(), Some(plain_key));
        assert_eq!(plain.key(), None);
    }

    #[test]
    fn any_other_byte_number_or_length_is_damage() {
        let (event, key) = (event().encode(), event().key().unwrap().encode());

        assert_eq!(StoredEvent::decode(8, &event), Err(Damaged(8)));
        assert_eq!(StoredKey::decode(8, &key), Err(Damaged(8)));
        for at in 0..event.len() {
            let mut flipped = event.clone();
            flipped[at] ^= 0x10;
            assert_eq!(StoredEvent::decode(7, &flipped), Err(Damaged(7)), "byte {at}");
            assert_eq!(StoredEvent::decode(7, &event[..at]), Err(Damaged(7)), "cut at {at}");
        }
        for at in 0..key.len() {
            let mut flipped = key.clone();
            flipped[at] ^= 0x10;
            assert_eq!(StoredKey::decode(7, &flipped), Err(Damaged(7)), "byte {at}");
            assert_eq!(StoredKey::decode(7, &key[..at]), Err(Damaged(7)), "cut at {at}");
        }
    }
}
