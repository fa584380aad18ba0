//! The connections to the backend: how many there may be, and which of them rest.
//!
//! The link that was used last is used first, so that as few as possible are kept. A resting link is
//! watched by nobody; whether it still lives is found out when it is wanted, and it is closed when
//! it has rested long enough.
//!
//! A backend that says more than its answer, be it that its length is wrong or that it answers twice, would have
//! the rest taken for the answer to the next request, which is somebody else's. So a link is used again only after
//! a moment of silence, and what is said then ends it. A backend that was found to say more is not trusted with
//! another request on the same connection for a while.
//!
//! Pages, questions and notices have rooms of their own, so that none of them stands in the way of another:
//! ten thousand clients about whom the backend is asked again leave room for a page, and a slow page leaves
//! room for the question whether somebody may listen. The links themselves are shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Settings;
use super::link::Link;
use super::owner::Owner;
use super::private::{self, Private};
use crate::peer::Connection;
use crate::socket::Arrived;

/// The most links that rest only because they have not been silent for long enough.
const MOST_SILENT: usize = 64;

/// After how long a rest tokio has heard of whatever has come, however busy its threads are.
const SURE: Duration = Duration::from_millis(2);

/// How long each link to a backend is used once that has said more than its answer.
const DISTRUST: Duration = Duration::from_secs(600);

/// What a connection is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// What clients ask for, and get in the end.
    Pages,
    /// Event streams that the backend writes, and tunnels.
    Streams,
    /// Whether somebody may listen.
    Auth,
    /// Whether somebody who listens still may.
    Recheck,
    /// That somebody is gone.
    Gone,
}

impl Room {
    const ALL: [Self; 5] = [Self::Pages, Self::Streams, Self::Auth, Self::Recheck, Self::Gone];

    /// How many connections may be in use at a time.
    pub(super) fn size(self, settings: &Settings) -> usize {
        let most = settings.max_connections;
        match self {
            Self::Pages => most,
            Self::Streams => settings.max_streams,
            Self::Auth | Self::Recheck => (most / 8).clamp(4, 32),
            Self::Gone => (most / 16).clamp(2, 16),
        }
    }

    /// The key that says how many.
    pub(super) fn key(self) -> &'static str {
        if self == Self::Streams { "max_streams" } else { "max_connections" }
    }

    /// As operators know it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Streams => "streams",
            Self::Auth => "auth",
            Self::Recheck => "rechecks",
            Self::Gone => "gone notices",
        }
    }
}

/// The most connections at a time, in all rooms.
pub(super) fn most_connections(settings: &Settings) -> usize {
    Room::ALL.iter().fold(0, |sum, room| sum.saturating_add(room.size(settings)))
}

/// Connections that rest, and permits for those that work.
pub(super) struct Pool {
    resting: Mutex<Resting>,
    /// How many connections there may be for pages.
    pages: usize,
    /// In the order of [`Room::ALL`].
    rooms: [Semaphore; Room::ALL.len()],
    /// How long a link may rest.
    keep: Duration,
    /// Those that belong to one client each, and how many may rest.
    private: Private,
    most_private: usize,
    /// How long a link has to be silent before it is used again.
    silence: Duration,
    /// Up to when each link is used once, in seconds since the pool was made.
    distrusted: AtomicU64,
    made: Instant,
    /// When it was last said that somebody waits for a connection, in seconds since the pool was made.
    said: AtomicU64,
}

#[derive(Default)]
struct Resting {
    /// The one that has rested longest comes first.
    links: Vec<(Instant, Box<Link>)>,
    /// Whether a task is there that closes them in time.
    swept: bool,
}

/// The right to use one connection; it goes back when dropped.
pub struct Permit(Arc<Pool>, Room);

impl Permit {
    /// What the connection is used for.
    pub fn room(&self) -> Room {
        self.1
    }
}

/// All permits are taken.
pub(super) struct Full;

