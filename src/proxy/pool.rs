//! The connections to the backend: how many there may be, and which of them rest.
//!
//! The link that was used last is used first, so that as few as possible are kept. A resting link is
//! watched by nobody; whether it still lives is found out when it is wanted, and it is closed when
//! it has rested long enough.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::link::Link;

/// Connections that rest, and permits for those that work.
pub(super) struct Pool {
    resting: Mutex<Resting>,
    permits: Semaphore,
    /// How long a link may rest.
    keep: Duration,
}

#[derive(Default)]
struct Resting {
    /// The one that has rested longest comes first.
    links: Vec<(Instant, Box<Link>)>,
    /// Whether a task is there that closes them in time.
    swept: bool,
}

/// The right to use one connection; it goes back when dropped.
pub(super) struct Permit(Arc<Pool>);

/// All permits are taken.
pub(super) struct Full;

impl Pool {
    pub(super) fn new(permits: usize, keep: Duration) -> Arc<Self> {
        let permits = Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        Arc::new(Self { resting: Mutex::default(), permits, keep })
    }

    /// Waits for a permit, at most so long.
    pub(super) async fn permit(self: &Arc<Self>, patience: Duration) -> Result<Permit, Full> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(patience, self.permits.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(Full),
            },
        };
        permit.forget();
        Ok(Permit(self.clone()))
    }

    /// A link that rested and still lives `now`. `thorough`: see [`Link::is_quiet`].
    pub(super) fn take(&self, now: Instant, thorough: bool) -> Option<Box<Link>> {
        loop {
            let (since, mut link) = self.lock().links.pop()?;
            if now.saturating_duration_since(since) < self.keep && link.is_quiet(thorough) {
                return Some(link);
            }
        }
    }

    /// Lets a link rest until it is wanted again; then it is looked at. Until then it holds on to the waker of
    /// the task that used it last: at most to as many ended tasks as links may rest.
    pub(super) fn put(self: &Arc<Self>, link: Box<Link>) {
        if self.keep.is_zero() {
            return;
        }
        let mut resting = self.lock();
        resting.links.push((Instant::now(), link));
        if !std::mem::replace(&mut resting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.keep));
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
        drop(closed);
        next
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when no link rests any more, or when the pool is gone.
async fn sweep(pool: std::sync::Weak<Pool>, keep: Duration) {
    let mut next = Instant::now() + keep;
    loop {
        tokio::time::sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.close_old()) {
            Some(time) => next = time,
            None => return,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.permits.add_permits(1);
    }
}
