//! The one signal that everything is to come to an end.

use tokio::sync::watch;

/// Held by whoever decides; dropping it starts the drain as well.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

/// Held by every task that has something to finish.
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<bool>);

/// A new signal: the side that gives it, and the side that hears it.
pub fn drain() -> (Drain, Draining) {
    let (sender, receiver) = watch::channel(false);
    (Drain(sender), Draining(receiver))
}

impl Drain {
    /// Asks all who listen to finish what they hold and stop.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Draining {
    /// Returns when the drain has begun.
    pub async fn begun(&mut self) {
        // A closed channel means that the deciding side is gone: that is a drain too.
        let _ = self.0.wait_for(|draining| *draining).await;
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