impl Pool {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let (keep, pages) = (settings.pool_idle, settings.max_connections);
        let rooms = Room::ALL.map(|room| Semaphore::new(room.size(settings).min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            resting: Mutex::default(),
            pages,
            rooms,
            keep,
            private: Private::default(),
            most_private: pages,
            silence: settings.silence,
            distrusted: AtomicU64::new(0),
            made: Instant::now(),
            said: AtomicU64::new(0),
        })
    }

    /// Waits for a permit, at most so long.
    pub(super) async fn permit(self: &Arc<Self>, room: Room, patience: Duration) -> Result<Permit, Full> {
        let permits = &self.rooms[room as usize];
        let permit = match permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(patience, permits.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(Full),
            },
        };
        permit.forget();
        Ok(Permit(self.clone(), room))
    }

    /// Waits for a permit, however long it takes, and says so when it takes longer than `patience`.
    pub(super) async fn permit_in_the_end(self: &Arc<Self>, room: Room, patience: Duration) -> Permit {
        let mut waiting = std::pin::pin!(self.rooms[room as usize].acquire());
        let permit = match tokio::time::timeout(patience, &mut waiting).await {
            Ok(permit) => permit,
            Err(_elapsed) => {
                self.say_full(room, patience);
                waiting.await
            }
        };
        match permit {
            Ok(permit) => permit.forget(),
            // Nobody closes a room.
            Err(_closed) => std::future::pending().await,
        }
        Permit(self.clone(), room)
    }

    /// Tells the operator that somebody waits; once a minute, for thousands may wait at the same time.
    fn say_full(&self, room: Room, waited: Duration) {
        const PAUSE: u64 = 60;
        let (now, said) = (self.made.elapsed().as_secs() + PAUSE, self.said.load(Ordering::Relaxed));
        let is_due = now >= said + PAUSE;
        if is_due && self.said.compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                room = room.as_str(),
                ?waited,
                "the backend answers too slowly: questions and notices about clients wait for a connection. \
                 Nobody's stream ends for that"
            );
        }
    }

    /// A link that rested, was silent and still lives `now`. `thorough`: see [`Link::arrived`].
    pub(super) fn take(&self, now: Instant, thorough: bool) -> Option<Box<Link>> {
        loop {
            let (since, mut link) = self.next(now)?;
            let rested = now.saturating_duration_since(since);
            // What the backend is about to close is not used any more, however long we may keep it.
            if rested >= link.rest.map_or(self.keep, |rest| rest.min(self.keep)) {
                continue;
            }
            match link.arrived(thorough || rested < SURE) {
                Arrived::Nothing => return Some(link),
                Arrived::Bytes => self.distrust(link),
                Arrived::End => {}
            }
        }
    }

    /// The link that was used last, of those that have been silent for long enough. If there is none, and as many
    /// links as may are there only to be silent, the one that has been longest has to do.
    fn next(&self, now: Instant) -> Option<(Instant, Box<Link>)> {
        let links = &mut self.lock().links;
        let silent =
            links.partition_point(|(since, _)| now.saturating_duration_since(*since) >= self.silence);
        if silent > 0 {
            return Some(links.remove(silent - 1));
        }
        // A busy site has some more connections open for that, but neither many nor more than it takes.
        let most = (self.pages / 8).clamp(1, MOST_SILENT);
        let is_enough = links.len() >= most || links.len() + self.in_use() > self.pages;
        (is_enough && !links.is_empty()).then(|| links.remove(0))
    }

    /// How many links are in use for pages.
    fn in_use(&self) -> usize {
        self.pages.saturating_sub(self.rooms[Room::Pages as usize].available_permits())
    }

    /// The link that belongs to this client, if there is one that still lives.
    pub(super) fn take_own(&self, owner: &Owner, thorough: bool) -> Option<Box<Link>> {
        self.private.take(owner, thorough)
    }

    /// Closes what belongs to a client that has left.
    pub(super) fn close_own(&self, connection: Connection) {
        self.private.close(connection);
    }

    /// Lets a link rest that belongs to one client.
    fn put_own(self: &Arc<Self>, owner: Owner, link: Box<Link>) {
        // An introduction alone is soon said again over another link.
        let longest = if link.is_authenticated { private::REST } else { self.keep };
        let rest = link.rest.map_or(longest, |rest| rest.min(longest));
        if self.private.put(owner, link, rest, self.most_private) {
            tokio::spawn(sweep(Arc::downgrade(self), rest, |pool| pool.private.close_old()));
        }
    }

    /// Lets a link rest until it is wanted again; then it is looked at. Until then it holds on to the waker of
    /// the task that used it last: at most to as many ended tasks as links may rest.
    pub(super) fn put(self: &Arc<Self>, link: Box<Link>) {
        if !link.reader.is_empty() {
            return self.distrust(link);
        }
        if let Some(owner) = link.owner {
            return self.put_own(owner, link);
        }
        if self.keep.is_zero() || self.is_distrusted() {
            return;
        }
        let mut resting = self.lock();
        resting.links.push((Instant::now(), link));
        if !std::mem::replace(&mut resting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.keep, |pool| pool.close_old()));
        }
    }

    /// Closes what has rested too long; when to look again, if anything is left.
    fn close_old(&self) -> Option<Instant> {
        let mut resting = self.lock();
        let old = resting.links.partition_point(|(since, _)| since.elapsed() >= self.keep);
        let closed: Vec<_> = resting.links.drain(..old).collect();
        let next = resting.links.first().map(|(since, _)| *since + self.keep);
        resting.swept = next.is_some();
        drop(resting);
        for (_, mut link) in closed {
            if link.arrived(false) == Arrived::Bytes {
                self.distrust(link);
            }
        }
        next
    }

    /// Closes a link over which something came that nobody had asked for, and all that rest.
    fn distrust(&self, mut link: Box<Link>) {
        if link.says_goodbye() {
            return;
        }
        // Something may be under way on the others too.
        let others = std::mem::take(&mut self.lock().links);
        drop(others);
        let now = self.made.elapsed().as_secs();
        if self.distrusted.swap(now + DISTRUST.as_secs(), Ordering::Relaxed) <= now {
            tracing::warn!(
                "the backend says more than its answers: what follows would be taken for the answer to the next request, so \
                 each of its connections is used once for the next {DISTRUST:?}; is a Content-Length wrong, or an answer sent twice?"
            );
        }
    }

    fn is_distrusted(&self) -> bool {
        let until = self.distrusted.load(Ordering::Relaxed);
        until > 0 && self.made.elapsed().as_secs() < until
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when no link rests any more, or when the pool is gone.
async fn sweep(pool: std::sync::Weak<Pool>, rest: Duration, close_old: fn(&Pool) -> Option<Instant>) {
    let mut next = Instant::now() + rest;
    loop {
        tokio::time::sleep_until(next).await;
        match pool.upgrade().and_then(|pool| close_old(&pool)) {
            Some(time) => next = time,
            None => return,
        }
    }
}

impl Permit {
    /// Goes over to another room, if there is a place: what began as a page has turned out to be a stream.
    /// Whether it is there now.
    pub(super) fn move_to(&mut self, room: Room) -> bool {
        if self.1 == room {
            return true;
        }
        let Ok(permit) = self.0.rooms[room as usize].try_acquire() else { return false };
        permit.forget();
        self.0.rooms[self.1 as usize].add_permits(1);
        self.1 = room;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.rooms[self.1 as usize].add_permits(1);
    }
}
