//! Links to the backend that belong to one connection of a client.
//!
//! NTLM and Negotiate authenticate a connection and not a request (RFC 4559 section 6): whoever sends something over
//! it afterwards is the user who logged in. So a link over which anything of the kind was said is never lent to
//! anybody else. The same holds for a link that began with an introduction of its client (the PROXY protocol).
//!
//! Such a link rests here until its client asks again, and is closed when the client leaves, or has said nothing
//! for long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::owner::Owner;
use crate::peer::Connection;
use crate::socket::Arrived;

/// How long an authenticated link may rest, unless the backend says that it closes it before: a person reads the
/// page and then goes on.
pub(super) const REST: Duration = Duration::from_secs(120);

/// Links that rest, by the connection that they belong to.
#[derive(Default)]
pub(super) struct Private {
    links: Mutex<HashMap<Connection, Kept>>,
    /// How many there are: nearly always none, and then nobody has to look.
    count: AtomicUsize,
}

struct Kept {
    until: Instant,
    link: Box<Link>,
}

impl Private {
    /// The link of this client, if it has one that can be used.
    pub(super) fn take(&self, owner: &Owner, thorough: bool) -> Option<Box<Link>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let Kept { until, mut link } = self.remove(owner.connection)?;
        let is_theirs = link.owner.as_ref() == Some(owner);
        (is_theirs && until > Instant::now() && link.arrived(thorough) == Arrived::Nothing).then_some(link)
    }

    /// Lets a link rest for so long. If there are more than `most`, the one goes that would go first. Whether it
    /// is the only one.
    pub(super) fn put(&self, owner: Owner, link: Box<Link>, rest: Duration, most: usize) -> bool {
        let mut links = self.lock();
        if links.len() >= most {
            let first = links.iter().min_by_key(|(_, kept)| kept.until).map(|(connection, _)| *connection);
            first.and_then(|connection| links.remove(&connection));
        }
        links.insert(owner.connection, Kept { until: Instant::now() + rest, link });
        self.count.store(links.len(), Ordering::Release);
        links.len() == 1
    }

    /// Closes the link of a connection that has ended.
    pub(super) fn close(&self, connection: Connection) {
        if self.count.load(Ordering::Acquire) > 0 {
            drop(self.remove(connection));
        }
    }

    /// Closes those that have rested for long enough; when to look again, if any are left.
    pub(super) fn close_old(&self) -> Option<Instant> {
        let mut links = self.lock();
        let now = Instant::now();
        let closed: Vec<_> = links.extract_if(|_, kept| kept.until <= now).collect();
        self.count.store(links.len(), Ordering::Release);
        let next = links.values().map(|kept| kept.until).min();
        drop(links);
        drop(closed);
        next
    }

    fn remove(&self, connection: Connection) -> Option<Kept> {
        let mut links = self.lock();
        let kept = links.remove(&connection);
        self.count.store(links.len(), Ordering::Release);
        kept
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Connection, Kept>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
