//! An event in its place in the log.

use std::sync::atomic::AtomicU32;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::moment::Moment;
use crate::channel::Channel;
use crate::event::encode::Encoded;
use crate::slots::Key;

/// An event in its place in the log: encoded once, shared by the history and by everyone it is
/// being written to.
#[derive(Debug)]
pub struct Entry {
    /// Its number in the log.
    pub sequence: u64,
    /// The channels it was published on.
    pub channels: SmallVec<[Key<Channel>; 1]>,
    /// Its bytes.
    pub encoded: Encoded,
    /// When it was published, for people.
    pub(super) time: SystemTime,
    /// When it was published, for clocks.
    pub(super) born: Moment,
    /// When it leaves the history, if its publisher said so.
    pub(super) expires: Option<Moment>,
    /// The id it was published with.
    pub(super) own_id: Option<Box<str>>,
    /// The key under which a second try is known.
    pub(super) dedupe: Option<Box<str>>,
    /// How many channels' histories hold it.
    pub(super) holders: AtomicU32,
    /// Which readers had a subscriber for it when it was published, a bit each.
    pub(super) readers: u64,
}
